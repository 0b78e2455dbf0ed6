package e2e

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"heddle.dev/heddle/test/harness"
)

// healTime is what drift may take to be healed: by a watch, not by the next full look.
const healTime = 5 * time.Second

// drift is a change behind the operator's back.
type drift struct {
	obj    client.Object
	name   string
	change func(client.Object)
	// of is the part that must come back.
	of func(client.Object) any
}

func changes() map[string]drift {
	replicas := int32(0)
	return map[string]drift{
		"Deployment scaled to nothing": {
			obj: &appsv1.Deployment{}, name: "peer0-banka",
			change: func(o client.Object) { o.(*appsv1.Deployment).Spec.Replicas = &replicas },
			of:     func(o client.Object) any { return o.(*appsv1.Deployment).Spec.Replicas },
		},
		"Deployment with another variable": {
			obj: &appsv1.Deployment{}, name: "orderer0-ord",
			change: func(o client.Object) {
				env := o.(*appsv1.Deployment).Spec.Template.Spec.Containers[0].Env
				env[0].Value += "x"
			},
			of: func(o client.Object) any { return o.(*appsv1.Deployment).Spec.Template.Spec.Containers[0].Env },
		},
		"Service with another port": {
			obj: &corev1.Service{}, name: "orderer0-ord",
			change: func(o client.Object) { o.(*corev1.Service).Spec.Ports[0].TargetPort = intstr.FromInt32(1) },
			of:     func(o client.Object) any { return o.(*corev1.Service).Spec.Ports[0].TargetPort },
		},
		"Service with another selector": {
			obj: &corev1.Service{}, name: "peer0-banka",
			change: func(o client.Object) { o.(*corev1.Service).Spec.Selector["heddle.dev/node"] = "peer0-bankb" },
			of:     func(o client.Object) any { return o.(*corev1.Service).Spec.Selector },
		},
		"ConfigMap emptied": {
			obj: &corev1.ConfigMap{}, name: "banka-msp",
			change: func(o client.Object) { o.(*corev1.ConfigMap).Data["tlsca.pem"] = "" },
			of:     func(o client.Object) any { return o.(*corev1.ConfigMap).Data },
		},
		"NetworkPolicy opened": {
			obj: &networkingv1.NetworkPolicy{}, name: "default-deny",
			change: func(o client.Object) {
				o.(*networkingv1.NetworkPolicy).Spec.Ingress = []networkingv1.NetworkPolicyIngressRule{{}}
			},
			of: func(o client.Object) any { return len(o.(*networkingv1.NetworkPolicy).Spec.Ingress) },
		},
		"PodDisruptionBudget loosened": {
			obj: &policyv1.PodDisruptionBudget{}, name: "orderers",
			change: func(o client.Object) {
				three := intstr.FromInt32(3)
				o.(*policyv1.PodDisruptionBudget).Spec.MaxUnavailable = &three
			},
			of: func(o client.Object) any { return o.(*policyv1.PodDisruptionBudget).Spec.MaxUnavailable },
		},
		"namespace without Pod Security": {
			obj: &corev1.Namespace{},
			change: func(o client.Object) {
				o.GetLabels()["pod-security.kubernetes.io/enforce"] = "privileged"
			},
			of: func(o client.Object) any { return o.GetLabels() },
		},
		"NetworkPolicy removed":  {obj: &networkingv1.NetworkPolicy{}, name: "peers"},
		"Service removed":        {obj: &corev1.Service{}, name: "peer0-bankb"},
		"PDB removed":            {obj: &policyv1.PodDisruptionBudget{}, name: "peers-banka"},
		"keys of a peer removed": {obj: &corev1.Secret{}, name: "peer0-banka"},
		"administrator removed":  {obj: &corev1.Secret{}, name: "banka-admin"},
		"RoleBinding removed":    {obj: &rbacv1.RoleBinding{}, name: "heddle-operator"},
	}
}

// TestDrift: what somebody changes or removes behind the operator's back is as before within five seconds.
func TestDrift(t *testing.T) {
	ctx, c := start(t, 8*time.Minute)
	s := raft3("drift")
	up(ctx, t, c, s)
	for name, d := range changes() {
		t.Run(name, func(t *testing.T) {
			d.check(ctx, t, c, s.Name)
			ready(ctx, t, c, network(s.Name))
		})
	}
	submit(ctx, t, clients(ctx, t, c, s.Name, "demo"), "after")
}

func (d drift) check(ctx context.Context, t *testing.T, c *harness.Cluster, ns string) {
	t.Helper()
	key := client.ObjectKey{Namespace: ns, Name: d.name}
	if d.name == "" {
		key = client.ObjectKey{Name: ns}
	}
	if err := c.Get(ctx, key, d.obj); err != nil {
		t.Fatal(err)
	}
	uid, before := d.obj.GetUID(), any(nil)
	if d.change == nil {
		if err := c.Delete(ctx, d.obj); err != nil {
			t.Fatal(err)
		}
	} else {
		before = d.of(d.obj.DeepCopyObject().(client.Object)) //nolint:forcetypeassert // it is one
		d.change(d.obj)
		if cmp.Diff(before, d.of(d.obj)) == "" {
			t.Fatal("the change changes nothing")
		}
		if err := c.Update(ctx, d.obj, client.FieldOwner("somebody")); err != nil {
			t.Fatal(err)
		}
	}
	began := time.Now()
	ctx, cancel := context.WithTimeoutCause(ctx, healTime, fmt.Errorf("it is not healed after %s", healTime))
	defer cancel()
	err := harness.Poll(ctx, func(ctx context.Context) error {
		if err := c.Get(ctx, key, d.obj); err != nil {
			return err
		}
		if d.change == nil {
			if d.obj.GetUID() == uid {
				return fmt.Errorf("%T %q has not been made again", d.obj, d.name)
			}
			return nil
		}
		if diff := cmp.Diff(before, d.of(d.obj)); diff != "" {
			return fmt.Errorf("%T %q (-before +now):\n%s", d.obj, d.name, diff)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	progress("%s: healed after %.1f s", t.Name(), time.Since(began).Seconds())
}
