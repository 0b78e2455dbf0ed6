package registry

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	cb "github.com/hyperledger/fabric-protos-go-apiv2/common"
	"github.com/hyperledger/fabric-protos-go-apiv2/orderer/etcdraft"
	"github.com/prometheus/client_golang/prometheus"

	"heddle.dev/heddle/fabsim/internal/blocks"
	"heddle.dev/heddle/fabsim/internal/channel"
	"heddle.dev/heddle/fabsim/internal/node"
	"heddle.dev/heddle/fabsim/internal/orderer/admission"
	"heddle.dev/heddle/fabsim/internal/orderer/cluster"
	"heddle.dev/heddle/fabsim/internal/orderer/consensus"
	"heddle.dev/heddle/fabsim/internal/simtest"
)

// world is the folder of one orderer, and a channel of its organisation.
type world struct {
	dir        string
	ord, banka *simtest.Org
	identity   *node.Identity
	own, other simtest.Leaf
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{dir: t.TempDir(), ord: simtest.NewOrg(t, "ord"), banka: simtest.NewOrg(t, "banka")}
	w.identity, w.own, w.other = w.ord.Signer(t, "orderer", 0), w.ord.TLS(t, "own"), w.ord.TLS(t, "other")
	return w
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// genesis is that of a channel with one consenter.
func (w *world) genesis(t *testing.T, consenter simtest.Leaf) (*channel.Config, *cb.Block) {
	t.Helper()
	block := simtest.Channel{
		ID: "trade", Orderers: w.ord, Members: []*simtest.Org{w.banka}, Endpoints: []string{"127.0.0.1:1"},
		Consenters: []*etcdraft.Consenter{{Host: "127.0.0.1", Port: 1, ClientTlsCert: consenter.Cert, ServerTlsCert: consenter.Cert}},
	}.Genesis(t)
	config, err := channel.FromBlock(block)
	ok(t, err)
	return config, block
}

// open takes up what is in the folder; stop ends it as an orderer ends.
func (w *world) open(t *testing.T) (r *Registry, store *blocks.Store, stop func()) {
	t.Helper()
	store, err := blocks.Open(blocks.Options{Dir: filepath.Join(w.dir, "chains")})
	ok(t, err)
	log, metrics := node.NewLogger("registry"), prometheus.NewRegistry()
	ctx, cancel := context.WithCancel(t.Context())
	r, err = Open(ctx, Options{
		Store: store, Dir: w.dir, WALDir: filepath.Join(w.dir, "wal"), SnapDir: filepath.Join(w.dir, "snap"),
		Identity: w.identity, Certificate: w.own.Cert, Client: w.own.TLS(t), Roots: [][]byte{w.ord.TLSRoot()},
		Timeout: time.Second, Suspicion: time.Minute, Gate: &admission.Gate{Identity: w.identity, Now: time.Now},
		Service: cluster.NewService(log), Consensus: consensus.NewMetrics(metrics), Metrics: NewMetrics(metrics), Log: log,
	})
	if err != nil {
		cancel()
		store.Close()
		t.Fatal(err)
	}
	stop = func() {
		cancel()
		r.Wait()
		store.Close()
	}
	return r, store, stop
}

func TestJoinAndRemove(t *testing.T) {
	for name, c := range map[string]struct {
		member bool
		want   Info
		block  error
	}{
		"as one of the consenters": {true, Info{"trade", RelationConsenter, StatusActive, 1}, nil},
		"as a follower":            {false, Info{"trade", RelationFollower, StatusOnboarding, 0}, ErrFollower},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			r, store, stop := w.open(t)
			defer stop()
			consenter := w.other
			if c.member {
				consenter = w.own
			}
			config, block := w.genesis(t, consenter)
			got, err := r.Join(config, block)
			ok(t, err)
			if got != c.want {
				t.Errorf("joined as %+v, want %+v", got, c.want)
			}
			if (r.Channel("trade") != nil) != c.member {
				t.Error("clients see it as they should not")
			}
			if _, err := r.Join(config, block); !errors.Is(err, ErrExists) {
				t.Errorf("joining again: %v", err)
			}
			if _, err := r.Block("trade", (*blocks.Ledger).Last); !errors.Is(err, c.block) {
				t.Errorf("asking for its block: %v", err)
			}
			ok(t, r.Remove("trade"))
			r.wait.Wait()
			if _, err := r.Info("trade"); !errors.Is(err, ErrNotExist) {
				t.Errorf("after the removal: %v", err)
			}
			if has, err := store.Has("trade"); has || err != nil {
				t.Errorf("its blocks are there: %t, %v", has, err)
			}
			if err := r.Remove("trade"); !errors.Is(err, ErrNotExist) {
				t.Errorf("removing again: %v", err)
			}
			if _, err := r.Join(config, block); err != nil {
				t.Errorf("joining once more: %v", err)
			}
		})
	}
}

// TestChannelsAreTakenUp: what was joined before a start is there after it.
func TestChannelsAreTakenUp(t *testing.T) {
	for name, member := range map[string]bool{"of a consenter": true, "of a follower": false} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			r, _, stop := w.open(t)
			consenter := w.other
			if member {
				consenter = w.own
			}
			config, block := w.genesis(t, consenter)
			before, err := r.Join(config, block)
			ok(t, err)
			stop()
			r, _, stop = w.open(t)
			defer stop()
			after, err := r.Info("trade")
			ok(t, err)
			if after != before || !slices.Equal(r.Names(), []string{"trade"}) {
				t.Errorf("%v: %+v became %+v", r.Names(), before, after)
			}
		})
	}
}

// TestAfterACrash: what a crash may leave half done.
func TestAfterACrash(t *testing.T) {
	write := func(t *testing.T, w *world, name string, content []byte) {
		t.Helper()
		dir := filepath.Join(w.dir, "pendingops", "join")
		ok(t, os.MkdirAll(dir, 0o700))
		ok(t, os.WriteFile(filepath.Join(dir, name), content, 0o600))
	}
	t.Run("a join block half written", func(t *testing.T) {
		w := newWorld(t)
		write(t, w, "trade.tmp", []byte("half a bl"))
		r, _, stop := w.open(t)
		defer stop()
		if names := r.Names(); len(names) > 0 {
			t.Errorf("there are %v", names)
		}
	})
	t.Run("files without a block", func(t *testing.T) {
		w := newWorld(t)
		store, err := blocks.Open(blocks.Options{Dir: filepath.Join(w.dir, "chains")})
		ok(t, err)
		_, err = store.Ledger("trade")
		ok(t, err)
		store.Close()
		r, store, stop := w.open(t)
		defer stop()
		if has, err := store.Has("trade"); has || err != nil || len(r.Names()) > 0 {
			t.Errorf("the files are there: %t, %v, %v", has, err, r.Names())
		}
	})
	t.Run("a damaged join block", func(t *testing.T) {
		w := newWorld(t)
		write(t, w, "trade"+joinEnding, []byte("no block"))
		r := &Registry{o: Options{Dir: w.dir}}
		if _, err := r.joinBlocks(); err == nil {
			t.Error("it was read")
		}
	})
}

func TestWhatIsNotSupportedIsNotJoined(t *testing.T) {
	w := newWorld(t)
	r, store, stop := w.open(t)
	defer stop()
	block := simtest.Channel{
		ID: "trade", Orderers: w.ord, Members: []*simtest.Org{w.banka}, Endpoints: []string{"127.0.0.1:1"},
		Change: func(root *cb.ConfigGroup) {
			root.Groups["Orderer"].Values["Capabilities"].Value = simtest.Marshal(t, &cb.Capabilities{Capabilities: map[string]*cb.Capability{"V9_0": {}}})
		},
	}.Genesis(t)
	config, err := channel.FromBlock(block)
	ok(t, err)
	if _, err := r.Join(config, block); err == nil {
		t.Error("it was joined")
	}
	if has, err := store.Has("trade"); has || err != nil || len(r.Names()) > 0 {
		t.Errorf("something is left of it: %t, %v, %v", has, err, r.Names())
	}
}
