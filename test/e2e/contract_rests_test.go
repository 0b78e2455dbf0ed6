package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/test/harness"
)

// restsAndWakes: a contract that nobody calls goes, which the status calls so, and the next call wakes it. It is one that
// wants to be initialised first.
func restsAndWakes(ctx context.Context, t *testing.T, c *harness.Cluster, s shape, source string) {
	t.Helper()
	deploy(ctx, t, c, source, "--channel", demoChannel, "-n", s.Name, "--name", "rests", "--idle", "30s", "--init")
	ref := s.Name + "/" + demoChannel + "/rests"
	if out, err := c.Heddle(ctx, "tx", "submit", ref, "TotalSupply"); err == nil || !strings.Contains(out, "submit its first transaction with --init") {
		t.Errorf("a first transaction that does not initialise: %v\n%s", err, out)
	}
	for _, args := range [][]string{{"TotalSupply", "--init"}, {"TotalSupply"}} {
		if out, err := c.Heddle(ctx, append([]string{"tx", "submit", ref}, args...)...); err != nil {
			t.Errorf("submit %v: %v\n%s", args, err, out)
		}
	}
	cc := deployed(ctx, t, c, s, "rests")
	if len(launched(ctx, t, c, cc)) == 0 {
		t.Error("a contract that was called just now does not run")
	}
	eventually(ctx, t, "a contract that nobody calls goes", func() error {
		if pods := launched(ctx, t, c, cc); len(pods) > 0 {
			return fmt.Errorf("pod %s runs", pods[0].Name)
		}
		return nil
	})
	eventually(ctx, t, "the status says that it was idle", func() error {
		launches := deployed(ctx, t, c, s, "rests").Status.Launches
		for _, l := range launches {
			if !strings.HasPrefix(l.Reason, v1alpha1.LaunchIdle+":") || l.EndedAt == nil {
				return fmt.Errorf("launch %+v", l)
			}
		}
		return nil
	})
	if out, err := c.Heddle(ctx, "tx", "evaluate", ref, "TotalSupply"); err != nil {
		t.Errorf("call a contract that was idle: %v\n%s", err, out)
	}
}

// failsWithReason: who calls a contract whose image is nowhere is told that.
func failsWithReason(ctx context.Context, t *testing.T, c *harness.Cluster, s shape) {
	t.Helper()
	image := "registry.heddle-system.svc:5000/" + s.Name + "/none@sha256:" + strings.Repeat("0", 64)
	if out, err := c.Heddle(ctx, "chaincode", "deploy", "--image", image, "--channel", demoChannel, "-n", s.Name, "--name", "none"); err != nil {
		t.Fatalf("deploy an image: %v\n%s", err, out)
	}
	out, err := c.Heddle(ctx, "tx", "submit", s.Name+"/"+demoChannel+"/none", "TotalSupply")
	if err == nil || !strings.Contains(out, "could not start the contract: ErrImagePull") {
		t.Errorf("call a contract without an image: %v\n%s", err, out)
	}
}
