package identity

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/asn1"
	"errors"
	"io"
	"math/big"
	"testing"
	"time"

	cb "github.com/hyperledger/fabric-protos-go-apiv2/common"
	mspproto "github.com/hyperledger/fabric-protos-go-apiv2/msp"
	"google.golang.org/protobuf/proto"

	"heddle.dev/heddle/internal/pki"
)

func newIdentity(t *testing.T) (*Identity, *ecdsa.PublicKey) {
	t.Helper()
	key, err := pki.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	root, err := pki.NewRoot(pki.IssuerRequest{CommonName: "a", Key: key, Lifetime: time.Hour, Now: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	id, err := New("BankaMSP", pki.EncodeCerts(root.Cert, root.Cert), key)
	if err != nil {
		t.Fatal(err)
	}
	return id, key.Public().(*ecdsa.PublicKey)
}

// TestSign signs often enough that a high S would turn up.
func TestSign(t *testing.T) {
	id, public := newIdentity(t)
	half := new(big.Int).Rsh(elliptic.P256().Params().N, 1)
	digest := sha256.Sum256([]byte("message"))
	for range 64 {
		signature, err := id.Sign([]byte("message"))
		if err != nil {
			t.Fatal(err)
		}
		if !ecdsa.VerifyASN1(public, digest[:], signature) {
			t.Fatal("the signature does not verify")
		}
		var pair struct{ R, S *big.Int }
		if _, err := asn1.Unmarshal(signature, &pair); err != nil {
			t.Fatal(err)
		}
		if pair.S.Cmp(half) > 0 {
			t.Fatal("S is high")
		}
	}
}

func TestEnvelope(t *testing.T) {
	id, public := newIdentity(t)
	envelope, err := id.Envelope(&cb.ChannelHeader{ChannelId: "trade"}, &cb.Block{})
	if err != nil {
		t.Fatal(err)
	}
	digest := sha256.Sum256(envelope.GetPayload())
	if !ecdsa.VerifyASN1(public, digest[:], envelope.GetSignature()) {
		t.Error("the signature does not verify")
	}
	var payload cb.Payload
	var header cb.SignatureHeader
	var creator mspproto.SerializedIdentity
	for _, step := range []struct {
		raw  func() []byte
		into proto.Message
	}{
		{envelope.GetPayload, &payload},
		{func() []byte { return payload.GetHeader().GetSignatureHeader() }, &header},
		{header.GetCreator, &creator},
	} {
		if err := proto.Unmarshal(step.raw(), step.into); err != nil {
			t.Fatal(err)
		}
	}
	if creator.GetMspid() != "BankaMSP" || string(creator.GetIdBytes()) != string(id.Credentials()) || len(header.GetNonce()) != 24 {
		t.Errorf("creator %q, nonce of %d", creator.GetMspid(), len(header.GetNonce()))
	}
	if certs, err := pki.ParseCerts(id.Credentials()); err != nil || len(certs) != 1 {
		t.Errorf("%d certificates, %v", len(certs), err)
	}
}

func TestNewRefuses(t *testing.T) {
	id, _ := newIdentity(t)
	other, err := pki.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		mspID string
		cert  []byte
		key   crypto.Signer
	}{
		"a foreign key":  {"BankaMSP", id.Credentials(), other},
		"no MSP id":      {"", id.Credentials(), id.key},
		"no certificate": {"BankaMSP", nil, id.key},
		"no key":         {"BankaMSP", id.Credentials(), nil},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := New(test.mspID, test.cert, test.key); err == nil {
				t.Error("accepted")
			}
		})
	}
}

// brokenSigner stands for a HSM that fails or answers nonsense.
type brokenSigner struct {
	crypto.Signer
	answer []byte
	err    error
}

func (b brokenSigner) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) {
	return b.answer, b.err
}

func TestBrokenSigner(t *testing.T) {
	good, _ := newIdentity(t)
	lost := errors.New("lost the HSM")
	for name, signer := range map[string]brokenSigner{"an error": {good.key, nil, lost}, "nonsense": {good.key, []byte("x"), nil}} {
		t.Run(name, func(t *testing.T) {
			id, err := New("BankaMSP", good.Credentials(), signer)
			if err != nil {
				t.Fatal(err)
			}
			_, err = id.Envelope(&cb.ChannelHeader{}, &cb.Block{})
			if err == nil || signer.err != nil && !errors.Is(err, lost) {
				t.Errorf("got %v", err)
			}
		})
	}
}
