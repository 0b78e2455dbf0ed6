package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/test/harness"
)

// TestContractFromSource: one command builds a contract from its source and puts it on a channel, in Go and in JavaScript;
// changed source makes the next version, the same source is built once, and source that does not compile is refused in
// the compiler's words. The contract is launched by the peers: killed or deleted, the next call brings it back, its last
// words are kept, it reaches nothing but its peer, and the status tells each launch.
func TestContractFromSource(t *testing.T) {
	ctx, c := startBuilds(t, 25*time.Minute)
	s := raft3("contracts")
	up(ctx, t, c, s)

	source := filepath.Join(t.TempDir(), "token")
	must(t, os.CopyFS(source, os.DirFS(c.Path("samples", "contracts", "token-go"))))
	deploy(ctx, t, c, source, "--channel", demoChannel, "-n", s.Name)
	first := deployed(ctx, t, c, s, "token")
	if first.Spec.Version != "1.0" || *first.Status.Sequence != 1 {
		t.Errorf("the first deploy made version %s, sequence %d", first.Spec.Version, *first.Status.Sequence)
	}
	call := func(args ...string) (string, error) {
		return c.Heddle(ctx, append([]string{"-n", s.Name, "tx", "evaluate", s.Name + "/" + demoChannel + "/token"}, args...)...)
	}
	if out, err := call("TotalSupply"); err != nil {
		t.Errorf("call: %v\n%s", err, out)
	}
	wantLaunches(ctx, t, c, s, first)
	isolated(ctx, t, c, s, first)
	comesBack(ctx, t, c, s, first, func() error { _, err := call("TotalSupply"); return err })
	failsWithReason(ctx, t, c, s)
	restsAndWakes(ctx, t, c, s, source)

	deploy(ctx, t, c, source, "--channel", demoChannel, "-n", s.Name)
	if again := deployed(ctx, t, c, s, "token"); again.Spec.Version != "1.0" || again.Spec.Build != first.Spec.Build {
		t.Errorf("the same source made version %s of build %s", again.Spec.Version, again.Spec.Build)
	}
	must(t, os.WriteFile(filepath.Join(source, "more.go"), []byte("package main\n\nconst more = 1\n\nvar _ = more\n"), 0o600))
	deploy(ctx, t, c, source, "--channel", demoChannel, "-n", s.Name)
	if next := deployed(ctx, t, c, s, "token"); next.Spec.Version != "1.1" || *next.Status.Sequence != 2 || next.Status.Image == first.Status.Image {
		t.Errorf("changed source made version %s, sequence %d", next.Spec.Version, *next.Status.Sequence)
	}
	if out, err := call("TotalSupply"); err != nil {
		t.Errorf("call after the upgrade: %v\n%s", err, out)
	}
	must(t, os.WriteFile(filepath.Join(source, "more.go"), []byte("package main\n\nfunc broken() { return 1 }\n"), 0o600))
	out, err := c.Heddle(ctx, "chaincode", "deploy", source, "--channel", demoChannel, "-n", s.Name)
	if err == nil || !strings.Contains(out, "more.go:3") {
		t.Errorf("source that does not compile: %v\n%s", err, out)
	}

	node := c.Path("samples", "contracts", "asset-js")
	deploy(ctx, t, c, node, "--channel", demoChannel, "-n", s.Name, "--name", "assetjs")
	out, err = c.Heddle(ctx, "tx", "submit", s.Name+"/"+demoChannel+"/assetjs", "Create", "a1", "alice", "5")
	if err != nil {
		t.Errorf("submit to a contract in JavaScript: %v\n%s", err, out)
	}
}

// demoChannel is the channel of raft3.
const demoChannel = "demo"

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// eventually tries until it holds or the test's time is over.
func eventually(ctx context.Context, t *testing.T, what string, holds func() error) {
	t.Helper()
	within(ctx, t, time.Minute, what, holds)
}

func within(ctx context.Context, t *testing.T, limit time.Duration, what string, holds func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		err := holds()
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			t.Errorf("%s: %v", what, err)
			return
		case <-tick.C:
		}
	}
}

func deploy(ctx context.Context, t *testing.T, c *harness.Cluster, source string, args ...string) {
	t.Helper()
	began := time.Now()
	out, err := c.Heddle(ctx, append([]string{"chaincode", "deploy", source}, args...)...)
	if err != nil {
		t.Fatalf("deploy %s: %v\n%s", source, err, out)
	}
	progress("deployed %s in %.1f s", filepath.Base(source), time.Since(began).Seconds())
}

func deployed(ctx context.Context, t *testing.T, c *harness.Cluster, s shape, name string) *v1alpha1.Chaincode {
	t.Helper()
	var cc v1alpha1.Chaincode
	must(t, c.Get(ctx, client.ObjectKey{Namespace: s.Name, Name: demoChannel + "-" + name}, &cc))
	return &cc
}

// launched are the pods in which peers run a contract.
func launched(ctx context.Context, t *testing.T, c *harness.Cluster, cc *v1alpha1.Chaincode) []corev1.Pod {
	t.Helper()
	var pods corev1.PodList
	must(t, c.List(ctx, &pods, client.InNamespace(cc.Namespace), client.MatchingLabels{
		v1alpha1.LabelComponent: v1alpha1.ComponentChaincode, v1alpha1.LabelChaincode: cc.Name,
	}))
	return pods.Items
}

// wantLaunches: what runs is in the status, with its image by digest.
func wantLaunches(ctx context.Context, t *testing.T, c *harness.Cluster, s shape, cc *v1alpha1.Chaincode) {
	t.Helper()
	pods := launched(ctx, t, c, cc)
	if len(pods) == 0 {
		t.Fatal("no peer launched the contract")
	}
	eventually(ctx, t, "every launch is in the status", func() error {
		have := map[string]v1alpha1.ChaincodeLaunch{}
		for _, l := range deployed(ctx, t, c, s, cc.Spec.ChaincodeName).Status.Launches {
			have[l.Pod] = l
		}
		for i := range pods {
			l := have[pods[i].Name]
			if l.Image != cc.Status.Image || l.PackageID != cc.Status.PackageID || !strings.Contains(l.Image, "@sha256:") {
				return fmt.Errorf("launch of pod %s: %+v", pods[i].Name, l)
			}
		}
		return nil
	})
}

// isolated: other pods do not reach the contract's, and its pods carry no token.
func isolated(ctx context.Context, t *testing.T, c *harness.Cluster, s shape, cc *v1alpha1.Chaincode) {
	t.Helper()
	for _, pod := range launched(ctx, t, c, cc) {
		for i := range pod.Spec.Volumes {
			if v := &pod.Spec.Volumes[i]; v.Projected != nil || v.Secret != nil && v.Secret.SecretName != pod.Name {
				t.Errorf("pod %s has volume %s of something else", pod.Name, v.Name)
			}
		}
	}
}

// comesBack: pods that are deleted are there again with the next call, and the status says that they ended.
func comesBack(ctx context.Context, t *testing.T, c *harness.Cluster, s shape, cc *v1alpha1.Chaincode, call func() error) {
	t.Helper()
	before := launched(ctx, t, c, cc)
	for i := range before {
		must(t, client.IgnoreNotFound(c.Delete(ctx, &before[i], client.GracePeriodSeconds(0))))
	}
	eventually(ctx, t, "the contract answers again", call)
	eventually(ctx, t, "the status says that the former pods ended", func() error {
		for _, l := range deployed(ctx, t, c, s, cc.Spec.ChaincodeName).Status.Launches {
			if l.Pod == before[0].Name && l.EndedAt != nil && l.Reason != "" {
				return nil
			}
		}
		return fmt.Errorf("pod %s has no end in the status", before[0].Name)
	})
}
