package documents_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"heddle.dev/heddle/internal/link/documents"
)

const sixtyFour = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

func descriptor() *documents.Descriptor {
	return &documents.Descriptor{SiteID: "sitea", Networks: []documents.Network{{
		Name: "trade", NetworkID: "id-12345", Version: "3.1.5", Consensus: "Raft", Sites: []string{"sitec"},
		Organizations: []documents.Organization{{
			Name: "banka", MSPID: "BankAMSP", CACertificates: "PEM", TLSCACertificates: "PEM",
			Nodes: []documents.Node{
				{Name: "orderer0-banka", Port: 7050, Certificate: "PEM", TLSCertificate: "PEM"}, {Name: "peer0-banka", Port: 7051},
			},
		}},
		Channels: []documents.Channel{{Name: "demo", ChannelID: "demo.1", GenesisHash: sixtyFour, Consensus: "Raft", Timing: "lan"}},
	}}}
}

func proposal() *documents.Proposal {
	return &documents.Proposal{
		Network: "trade", NetworkID: "id-12345", ChannelID: "demo", Update: []byte("update"), BaseSequence: 3,
		ExpiresAt: time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC),
	}
}

func signature() *documents.Signature {
	return &documents.Signature{
		Network: "trade", NetworkID: "id-12345", ChannelID: "demo", Digest: sixtyFour, Decision: "Sign",
		Signatures: []documents.ConfigSignature{{MSPID: "BankBMSP", Header: []byte("h"), Signature: []byte("s")}},
	}
}

func encode(tb testing.TB, v any) []byte {
	tb.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		tb.Fatal(err)
	}
	return raw
}

func TestParseGivesWhatWasSent(t *testing.T) {
	d, err := documents.ParseDescriptor(encode(t, descriptor()))
	if diff := cmp.Diff(descriptor(), d); diff != "" || err != nil {
		t.Errorf("descriptor: %v\n%s", err, diff)
	}
	p, err := documents.ParseProposal(encode(t, proposal()))
	if diff := cmp.Diff(proposal(), p); diff != "" || err != nil {
		t.Errorf("proposal: %v\n%s", err, diff)
	}
	s, err := documents.ParseSignature(encode(t, signature()))
	if diff := cmp.Diff(signature(), s); diff != "" || err != nil {
		t.Errorf("signature: %v\n%s", err, diff)
	}
}

func TestDescriptorsThatAreRefused(t *testing.T) {
	for name, spoil := range map[string]func(d *documents.Descriptor){
		"site":          func(d *documents.Descriptor) { d.SiteID = "Site A" },
		"network twice": func(d *documents.Descriptor) { d.Networks = append(d.Networks, d.Networks[0]) },
		"network name":  func(d *documents.Descriptor) { d.Networks[0].Name = "../etc" },
		"network ID":    func(d *documents.Descriptor) { d.Networks[0].NetworkID = "short" },
		"version":       func(d *documents.Descriptor) { d.Networks[0].Version = "latest" },
		"consensus":     func(d *documents.Descriptor) { d.Networks[0].Consensus = "Kafka" },
		"sites":         func(d *documents.Descriptor) { d.Networks[0].Sites = make([]string, 17) },
		"organization":  func(d *documents.Descriptor) { d.Networks[0].Organizations[0].Name = "Bank" },
		"MSP ID":        func(d *documents.Descriptor) { d.Networks[0].Organizations[0].MSPID = "a/b" },
		"no roots":      func(d *documents.Descriptor) { d.Networks[0].Organizations[0].CACertificates = "" },
		"large bundle": func(d *documents.Descriptor) {
			d.Networks[0].Organizations[0].CACertificates = strings.Repeat("x", 65537)
		},
		"port":            func(d *documents.Descriptor) { d.Networks[0].Organizations[0].Nodes[1].Port = 7053 },
		"peer with key":   func(d *documents.Descriptor) { d.Networks[0].Organizations[0].Nodes[1].Certificate = "PEM" },
		"orderer without": func(d *documents.Descriptor) { d.Networks[0].Organizations[0].Nodes[0].TLSCertificate = "" },
		"genesis hash":    func(d *documents.Descriptor) { d.Networks[0].Channels[0].GenesisHash = "00" },
		"timing":          func(d *documents.Descriptor) { d.Networks[0].Channels[0].Timing = "moon" },
		"MSP ID twice": func(d *documents.Descriptor) {
			o := &d.Networks[0].Organizations
			*o = append(*o, (*o)[0])
			(*o)[1].Name = "other"
		},
		"too many":                func(d *documents.Descriptor) { d.Networks = make([]documents.Network, 33) },
		"larger than a ConfigMap": func(d *documents.Descriptor) { d.SiteID = strings.Repeat("a", 900<<10) },
	} {
		t.Run(name, func(t *testing.T) {
			d := descriptor()
			spoil(d)
			if _, err := documents.ParseDescriptor(encode(t, d)); err == nil {
				t.Error("accepted")
			}
		})
	}
}

func TestAnswersThatAreRefused(t *testing.T) {
	for name, spoil := range map[string]func(p *documents.Proposal, s *documents.Signature){
		"network":    func(p *documents.Proposal, s *documents.Signature) { p.Network, s.Network = "", "" },
		"network ID": func(p *documents.Proposal, s *documents.Signature) { p.NetworkID, s.NetworkID = "", "" },
		"channel":    func(p *documents.Proposal, s *documents.Signature) { p.ChannelID, s.ChannelID = "Ü", "Ü" },
		"content":    func(p *documents.Proposal, s *documents.Signature) { p.Update, s.Signatures = nil, nil },
		"size": func(p *documents.Proposal, s *documents.Signature) {
			p.Update, s.Signatures[0].Header = make([]byte, documents.MaxUpdate+1), make([]byte, 12<<10+1)
		},
		"time or digest": func(p *documents.Proposal, s *documents.Signature) { p.ExpiresAt, s.Digest = time.Time{}, "x" },
		"number or decision": func(p *documents.Proposal, s *documents.Signature) {
			p.BaseSequence, s.Decision = -1, "Maybe"
		},
	} {
		t.Run(name, func(t *testing.T) {
			p, s := proposal(), signature()
			spoil(p, s)
			if _, err := documents.ParseProposal(encode(t, p)); err == nil {
				t.Error("the proposal was accepted")
			}
			if _, err := documents.ParseSignature(encode(t, s)); err == nil {
				t.Error("the answer was accepted")
			}
		})
	}
	rejected := signature()
	rejected.Decision = "Reject"
	if _, err := documents.ParseSignature(encode(t, rejected)); err == nil {
		t.Error("a rejection with signatures was accepted")
	}
}

func TestStrictness(t *testing.T) {
	good := string(encode(t, signature()))
	for name, text := range map[string]string{
		"unknown field": strings.Replace(good, `{`, `{"admin":true,`, 1),
		"another after": good + good,
		"no JSON":       "digest",
		"empty":         "",
		"a list":        "[" + good + "]",
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := documents.ParseSignature([]byte(text)); err == nil {
				t.Error("accepted")
			}
		})
	}
}

func FuzzDescriptor(f *testing.F) {
	f.Add(encode(f, descriptor()))
	f.Fuzz(func(t *testing.T, raw []byte) { again(t, raw, documents.ParseDescriptor) })
}

func FuzzProposal(f *testing.F) {
	f.Add(encode(f, proposal()))
	f.Fuzz(func(t *testing.T, raw []byte) { again(t, raw, documents.ParseProposal) })
}

func FuzzSignature(f *testing.F) {
	f.Add(encode(f, signature()))
	f.Fuzz(func(t *testing.T, raw []byte) { again(t, raw, documents.ParseSignature) })
}

// again sends what was taken on: it has to be taken again, and to be the same.
func again[T any](t *testing.T, raw []byte, parse func([]byte) (*T, error)) {
	first, err := parse(raw)
	if err != nil {
		return
	}
	second, err := parse(encode(t, first))
	if err != nil {
		t.Fatalf("what was taken is refused when it is sent on: %v", err)
	}
	if diff := cmp.Diff(string(encode(t, first)), string(encode(t, second))); diff != "" {
		t.Error(diff)
	}
}
