package e2e

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/fabric/ccpackage"
	"heddle.dev/heddle/test/harness"
)

// step is a moment on the way of a definition to the channel.
type step struct {
	name string
	// come tells whether it has come, by what the first organization's peer knows.
	come func(d harness.Definition, sequence int64) bool
}

var steps = []step{
	{"install", func(harness.Definition, int64) bool { return true }},
	{"approve", func(d harness.Definition, _ int64) bool { return d.Installed }},
	{"commit", func(d harness.Definition, _ int64) bool { return d.Approved }},
	{"report", func(d harness.Definition, sequence int64) bool { return d.Sequence == sequence }},
}

// TestLifecycleInterrupted: whoever is killed in the middle of install, approve or commit, a peer or the operator, the
// definition gets onto the channel, its sequence is counted up once, and all peers have the package.
func TestLifecycleInterrupted(t *testing.T) {
	ctx, c, s := faultyLab(t, 15*time.Minute, "interrupted")
	sequence := *deployFaulty(ctx, t, c, s, "first").Status.Sequence
	pongs(ctx, t, c, s)
	victims := []struct {
		name string
		kill func(context.Context) error
	}{
		{"the operator", func(ctx context.Context) error { return killAndAwait(ctx, c) }},
		{"a peer's container", func(ctx context.Context) error { return c.KillNode(ctx, s.Name, "peer0-banka") }},
		{"a peer's pod", func(ctx context.Context) error {
			pod, err := c.PodOf(ctx, s.Name, "peer0-bankb")
			if err != nil {
				return err
			}
			return c.Delete(ctx, pod, client.GracePeriodSeconds(0))
		}},
	}
	// Each definition brings another package, so that there is something to install.
	n := 0
	for _, at := range steps {
		for _, victim := range victims {
			t.Run(at.name+", "+victim.name, func(t *testing.T) {
				n++
				image, err := c.Build(ctx, s.Name, fmt.Sprintf("variant-%d", n), faultySource(ctx, t, c, strconv.Itoa(n)), v1alpha1.LanguageBinary)
				must(t, err)
				sequence++
				interrupted(ctx, t, c, s, at, image, sequence, victim.kill)
			})
		}
	}
}

func interrupted(ctx context.Context, t *testing.T, c *harness.Cluster, s shape, at step, image string, sequence int64, kill func(context.Context) error) {
	t.Helper()
	version := fmt.Sprintf("%d.0", sequence)
	name, digest, _ := strings.Cut(image, "@")
	pkg, err := ccpackage.K8s(demoChannel+"-"+faulty, ccpackage.Image{Name: name, Digest: digest})
	must(t, err)
	id, err := ccpackage.ID(pkg)
	must(t, err)
	look := func(ctx context.Context, peer string) (harness.Definition, error) {
		return c.Definition(ctx, s.Name, peer, demoChannel, faulty, id, sequence)
	}
	change(ctx, t, c, s, func(cc *v1alpha1.Chaincode) { cc.Spec.Build, cc.Spec.Image, cc.Spec.Version = "", image, version })
	must(t, soon(ctx, func() error {
		d, err := look(ctx, "peer0-banka")
		if err == nil && !at.come(d, sequence) {
			err = errors.New("the moment has not come")
		}
		return err
	}))
	must(t, kill(ctx))

	cc := deployed(ctx, t, c, s, faulty)
	ready(ctx, t, c, cc)
	if cc.Status.Sequence == nil || *cc.Status.Sequence != sequence || cc.Status.CommittedVersion != version || cc.Status.Image != image {
		t.Errorf("the status tells sequence %v, version %s, image %s; want %d, %s, %s",
			cc.Status.Sequence, cc.Status.CommittedVersion, cc.Status.Image, sequence, version, image)
	}
	for _, o := range s.Orgs {
		eventually(ctx, t, "the peer of "+o.Name+" has it all", func() error {
			d, err := look(ctx, "peer0-"+o.Name)
			if want := (harness.Definition{Installed: true, Approved: true, Sequence: sequence, Version: version}); err == nil && d != want {
				err = fmt.Errorf("got %+v, want %+v", d, want)
			}
			return err
		})
	}
	// The peers' gateways find one another again some seconds after a start.
	eventually(ctx, t, "the contract answers", func() error {
		_, err := evaluateAt(ctx, c, s, "bankb", "Ping")
		return err
	})
}

// soon tries with hardly a pause: moments are short.
func soon(ctx context.Context, holds func() error) error {
	for {
		err := holds()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.Join(err, context.Cause(ctx))
		case <-time.After(time.Millisecond):
		}
	}
}
