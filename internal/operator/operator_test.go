package operator_test

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/controller/controllertest"
	"heddle.dev/heddle/internal/operator"
	"heddle.dev/heddle/internal/specs"
)

func TestParse(t *testing.T) {
	for name, c := range map[string]struct {
		args []string
		env  map[string]string
		want func(*operator.Config)
		fail string
	}{
		"defaults":    {},
		"flags":       {args: []string{"--namespaces", "a, b", "--log-level=debug"}, want: func(c *operator.Config) { c.Namespaces, c.LogLevel = []string{"a", "b"}, slog.LevelDebug }},
		"environment": {env: map[string]string{"HEDDLE_NAMESPACES": "a", "HEDDLE_BUILDER_IMAGE": "b:1"}, want: func(c *operator.Config) { c.Namespaces, c.BuilderImage = []string{"a"}, "b:1" }},
		"a flag wins": {args: []string{"--metrics-address=0"}, env: map[string]string{"HEDDLE_METRICS_ADDRESS": ":1"}, want: func(c *operator.Config) { c.MetricsAddress = "0" }},
		"no lease":    {args: []string{"--lease-namespace=none"}, want: func(c *operator.Config) { c.Lease = "" }},
		"builds": {
			args: []string{"--registry=r:5000", "--build-go-image=go:1", "--module-proxy=http://p:1", "--module-proxy-cidr=10.0.0.1/32"},
			env:  map[string]string{"HEDDLE_REGISTRY": "s:1", "HEDDLE_BUILD_NODE_IMAGE": "node:1"},
			want: func(c *operator.Config) {
				c.Builds = specs.BuildSettings{
					Registry: "r:5000", GoImage: "go:1", NodeImage: "node:1", ModuleProxy: "http://p:1", ModuleProxyCIDR: "10.0.0.1/32",
				}
			},
		},
		"links": {
			args: []string{"--cluster-dns=10.0.0.1,10.0.0.2", "--cluster-domain=a.b"}, env: map[string]string{"HEDDLE_NGINX_IMAGE": "n:1"},
			want: func(c *operator.Config) {
				c.Links = specs.LinkSettings{Image: "n:1", DNS: []string{"10.0.0.1", "10.0.0.2"}, Domain: "a.b"}
			},
		},
		"a name that is none":   {args: []string{"--namespaces=A"}, fail: "not a namespace's name"},
		"a level that is none":  {args: []string{"--log-level=loud"}, fail: "debug, info, warn, error"},
		"an argument too many":  {args: []string{"up"}, fail: "unexpected argument"},
		"a flag that is none":   {args: []string{"--nope"}, fail: "nope"},
		"an image that is none": {args: []string{"--builder-image="}, fail: "builder-image"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := operator.Parse(append([]string{"--identity=me"}, c.args...), func(k string) string { return c.env[k] }, io.Discard)
			if c.fail != "" {
				if err == nil || !strings.Contains(err.Error(), c.fail) {
					t.Fatalf("got %v, want %q", err, c.fail)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			want := operator.Config{
				Lease: operator.SystemNamespace, Identity: "me", MetricsAddress: ":8080", HealthAddress: ":8081",
				JoinAddress: ":9445", SiteAddress: ":9446",
				BuilderImage: "heddle.dev/heddle-builder:dev",
				Builds:       specs.BuildSettings{GoImage: "heddle.dev/heddle-build-go:dev", NodeImage: "heddle.dev/heddle-build-node:dev"},
				Links:        specs.LinkSettings{Image: "heddle.dev/heddle-nginx:dev"},
			}
			if c.want != nil {
				c.want(&want)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
	var out bytes.Buffer
	if _, err := operator.Parse([]string{"-h"}, func(string) string { return "" }, &out); !errors.Is(err, flag.ErrHelp) || !strings.Contains(out.String(), "HEDDLE_NAMESPACES") {
		t.Errorf("help: %v, %s", err, out.String())
	}
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func namespace(t *testing.T, env *controllertest.Env) string {
	t.Helper()
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: controllertest.Name("op")}}
	if err := env.Client.Create(t.Context(), ns); err != nil {
		t.Fatal(err)
	}
	return ns.Name
}

// TestRun starts the whole operator in the namespaced mode, looks at health, metrics and the lease, and sees another
// process of the same identity take over at once.
func TestRun(t *testing.T) {
	env := controllertest.New(t, operator.AddToScheme)
	ns := namespace(t, env)
	id := &v1alpha1.Identity{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "alice"}, Spec: v1alpha1.IdentitySpec{Organization: "nobody"}}
	if err := env.Client.Create(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	cfg := operator.Config{
		Rest: env.Rest, Namespaces: []string{ns}, Lease: ns, Identity: "pod-1", BuilderImage: "none",
		MetricsAddress: freeAddress(t), HealthAddress: freeAddress(t),
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- operator.Run(ctx, cfg) }()
	env.Eventually(t, "the operator is healthy", func(context.Context) error { return get("http://"+cfg.HealthAddress+"/readyz", "") })
	env.Eventually(t, "metrics tell of the Identity", func(context.Context) error {
		return get("http://"+cfg.MetricsAddress+"/metrics", fmt.Sprintf(`heddle_ready{kind="Identity",name="alice",namespace=%q} 0`, ns))
	})
	lease := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "heddle-operator"}}
	env.Get(t, lease)
	if *lease.Spec.HolderIdentity != "pod-1" {
		t.Errorf("the lease belongs to %q", *lease.Spec.HolderIdentity)
	}
	stop()
	if err := <-done; err != nil && !strings.Contains(err.Error(), "leader election lost") {
		t.Errorf("the operator ended with: %v", err)
	}
	env.Eventually(t, "the lease is given back", func(context.Context) error {
		env.Get(t, lease)
		if ptr.Deref(lease.Spec.HolderIdentity, "") != "" {
			return fmt.Errorf("it belongs to %q", *lease.Spec.HolderIdentity)
		}
		return nil
	})
	t.Run("after a kill", func(t *testing.T) { takeOver(t, env, lease, cfg, ns) })
}

// takeOver leaves a lease behind as a killed process does, and expects the next one of the same pod not to wait for it.
func takeOver(t *testing.T, env *controllertest.Env, lease *coordinationv1.Lease, cfg operator.Config, ns string) {
	env.Get(t, lease)
	lease.Spec.HolderIdentity, lease.Spec.LeaseDurationSeconds = ptr.To("pod-1"), ptr.To[int32](3600)
	lease.Spec.RenewTime = ptr.To(metav1.NewMicroTime(time.Now()))
	if err := env.Client.Update(t.Context(), lease); err != nil {
		t.Fatal(err)
	}
	cfg.MetricsAddress, cfg.HealthAddress = "0", "0"
	env.Run(t, func(ctx context.Context) error {
		if err := operator.Run(ctx, cfg); err != nil && !strings.Contains(err.Error(), "leader election lost") {
			return err
		}
		return nil
	})
	second := &v1alpha1.Identity{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "bob"}, Spec: v1alpha1.IdentitySpec{Organization: "nobody"}}
	if err := env.Client.Create(t.Context(), second); err != nil {
		t.Fatal(err)
	}
	env.Eventually(t, "the next process works", func(ctx context.Context) error {
		if err := env.Client.Get(ctx, client.ObjectKeyFromObject(second), second); err != nil {
			return err
		}
		if len(second.Status.Conditions) == 0 {
			return errors.New("nobody looked at it")
		}
		return nil
	})
}

func get(url, part string) error {
	c := http.Client{Timeout: 5 * time.Second}
	res, err := c.Get(url)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(io.LimitReader(res.Body, 1<<22))
	if err != nil {
		return err
	}
	if res.StatusCode != http.StatusOK || !strings.Contains(string(text), part) {
		return fmt.Errorf("%s answers %s without %q", url, res.Status, part)
	}
	return nil
}

// install applies the manifests of a folder of config/.
func install(t *testing.T, env *controllertest.Env, folder string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("../../config", folder, "*.yaml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("find manifests: %v, %d files", err, len(files))
	}
	for _, f := range files {
		raw, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		env.Apply(t, string(raw))
	}
}

// as is a client that acts as somebody.
func as(t *testing.T, env *controllertest.Env, user string, groups ...string) client.Client {
	t.Helper()
	cfg := rest.CopyConfig(env.Rest)
	cfg.Impersonate = rest.ImpersonationConfig{UserName: user, Groups: append(groups, "system:authenticated")}
	c, err := client.New(cfg, client.Options{Scheme: env.Client.Scheme()})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func newNetwork(change func(*v1alpha1.NetworkSpec)) *v1alpha1.Network {
	n := &v1alpha1.Network{
		ObjectMeta: metav1.ObjectMeta{Name: controllertest.Name("adm")},
		Spec: v1alpha1.NetworkSpec{Organizations: []v1alpha1.NetworkOrganization{{
			Name: "banka", OrganizationSpec: v1alpha1.OrganizationSpec{MSPID: "BankaMSP"}, Orderers: &v1alpha1.NetworkOrderers{Count: ptr.To[int32](3)},
		}}},
	}
	if change != nil {
		change(&n.Spec)
	}
	return n
}

func TestTenantsAndClientNamespaces(t *testing.T) {
	env := controllertest.New(t, operator.AddToScheme)
	install(t, env, "admission")
	tenant := controllertest.Name("acme")
	grant := func(name string, rule rbacv1.PolicyRule, user string) {
		role := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: name}, Rules: []rbacv1.PolicyRule{rule}}
		binding := &rbacv1.ClusterRoleBinding{
			ObjectMeta: metav1.ObjectMeta{Name: name}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: name},
			Subjects: []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: user}},
		}
		for _, o := range []client.Object{role, binding} {
			if err := env.Client.Create(t.Context(), o); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = env.Client.Delete(context.WithoutCancel(t.Context()), o) })
		}
	}
	alice, bob := tenant+"-alice", tenant+"-bob"
	networks := rbacv1.PolicyRule{APIGroups: []string{"heddle.dev"}, Resources: []string{"networks"}, Verbs: []string{"*"}}
	grant(alice+"-n", networks, alice)
	grant(bob+"-n", networks, bob)
	grant(alice+"-t", rbacv1.PolicyRule{APIGroups: []string{"heddle.dev"}, Resources: []string{"tenants"}, ResourceNames: []string{tenant}, Verbs: []string{"use"}}, alice)
	dry := func(user string, change func(*v1alpha1.NetworkSpec)) error {
		return as(t, env, user).Create(t.Context(), newNetwork(change), client.DryRunAll)
	}
	own := func(s *v1alpha1.NetworkSpec) { s.Tenant = tenant }
	system := func(s *v1alpha1.NetworkSpec) { s.ClientNamespaces = []string{"kube-system"} }
	env.Eventually(t, "rights and policies are in force", func(context.Context) error {
		if err := dry(alice, own); err != nil {
			return err
		}
		if err := dry(bob, own); err == nil {
			return errors.New("bob may use a tenant that he was not given")
		}
		// Each policy comes into force by itself.
		if err := dry(bob, system); err == nil {
			return errors.New("bob may name a system namespace")
		}
		return nil
	})
	for name, c := range map[string]struct {
		user   string
		change func(*v1alpha1.NetworkSpec)
		part   string
	}{
		"a tenant of others":       {bob, own, "spec.tenant: you may not use tenant " + tenant},
		"another tenant":           {alice, func(s *v1alpha1.NetworkSpec) { s.Tenant = "other" }, "spec.tenant"},
		"no tenant":                {bob, nil, ""},
		"a system namespace":       {bob, system, "spec.clientNamespaces"},
		"a name with dots":         {bob, func(s *v1alpha1.NetworkSpec) { s.ClientNamespaces = []string{"a.b"} }, "spec.clientNamespaces"},
		"a namespace of users":     {bob, func(s *v1alpha1.NetworkSpec) { s.ClientNamespaces = []string{"apps"} }, ""},
		"an even number of orders": {bob, func(s *v1alpha1.NetworkSpec) { s.Organizations[0].Orderers.Count = ptr.To[int32](4) }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			err := dry(c.user, c.change)
			if c.part == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), c.part) {
				t.Errorf("got %v, want %q", err, c.part)
			}
		})
	}
}

// TestFence: the operator's own account can give itself rights in its networks' namespaces and nowhere else.
func TestFence(t *testing.T) {
	env := controllertest.New(t, operator.AddToScheme)
	for _, folder := range []string{"admission", "operator", "rbac"} {
		install(t, env, folder)
	}
	me := as(t, env, "system:serviceaccount:heddle-system:heddle-operator", "system:serviceaccounts", "system:serviceaccounts:heddle-system")
	foreign := namespace(t, env)
	network := controllertest.Name("fence")
	binding := func(ns, role string) *rbacv1.RoleBinding {
		return &rbacv1.RoleBinding{
			ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "x"}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role},
			Subjects: []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: "heddle-system", Name: "heddle-operator"}},
		}
	}
	env.Eventually(t, "rights and policies are in force", func(ctx context.Context) error {
		err := me.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: network, Labels: map[string]string{v1alpha1.LabelNetwork: network}}})
		if client.IgnoreAlreadyExists(err) != nil {
			return err
		}
		if err := me.Create(ctx, binding(foreign, "heddle-operator-network"), client.DryRunAll); err == nil {
			return errors.New("it may bind rights anywhere")
		}
		if err := me.Delete(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: foreign}}, client.DryRunAll); err == nil {
			return errors.New("it may delete any namespace")
		}
		return nil
	})
	for name, c := range map[string]struct {
		do func(context.Context) error
		ok bool
	}{
		"rights in its network's namespace": {func(ctx context.Context) error { return me.Create(ctx, binding(network, "heddle-operator-network")) }, true},
		"rights in a namespace of others":   {func(ctx context.Context) error { return me.Create(ctx, binding(foreign, "heddle-operator-network")) }, false},
		"rights of a cluster administrator": {func(ctx context.Context) error { return me.Create(ctx, binding(network, "cluster-admin")) }, false},
		"Secrets of clients in kube-system": {func(ctx context.Context) error {
			return me.Create(ctx, binding("kube-system", "heddle-operator-client"))
		}, false},
		"a namespace of others": {func(ctx context.Context) error {
			return me.Delete(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: foreign}})
		}, false},
		"Secrets of others": {func(ctx context.Context) error {
			return me.Get(ctx, client.ObjectKey{Namespace: foreign, Name: "x"}, &corev1.Secret{})
		}, false},
		"workloads of others": {func(ctx context.Context) error {
			return me.Create(ctx, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: foreign, Name: "x"}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "x", Image: "x"}}}})
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			err := c.do(t.Context())
			if c.ok && err != nil {
				t.Error(err)
			}
			if !c.ok && !apierrors.IsForbidden(err) {
				t.Errorf("got %v, want Forbidden", err)
			}
		})
	}
	env.Eventually(t, "it can keep Secrets there now", func(ctx context.Context) error {
		return me.Create(ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: network, Name: controllertest.Name("s")}})
	})
}
