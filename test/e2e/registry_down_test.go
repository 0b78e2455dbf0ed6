package e2e

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/test/harness"
)

// TestRegistryDown: a contract whose image cannot be had says so in its status, with what to do, and its caller gets an
// error; when the image is there, the next call works. Images that do not exist at all, or may not be pulled, likewise.
func TestRegistryDown(t *testing.T) {
	ctx, c, s := faultyLab(t, 12*time.Minute, "registry-down")
	image, err := c.Build(ctx, s.Name, "unseen", faultySource(ctx, t, c, "unseen"), v1alpha1.LanguageBinary)
	must(t, err)

	registry(ctx, t, c, 0)
	args := []string{"chaincode", "deploy", "--channel", demoChannel, "-n", s.Name, "--name", faulty, "--wait=false", "--image"}
	if out, err := c.Heddle(ctx, append(args, image)...); err != nil {
		t.Fatalf("deploy: %v\n%s", err, out)
	}
	t.Run("the registry is down", func(t *testing.T) {
		unlaunchable(ctx, t, c, s, "unseen")
		registry(ctx, t, c, 1)
		eventually(ctx, t, "the contract answers once the registry is back", func() error {
			_, err := evaluateAt(ctx, c, s, "banka", "Ping")
			return err
		})
		pongs(ctx, t, c, s)
		ready(ctx, t, c, faultyChaincode(s))
		wantEnds(ctx, t, c, s)
	})
	t.Run("there is no such image", func(t *testing.T) {
		name, _, _ := strings.Cut(image, "@")
		absent := name + "@sha256:" + strings.Repeat("0", 64)
		if out, err := c.Heddle(ctx, append(args, absent)...); err != nil {
			t.Fatalf("deploy: %v\n%s", err, out)
		}
		unlaunchable(ctx, t, c, s, "sha256:0000")
		// A command that waits ends with the reason.
		out, err := c.Heddle(ctx, "chaincode", "deploy", "--channel", demoChannel, "-n", s.Name, "--name", faulty, "--image", absent, "--timeout", "5s")
		if err == nil || !strings.Contains(out, "could not launch") {
			t.Errorf("deploy of an image that is not there: %v\n%s", err, out)
		}
	})
	t.Run("the machine may not pull it", func(t *testing.T) {
		another, err := c.Build(ctx, s.Name, "unseen-either", faultySource(ctx, t, c, "unseen-either"), v1alpha1.LanguageBinary)
		must(t, err)
		change(ctx, t, c, s, func(cc *v1alpha1.Chaincode) {
			cc.Spec.Image, cc.Spec.Version, cc.Spec.ImagePullPolicy = another, "3.0", "Never"
		})
		unlaunchable(ctx, t, c, s, "ErrImageNeverPull")
		change(ctx, t, c, s, func(cc *v1alpha1.Chaincode) { cc.Spec.ImagePullPolicy = "" })
		eventually(ctx, t, "the contract answers once its machine may pull", func() error {
			_, err := evaluateAt(ctx, c, s, "banka", "Ping")
			return err
		})
		pongs(ctx, t, c, s) // each peer tries again when it is called
		ready(ctx, t, c, faultyChaincode(s))
	})
}

// unlaunchable: the status says that the contract cannot be launched, why and what to do; the caller gets an error.
func unlaunchable(ctx context.Context, t *testing.T, c *harness.Cluster, s shape, word string) {
	t.Helper()
	cc := faultyChaincode(s)
	if err := c.Until(ctx, cc, func() bool {
		return cc.Status.CommittedVersion == cc.Spec.Version && cc.Status.Image == cc.Spec.Image
	}); err != nil {
		t.Fatal(err)
	}
	// Peers of Fabric launch what is committed, stand-ins what is called.
	if out, err := evaluateAt(ctx, c, s, s.Orgs[0].Name, "Ping"); err == nil {
		t.Errorf("a contract without an image answers: %s", out)
	}
	err := c.Until(ctx, cc, func() bool {
		r := meta.FindStatusCondition(cc.Status.Conditions, v1alpha1.ConditionReady)
		return r != nil && r.Reason == v1alpha1.ReasonLaunchFailed && r.ObservedGeneration == cc.Generation &&
			len(cc.Status.Launches) > 0 && strings.Contains(cc.Status.Launches[0].Reason, word)
	})
	if err != nil {
		t.Fatalf("the status does not say that the contract cannot be launched: %v%s", err, launchesOf(cc))
	}
	r := meta.FindStatusCondition(cc.Status.Conditions, v1alpha1.ConditionReady)
	if !strings.Contains(r.Message, "the next call tries again") {
		t.Errorf("the status does not say what to do: %s", r.Message)
	}
	progress("%s", r.Message)
	for _, o := range s.Orgs {
		out, err := evaluateAt(ctx, c, s, o.Name, "Ping")
		if err == nil {
			t.Errorf("a contract without an image answers at %s: %s", o.Name, out)
		}
		progress("the caller at %s: %s", o.Name, out)
	}
	neighbour(ctx, t, c, s)
}

// wantEnds: every launch that does not run has an end and a reason.
func wantEnds(ctx context.Context, t *testing.T, c *harness.Cluster, s shape) {
	t.Helper()
	eventually(ctx, t, "every launch that is over has its end and its reason", func() error {
		running := launchNames(ctx, t, c, s)
		cc := deployed(ctx, t, c, s, faulty)
		for _, l := range cc.Status.Launches {
			if !running[l.Pod] && (l.EndedAt == nil || l.Reason == "") {
				return fmt.Errorf("launch %s is over, and: %s", l.Pod, launchesOf(cc))
			}
			if l.PackageID == "" || l.Image == "" || l.Peer == "" || l.StartedAt.IsZero() {
				return fmt.Errorf("launch %s lacks something: %+v", l.Pod, l)
			}
		}
		if len(cc.Status.Launches) == 0 {
			return errors.New("there is no launch at all")
		}
		return nil
	})
}

// change changes the faulty contract's object.
func change(ctx context.Context, t *testing.T, c *harness.Cluster, s shape, how func(*v1alpha1.Chaincode)) {
	t.Helper()
	cc := deployed(ctx, t, c, s, faulty)
	patch := client.MergeFrom(cc.DeepCopy())
	how(cc)
	must(t, c.Patch(ctx, cc, patch))
}

// registry stops the registry or starts it, and waits until it has; it runs again after the test.
func registry(ctx context.Context, t *testing.T, c *harness.Cluster, replicas int32) {
	t.Helper()
	set := func(ctx context.Context, n int32) error {
		var d appsv1.Deployment
		if err := c.Get(ctx, client.ObjectKey{Namespace: harness.SystemNamespace, Name: "heddle-registry"}, &d); err != nil {
			return err
		}
		patch := client.MergeFrom(d.DeepCopy())
		d.Spec.Replicas = ptr.To(n)
		return c.Patch(ctx, &d, patch)
	}
	t.Cleanup(func() { must(t, set(context.WithoutCancel(ctx), 1)) })
	must(t, set(ctx, replicas))
	eventually(ctx, t, fmt.Sprintf("the registry has %d pods", replicas), func() error {
		var d appsv1.Deployment
		if err := c.Get(ctx, client.ObjectKey{Namespace: harness.SystemNamespace, Name: "heddle-registry"}, &d); err != nil {
			return err
		}
		if d.Status.ReadyReplicas != replicas || d.Status.Replicas != replicas {
			return fmt.Errorf("it has %d, of which %d are ready", d.Status.Replicas, d.Status.ReadyReplicas)
		}
		return nil
	})
}
