package samples

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"heddle.dev/heddle/internal/fabric/gateway"
	"heddle.dev/heddle/internal/fabric/identity"
	"heddle.dev/heddle/internal/pki"
	"heddle.dev/heddle/test/bare"
)

// user is a client of the first or second organization.
type user struct {
	mspID   string
	gateway *gateway.Gateway
	// folder is the identity's, as "heddle identity enroll" writes it.
	folder string
}

// enrol makes alice, who mints tokens, and bob.
func enrol(t *testing.T, n *bare.Network) []user {
	t.Helper()
	return []user{
		newUser(t, n.Peers[0], "alice", map[string]string{"token.minter": "true"}),
		newUser(t, n.Peers[1], "bob", nil),
	}
}

func newUser(t *testing.T, p *bare.Peer, name string, attributes map[string]string) user {
	t.Helper()
	key, err := pki.NewKey()
	ok(t, err)
	cert, err := p.Org.Ops.Enrol(pki.EnrolRequest{
		CommonName: name, Role: pki.RoleClient, Public: key.Public(), Attributes: attributes, Lifetime: time.Hour, Now: time.Now(),
	})
	ok(t, err)
	certText := pki.EncodeCerts(cert)
	id, err := identity.New(p.Org.MSPID, certText, key)
	ok(t, err)
	conn, err := p.Conn()
	ok(t, err)
	gw, err := gateway.New(conn, id)
	ok(t, err)
	t.Cleanup(func() { _ = gw.Close() })
	keyText, err := pki.EncodeKey(key)
	ok(t, err)
	dir := t.TempDir()
	for file, content := range map[string][]byte{
		"cert.pem": certText, "key.pem": keyText, "mspID": []byte(p.Org.MSPID), "connection-profile.json": profile(t, p),
	} {
		ok(t, os.WriteFile(filepath.Join(dir, file), content, 0o600))
	}
	return user{mspID: p.Org.MSPID, gateway: gw, folder: dir}
}

// profile is a connection profile as the operator writes it.
func profile(t *testing.T, p *bare.Peer) []byte {
	t.Helper()
	raw, err := json.Marshal(map[string]any{
		"organizations": map[string]any{p.Org.Name: map[string]any{"mspid": p.Org.MSPID, "peers": []string{p.Name}}},
		"peers": map[string]any{p.Name: map[string]any{
			"url": "grpcs://" + p.Address, "tlsCACerts": map[string]any{"pem": string(p.Org.TLSRoots())},
			"grpcOptions": map[string]any{"ssl-target-name-override": "localhost"},
		}},
	})
	ok(t, err)
	return raw
}
