package admission_test

import (
	"errors"
	"testing"
	"time"

	cb "github.com/hyperledger/fabric-protos-go-apiv2/common"
	ab "github.com/hyperledger/fabric-protos-go-apiv2/orderer"
	"github.com/hyperledger/fabric-x-common/common/channelconfig"

	"heddle.dev/heddle/fabsim/internal/channel"
	"heddle.dev/heddle/fabsim/internal/orderer/admission"
	"heddle.dev/heddle/fabsim/internal/simtest"
)

type world struct {
	ord, banka *simtest.Org
	config     *channel.Config
	gate       *admission.Gate
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{ord: simtest.NewOrg(t, "ord"), banka: simtest.NewOrg(t, "banka")}
	spec := simtest.Channel{ID: "trade", Orderers: w.ord, Members: []*simtest.Org{w.banka}, Endpoints: []string{"127.0.0.1:1"}}
	config, err := channel.FromBlock(spec.Genesis(t))
	if err != nil {
		t.Fatal(err)
	}
	w.config = config
	w.gate = &admission.Gate{Identity: w.ord.Signer(t, "orderer", 0), Now: time.Now}
	return w
}

func TestNormal(t *testing.T) {
	w := newWorld(t)
	client := w.banka.Signer(t, "client", 0)
	stranger := simtest.NewOrg(t, "banka").Signer(t, "client", 0)
	ended := w.banka.Signer(t, "client", time.Minute)
	w.gate.Now = func() time.Time { return time.Now().Add(2 * time.Minute) }
	for name, test := range map[string]struct {
		message *cb.Envelope
		want    cb.Status
	}{
		"a member's":         {simtest.Transaction(t, client, "trade", []byte("x")), cb.Status_SUCCESS},
		"a stranger's":       {simtest.Transaction(t, stranger, "trade", []byte("x")), cb.Status_FORBIDDEN},
		"one that has ended": {simtest.Transaction(t, ended, "trade", []byte("x")), cb.Status_BAD_REQUEST},
		"too large":          {simtest.Transaction(t, client, "trade", make([]byte, 1<<20)), cb.Status_BAD_REQUEST},
		"empty":              {&cb.Envelope{}, cb.Status_BAD_REQUEST},
		"without a header":   {&cb.Envelope{Payload: []byte{0x12, 0x00}}, cb.Status_BAD_REQUEST},
		"no payload at all":  {&cb.Envelope{Payload: []byte("x")}, cb.Status_BAD_REQUEST},
	} {
		t.Run(name, func(t *testing.T) {
			err := w.gate.Normal(w.config, test.message)
			if got := admission.Status(err); got != test.want {
				t.Errorf("got %s: %v", got, err)
			}
		})
	}
	t.Run("one that has ended, unchecked", func(t *testing.T) {
		w.gate.SkipExpiry = true
		if err := w.gate.Normal(w.config, simtest.Transaction(t, ended, "trade", []byte("x"))); err != nil {
			t.Error(err)
		}
	})
}

func batch(t *testing.T, n uint32) func(*cb.ConfigGroup) {
	return func(g *cb.ConfigGroup) {
		simtest.SetValue(t, g.Groups["Orderer"], channelconfig.BatchSizeKey, channelconfig.BatchSizeValue(n, 1<<20, 1<<19).Value())
	}
}

func consensusType(t *testing.T, kind string, state ab.ConsensusType_State) func(*cb.ConfigGroup) {
	return func(g *cb.ConfigGroup) {
		simtest.SetValue(t, g.Groups["Orderer"], channelconfig.ConsensusTypeKey, &ab.ConsensusType{Type: kind, State: state})
	}
}

func TestUpdate(t *testing.T) {
	w := newWorld(t)
	admin := w.ord.Signer(t, "admin", 0)
	refuse := errors.New("the consensus does not like it")
	for name, test := range map[string]struct {
		change func(*cb.ConfigGroup)
		check  error
		want   cb.Status
	}{
		"of the batch":               {batch(t, 7), nil, cb.Status_SUCCESS},
		"without sense":              {batch(t, 0), nil, cb.Status_BAD_REQUEST},
		"that the consensus refuses": {batch(t, 11), refuse, cb.Status_BAD_REQUEST},
		"to BFT":                     {consensusType(t, "BFT", ab.ConsensusType_STATE_NORMAL), nil, cb.Status_BAD_REQUEST},
		"to maintenance":             {consensusType(t, "etcdraft", ab.ConsensusType_STATE_MAINTENANCE), nil, cb.Status_BAD_REQUEST},
	} {
		t.Run(name, func(t *testing.T) {
			update := simtest.Update(t, "trade", w.config.Proto(), test.change, admin)
			transaction, err := w.gate.Update(w.config, update, func(*channel.Config) error { return test.check })
			if got := admission.Status(err); got != test.want {
				t.Fatalf("got %s: %v", got, err)
			}
			if err != nil {
				return
			}
			header, proposed, err := channel.ParseConfig(transaction)
			if err != nil || header.GetChannelId() != "trade" || proposed.GetConfig().GetSequence() != 1 {
				t.Errorf("transaction %v: %v", header, err)
			}
		})
	}
	t.Run("by a stranger", func(t *testing.T) {
		update := simtest.Update(t, "trade", w.config.Proto(), batch(t, 7), simtest.NewOrg(t, "ord").Signer(t, "admin", 0))
		_, err := w.gate.Update(w.config, update, func(*channel.Config) error { return nil })
		if got := admission.Status(err); got != cb.Status_FORBIDDEN {
			t.Errorf("got %s: %v", got, err)
		}
	})
	t.Run("by an orderer that is no member", func(t *testing.T) {
		gate := &admission.Gate{Identity: simtest.NewOrg(t, "ord").Signer(t, "orderer", 0), Now: time.Now}
		_, err := gate.Update(w.config, simtest.Update(t, "trade", w.config.Proto(), batch(t, 7), admin), func(*channel.Config) error { return nil })
		if err == nil {
			t.Error("its transaction was let through")
		}
	})
}
