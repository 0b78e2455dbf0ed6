package e2e

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"heddle.dev/heddle/api/v1alpha1"
)

// TestTwoDeploysAtOnce: of two deploys of one contract at the same time both succeed, or one does and the other says why
// not; afterwards the contract is one of the two, and nothing half-made is left.
func TestTwoDeploysAtOnce(t *testing.T) {
	ctx, c, s := faultyLab(t, 10*time.Minute, "twice")
	same := faultySource(ctx, t, c, "same")
	for round, pair := range map[string][2]string{
		"the same source, new":      {same, same},
		"other sources":             {faultySource(ctx, t, c, "one"), faultySource(ctx, t, c, "two")},
		"other sources, once again": {faultySource(ctx, t, c, "three"), faultySource(ctx, t, c, "four")},
	} {
		t.Run(round, func(t *testing.T) {
			name := "cc" + strings.Map(func(r rune) rune {
				if r == ' ' || r == ',' {
					return -1
				}
				return r
			}, round)
			var wg sync.WaitGroup
			var failed [2]error
			var outs [2]string
			for i := range pair {
				wg.Go(func() {
					outs[i], failed[i] = c.Heddle(ctx, "chaincode", "deploy", pair[i], "--channel", demoChannel, "-n", s.Name, "--name", name)
				})
			}
			wg.Wait()
			if failed[0] != nil && failed[1] != nil {
				t.Errorf("both failed:\n%s\n%s", outs[0], outs[1])
			}
			for i := range pair {
				if failed[i] != nil && !strings.Contains(outs[i], "somebody else") {
					t.Errorf("the loser does not say why: %v\n%s", failed[i], outs[i])
				}
				lines := strings.Split(strings.TrimSpace(outs[i]), "\n")
				progress("%s: %v: %s", round, failed[i] == nil, strings.Join(lines[max(0, len(lines)-2):], " / "))
			}
			cc := deployed(ctx, t, c, s, name)
			ready(ctx, t, c, cc)
			if *cc.Status.Sequence > 2 {
				t.Errorf("two deploys made sequence %d", *cc.Status.Sequence)
			}
			if out, err := evaluate(ctx, c, s, name, "Ping"); err != nil {
				t.Errorf("call: %v\n%s", err, out)
			}
			eventually(ctx, t, "every build has an end", func() error {
				var builds v1alpha1.ChaincodeBuildList
				if err := c.List(ctx, &builds, client.InNamespace(s.Name)); err != nil {
					return err
				}
				for i := range builds.Items {
					if b := &builds.Items[i]; b.Status.FinishedAt == nil || b.Status.Image == nil {
						return fmt.Errorf("build %s: %+v", b.Name, b.Status.Conditions)
					}
				}
				var jobs batchv1.JobList
				if err := c.List(ctx, &jobs, client.InNamespace(s.Name)); err != nil {
					return err
				}
				for i := range jobs.Items {
					if j := &jobs.Items[i]; j.Status.Active > 0 {
						return fmt.Errorf("job %s is at work", j.Name)
					}
				}
				return nil
			})
		})
	}
}
