package admission_test

import (
	"testing"
	"time"

	cb "github.com/hyperledger/fabric-protos-go-apiv2/common"
	"google.golang.org/protobuf/proto"

	"heddle.dev/heddle/fabsim/internal/channel"
	"heddle.dev/heddle/fabsim/internal/orderer/admission"
	"heddle.dev/heddle/fabsim/internal/simtest"
)

// FuzzEnvelope gives the gate whatever a client may broadcast: nothing that
// was not signed by a member gets through.
func FuzzEnvelope(f *testing.F) {
	ord, banka := simtest.NewOrg(f, "ord"), simtest.NewOrg(f, "banka")
	spec := simtest.Channel{ID: "trade", Orderers: ord, Members: []*simtest.Org{banka}, Endpoints: []string{"127.0.0.1:1"}}
	config, err := channel.FromBlock(spec.Genesis(f))
	if err != nil {
		f.Fatal(err)
	}
	gate := &admission.Gate{Identity: ord.Signer(f, "orderer", 0), Now: time.Now}
	stranger := simtest.NewOrg(f, "banka")
	f.Add(simtest.Marshal(f, simtest.Transaction(f, stranger.Signer(f, "client", 0), "trade", []byte("x"))))
	f.Add(simtest.Marshal(f, simtest.Update(f, "trade", config.Proto(), func(g *cb.ConfigGroup) { g.ModPolicy = "/Channel/Admins" }, stranger.Signer(f, "admin", 0))))
	f.Add([]byte{0x0a, 0x00})
	f.Fuzz(func(t *testing.T, raw []byte) {
		envelope := &cb.Envelope{}
		if proto.Unmarshal(raw, envelope) != nil {
			return
		}
		if gate.Normal(config, envelope) == nil {
			t.Error("it was admitted")
		}
		if _, err := gate.Update(config, envelope, func(*channel.Config) error { return nil }); err == nil {
			t.Error("it was admitted as an update")
		}
	})
}
