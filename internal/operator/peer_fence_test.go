package operator_test

import (
	"context"
	"strings"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/controller/controllertest"
	"heddle.dev/heddle/internal/operator"
	"heddle.dev/heddle/internal/specs"
	"heddle.dev/heddle/internal/specs/launch"
)

const fencedNode = "peer0-banka"

// fencedPeer is a client with the token of a peer's pod, and what the peer is for launches.
func fencedPeer(t *testing.T, env *controllertest.Env) (client.Client, launch.Peer) {
	t.Helper()
	ctx := t.Context()
	network := controllertest.Name("peerfence")
	p := &v1alpha1.Peer{ObjectMeta: metav1.ObjectMeta{Namespace: network, Name: fencedNode}, Spec: v1alpha1.PeerSpec{Organization: "banka"}}
	n := newNetwork(nil)
	n.Name = network
	account := specs.PeerServiceAccount(p)
	// A cluster's own controller makes the first ServiceAccount.
	standard := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: network, Name: "default"}}
	for _, o := range []client.Object{specs.Namespace(n), standard, account, specs.PeerRoleBinding(p)} {
		if err := env.Client.Create(ctx, o); err != nil {
			t.Fatal(err)
		}
	}
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: network, Name: fencedNode + "-0"}, Spec: corev1.PodSpec{
		ServiceAccountName: account.Name,
		SecurityContext:    &corev1.PodSecurityContext{RunAsNonRoot: ptr.To(true), SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault}},
		Containers: []corev1.Container{{Name: "peer", Image: "none", SecurityContext: &corev1.SecurityContext{
			AllowPrivilegeEscalation: ptr.To(false), Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
		}}},
	}}
	if err := env.Client.Create(ctx, pod); err != nil {
		t.Fatal(err)
	}
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{
		BoundObjectRef: &authenticationv1.BoundObjectReference{Kind: "Pod", APIVersion: "v1", Name: pod.Name, UID: pod.UID},
	}}
	if err := env.Client.SubResource("token").Create(ctx, account, request); err != nil {
		t.Fatal(err)
	}
	cfg := rest.AnonymousClientConfig(env.Rest)
	cfg.BearerToken = request.Status.Token
	c, err := client.New(cfg, client.Options{Scheme: env.Client.Scheme()})
	if err != nil {
		t.Fatal(err)
	}
	return c, launch.Peer{Node: fencedNode, Network: network, PodName: pod.Name, PodUID: string(pod.UID), PodIP: "10.0.0.1"}
}

// TestPeerFence tries with a peer's own token what a peer that was broken into would.
func TestPeerFence(t *testing.T) {
	env := controllertest.New(t, func(s *runtime.Scheme) error {
		if err := authenticationv1.AddToScheme(s); err != nil {
			return err
		}
		return operator.AddToScheme(s)
	})
	for _, folder := range []string{"admission", "rbac"} {
		install(t, env, folder)
	}
	me, peer := fencedPeer(t, env)
	contract := launch.Contract{
		PackageID: "demo-asset:" + strings.Repeat("ab", 32), Image: "example.org/asset@sha256:" + strings.Repeat("0", 64),
		Address: fencedNode + "." + peer.Network + ":7052", MSPID: "BankAMSP", Cert: "cert", Key: "key", Root: "root",
	}
	pod := func(change func(*corev1.Pod)) *corev1.Pod {
		p := launch.Pod(peer, contract, launch.Settings{Chaincode: "demo-asset"})
		if change != nil {
			change(p)
		}
		return p
	}
	env.Eventually(t, "rights and the policy are in force", func(ctx context.Context) error {
		if err := me.Create(ctx, pod(nil), client.DryRunAll); err != nil {
			return err
		}
		err := me.Create(ctx, pod(func(p *corev1.Pod) { p.Name = "other" }), client.DryRunAll)
		return refused(err)
	})

	foreign := pod(func(p *corev1.Pod) {
		p.Name, p.Labels[v1alpha1.LabelNode], p.OwnerReferences = "cc-peer0-banka-b-asset-0123456789", "peer0-banka-b", nil
	})
	if err := env.Client.Create(t.Context(), foreign); err != nil {
		t.Fatal(err)
	}
	secret := func(change func(*corev1.Secret)) *corev1.Secret {
		s := launch.Secret(peer, contract, launch.Settings{})
		if change != nil {
			change(s)
		}
		return s
	}
	for name, o := range map[string]client.Object{
		"the root of another organization": pod(func(p *corev1.Pod) { p.Spec.Volumes[0].Secret.SecretName = "bankb-root" }),
		"a projected Secret": pod(func(p *corev1.Pod) {
			p.Spec.Volumes[0].VolumeSource = corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{{
				Secret: &corev1.SecretProjection{LocalObjectReference: corev1.LocalObjectReference{Name: "bankb-root"}},
			}}}}
		}),
		"a volume": pod(func(p *corev1.Pod) {
			p.Spec.Volumes[0].VolumeSource = corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "peer0-bankb"}}
		}),
		"a Secret in the environment": pod(func(p *corev1.Pod) {
			p.Spec.Containers[0].Env = append(p.Spec.Containers[0].Env, corev1.EnvVar{Name: "X", ValueFrom: &corev1.EnvVarSource{
				SecretKeyRef: &corev1.SecretKeySelector{LocalObjectReference: corev1.LocalObjectReference{Name: "bankb-root"}, Key: "sign-ca.key"},
			}})
		}),
		"all of a Secret in the environment": pod(func(p *corev1.Pod) {
			p.Spec.Containers[0].EnvFrom = []corev1.EnvFromSource{{SecretRef: &corev1.SecretEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: "bankb-root"}}}}
		}),
		"a privileged pod": pod(func(p *corev1.Pod) {
			p.Spec.Containers[0].SecurityContext = &corev1.SecurityContext{Privileged: ptr.To(true), ReadOnlyRootFilesystem: ptr.To(true)}
		}),
		"the machine's network":           pod(func(p *corev1.Pod) { p.Spec.HostNetwork = true }),
		"a machine of its choice":         pod(func(p *corev1.Pod) { p.Spec.NodeName = "n1" }),
		"an image by tag":                 pod(func(p *corev1.Pod) { p.Spec.Containers[0].Image = "example.org/asset:latest" }),
		"a pod of another name":           pod(func(p *corev1.Pod) { p.Name = "peer0-bankb" }),
		"the name of a neighbour":         pod(func(p *corev1.Pod) { p.Name, p.Labels[v1alpha1.LabelNode] = "cc-peer0-banka-b-x", "peer0-banka-b" }),
		"a pod that looks like a peer":    pod(func(p *corev1.Pod) { p.Labels[v1alpha1.LabelComponent] = v1alpha1.ComponentPeer }),
		"a label of another organization": pod(func(p *corev1.Pod) { p.Labels[v1alpha1.LabelOrganization] = "bankb" }),
		"a pod without an owner":          pod(func(p *corev1.Pod) { p.OwnerReferences = nil }),
		"a pod of another owner":          pod(func(p *corev1.Pod) { p.OwnerReferences[0].UID = "other" }),
		"a token":                         pod(func(p *corev1.Pod) { p.Spec.AutomountServiceAccountToken = ptr.To(true) }),
		"another ServiceAccount":          pod(func(p *corev1.Pod) { p.Spec.ServiceAccountName = specs.PeerServiceAccountName(fencedNode) }),
		"a second container": pod(func(p *corev1.Pod) {
			p.Spec.Containers = append(p.Spec.Containers, *p.Spec.Containers[0].DeepCopy())
			p.Spec.Containers[1].Name = "b"
		}),
		"an init container": pod(func(p *corev1.Pod) {
			c := *p.Spec.Containers[0].DeepCopy()
			c.Name = "b"
			p.Spec.InitContainers = []corev1.Container{c}
		}),
		"memory without a limit":     pod(func(p *corev1.Pod) { p.Spec.Containers[0].Resources = corev1.ResourceRequirements{} }),
		"a root that can be written": pod(func(p *corev1.Pod) { p.Spec.Containers[0].SecurityContext.ReadOnlyRootFilesystem = nil }),
		"a pod that is restarted":    pod(func(p *corev1.Pod) { p.Spec.RestartPolicy = corev1.RestartPolicyAlways }),
		"a token of a ServiceAccount as a Secret": secret(func(s *corev1.Secret) {
			s.Type, s.Data = corev1.SecretTypeServiceAccountToken, nil
			s.Annotations[corev1.ServiceAccountNameKey] = specs.PeerServiceAccountName(fencedNode)
		}),
		"a Secret of another name": secret(func(s *corev1.Secret) { s.Name = "bankb-ops" }),
		"a ConfigMap":              &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: peer.Network, Name: "cc-peer0-banka-x"}},
		"a RoleBinding": &rbacv1.RoleBinding{
			ObjectMeta: metav1.ObjectMeta{Namespace: peer.Network, Name: "cc-peer0-banka-x"},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: specs.ClusterRoleNetwork},
		},
	} {
		t.Run(name, func(t *testing.T) {
			if err := refused(me.Create(t.Context(), o, client.DryRunAll)); err != nil {
				t.Error(err)
			}
		})
	}
	for name, do := range map[string]func(context.Context) error{
		"read a Secret": func(ctx context.Context) error {
			return me.Get(ctx, client.ObjectKey{Namespace: peer.Network, Name: "bankb-root"}, &corev1.Secret{})
		},
		"list Secrets": func(ctx context.Context) error {
			return me.List(ctx, &corev1.SecretList{}, client.InNamespace(peer.Network))
		},
		"delete another peer's contract": func(ctx context.Context) error { return me.Delete(ctx, foreign) },
		"delete its own pod": func(ctx context.Context) error {
			return me.Delete(ctx, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: peer.Network, Name: peer.PodName}})
		},
		"change a pod": func(ctx context.Context) error {
			return me.Patch(ctx, foreign, client.RawPatch("application/merge-patch+json", []byte(`{"metadata":{"labels":{"a":"b"}}}`)))
		},
		"pods in another namespace": func(ctx context.Context) error {
			return me.List(ctx, &corev1.PodList{}, client.InNamespace("default"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			if err := refused(do(t.Context())); err != nil {
				t.Error(err)
			}
		})
	}
	mine := []client.Object{secret(nil), pod(nil)}
	for _, o := range mine {
		if err := me.Create(t.Context(), o); err != nil {
			t.Errorf("its own contract: %v", err)
		}
	}
	for _, o := range mine {
		if err := me.Delete(t.Context(), o); err != nil {
			t.Errorf("delete its own contract: %v", err)
		}
	}
}

// refused wants the error of somebody who may not.
func refused(err error) error {
	if apierrors.IsForbidden(err) || apierrors.IsInvalid(err) {
		return nil
	}
	return &notRefusedError{err}
}

type notRefusedError struct{ err error }

func (e *notRefusedError) Error() string {
	if e.err == nil {
		return "it was let through"
	}
	return "not refused, but: " + e.err.Error()
}
