package e2e

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hyperledger/fabric-protos-go-apiv2/common"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/fabric/block"
	"heddle.dev/heddle/test/harness"
	"heddle.dev/heddle/test/load"
)

// restsFor is how long nobody may change a configuration for it to count as at rest: a lost update is computed again at once.
const restsFor = 20 * time.Second

// tries is how often two sites are told to do something at the same time, until it was so.
const tries = 5

// bothAtOnce has two sites change the batch size at the same time: one wins, the other shows Diverged and nobody makes
// a third update. Then the loser takes what is.
func (h *threeSites) bothAtOnce(ctx context.Context, t *testing.T, one, two *linkedSite, value int32) {
	t.Helper()
	peers := clientsOf(ctx, t, "asset", h.sites()...)
	for n := range int32(tries) {
		before := configBlocks(ctx, t, peers[0])
		began := time.Now()
		var edits sync.WaitGroup
		for i, s := range []*linkedSite{one, two} {
			edits.Go(func() { s.setBatch(ctx, t, value+2*n+int32(i)) }) //nolint:gosec // G115: 0 or 1
		}
		edits.Wait()
		won, lost := h.loser(ctx, t, one, two, func() bool { return configBlocks(ctx, t, peers[0]) > before+1 })
		if lost == nil {
			// The ledger had the first change before the operator of the second looked: the last writer wins then.
			progress("%s and %s changed it one after the other, not at once", one.id, two.id)
			continue
		}
		progress("%s won and %s shows it after %.1f s", won.id, lost.id, time.Since(began).Seconds())
		h.rests(ctx, t, peers, before+1)
		h.adopt(ctx, t, lost)
		h.rests(ctx, t, peers, before+1)
		submit(ctx, t, peers, fmt.Sprintf("batch-%d", value))
		return
	}
	t.Errorf("both changes were carried out, %d times of %d", tries, tries)
}

// adopt has every site take what is, of which one is told that its own wish was not carried out.
func (h *threeSites) adopt(ctx context.Context, t *testing.T, lost *linkedSite) {
	t.Helper()
	for _, s := range h.sites() {
		out := heddle(ctx, t, s.Cluster, "channel", "adopt", tradeNetwork+"/"+demoChannel)
		if s == lost && !strings.Contains(out, "goes on from the ledger") {
			t.Errorf("%s: adopt says %q", s.id, out)
		}
		ready(ctx, t, s.Cluster, sharedChannel())
	}
}

// loser waits until exactly one of two sites shows Diverged, and returns none once both changes were carried out. The third
// site may show it, too: what it wished before is not what is now.
func (h *threeSites) loser(ctx context.Context, t *testing.T, one, two *linkedSite, both func() bool) (won, lost *linkedSite) {
	t.Helper()
	err := harness.Poll(ctx, func(ctx context.Context) error {
		shows := map[*linkedSite]bool{}
		for _, s := range h.sites() {
			ch := sharedChannel()
			if err := s.Get(ctx, client.ObjectKeyFromObject(ch), ch); err != nil {
				return err
			}
			if !harness.IsReady(ch) {
				return fmt.Errorf("%s: %s", s.id, harness.Describe(ch))
			}
			shows[s] = diverged(ch)
		}
		switch {
		case shows[one] && !shows[two]:
			won, lost = two, one
		case shows[two] && !shows[one]:
			won, lost = one, two
		case !both():
			return fmt.Errorf("%s diverged: %v, %s diverged: %v", one.id, shows[one], two.id, shows[two])
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return won, lost
}

// rests demands that the ledger of every peer has so many blocks of configuration, and no more after a while.
func (h *threeSites) rests(ctx context.Context, t *testing.T, peers []*load.Client, want int) {
	t.Helper()
	select {
	case <-time.After(restsFor):
	case <-ctx.Done():
		t.Fatal(context.Cause(ctx))
	}
	for _, p := range peers {
		if have := configBlocks(ctx, t, p); have != want {
			t.Errorf("%s has %d blocks of configuration, want %d", p.Name(), have, want)
		}
	}
}

// configBlocks counts the blocks of configuration in a peer's ledger.
func configBlocks(ctx context.Context, t *testing.T, p *load.Client) int {
	t.Helper()
	ledger, err := p.Ledger(ctx)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for number := range ledger.Height {
		b, err := p.Block(ctx, number)
		if err != nil {
			t.Fatal(err)
		}
		_, header, err := block.Envelope(b, 0)
		if err != nil {
			t.Fatal(err)
		}
		if header.GetType() == int32(common.HeaderType_CONFIG) {
			n++
		}
	}
	return n
}

func diverged(ch *v1alpha1.Channel) bool {
	return meta.IsStatusConditionTrue(ch.Status.Conditions, v1alpha1.ConditionDiverged)
}

// setBatch changes the most messages of a block in the spec of the channel, which its Network may hold.
func (s *linkedSite) setBatch(ctx context.Context, t *testing.T, value int32) {
	t.Helper()
	err := harness.Poll(ctx, func(ctx context.Context) error {
		ch := sharedChannel()
		if err := s.Get(ctx, client.ObjectKeyFromObject(ch), ch); err != nil {
			return err
		}
		if ch.Labels[v1alpha1.LabelInline] == "" {
			ch.Spec.Batch.MaxMessageCount = value
			return s.Update(ctx, ch)
		}
		n := network(tradeNetwork)
		if err := s.Get(ctx, client.ObjectKeyFromObject(n), n); err != nil {
			return err
		}
		n.Spec.Channels[0].Batch.MaxMessageCount = value
		return s.Update(ctx, n)
	})
	if err != nil {
		t.Error(err)
	}
}

// eachObject calls f for each object of a list.
func eachObject(list client.ObjectList, f func(client.Object)) error {
	return meta.EachListItem(list, func(o runtime.Object) error {
		if obj, ok := o.(client.Object); ok {
			f(obj)
		}
		return nil
	})
}
