package e2e

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"heddle.dev/heddle/internal/pki"
)

// keysAtHome: no private key, password or token of one site stands in the other's etcd, where whatever came over the link
// is kept too, as it is or in base64. Each is found in its own site's, and what is public in the other's: so the search finds.
func (o *overSites) keysAtHome(ctx context.Context, t *testing.T) {
	stores := map[*linkedSite]*stored{}
	for _, s := range o.sites() {
		stores[s] = s.readStore(t)
	}
	for _, s := range o.sites() {
		home, abroad := stores[s], stores[o.other(s)]
		secrets := s.secrets(ctx, t)
		progress("%s: %d secrets are looked for in %d MB of the other site's etcd", s.id, len(secrets), abroad.size()>>20)
		if len(secrets) < 10 {
			t.Errorf("%s has %d secrets: too few to show anything", s.id, len(secrets))
		}
		for name, value := range secrets {
			if !home.hasAny(value[:1]) {
				t.Errorf("%s of %s is not found in its own etcd: the search finds nothing", name, s.id)
			}
			if abroad.hasAny(inBase64(value)) {
				t.Errorf("%s of %s stands in the etcd of %s", name, s.id, o.other(s).id)
			}
		}
		if roots, err := s.TLSRoots(ctx, tradeNetwork, map[string]string{"BankAMSP": "banka", "BankBMSP": "bankb"}[o.mspID(s)]); err != nil || !abroad.hasAny(linesOf(roots)) {
			t.Errorf("the certificates of %s, which are public, are not found at %s (%v): the search finds nothing", s.id, o.other(s).id, err)
		}
	}
}

// stored are the files of a site's etcd: its database and its log, with all versions of an object that are still there.
type stored struct{ files [][]byte }

func (s *linkedSite) readStore(t *testing.T) *stored {
	t.Helper()
	out := &stored{}
	folder := filepath.Join(s.Lab.Dir(), s.Site.Name(), "etcd")
	err := filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		content, err := os.ReadFile(path)
		out.files = append(out.files, bytes.TrimRight(content, "\x00")) // a log is made as long as it may get
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func (s *stored) size() int {
	n := 0
	for _, f := range s.files {
		n += len(f)
	}
	return n
}

func (s *stored) hasAny(needles [][]byte) bool {
	for _, f := range s.files {
		for _, n := range needles {
			if bytes.Contains(f, n) {
				return true
			}
		}
	}
	return false
}

// secrets are the parts of all that a site's Secrets hold and that is not public, by where it stands. Any part gives
// the secret away; the first is as the Secret has it.
func (s *linkedSite) secrets(ctx context.Context, t *testing.T) map[string][][]byte {
	t.Helper()
	var list corev1.SecretList
	if err := s.List(ctx, &list); err != nil {
		t.Fatal(err)
	}
	out := map[string][][]byte{}
	for i := range list.Items {
		for key, value := range list.Items[i].Data {
			if parts := secretParts(key, bytes.TrimSpace(value)); parts != nil {
				out[list.Items[i].Namespace+"/"+list.Items[i].Name+":"+key] = parts
			}
		}
	}
	return out
}

// secretParts: a PEM text is told by its lines, of which those with the public key do not count, and by the number that is the key.
func secretParts(key string, value []byte) [][]byte {
	block, _ := pem.Decode(value)
	switch {
	case block == nil && (key == "username" || len(value) < 12): // no secret, or too short to be told from chance
		return nil
	case block == nil:
		return [][]byte{value}
	case block.Type == "CERTIFICATE":
		return nil
	}
	parts := append([][]byte{value}, linesOf(value)[:2]...)
	if key, err := x509.ParsePKCS8PrivateKey(block.Bytes); err == nil {
		if key, ok := key.(*ecdsa.PrivateKey); ok {
			if number, err := key.Bytes(); err == nil {
				parts = append(parts, number)
			}
		}
	}
	return parts
}

// linesOf are the full lines of a PEM text's body.
func linesOf(text []byte) [][]byte {
	var out [][]byte
	for line := range bytes.Lines(text) {
		if line = bytes.TrimSpace(line); len(line) == 64 {
			out = append(out, line)
		}
	}
	return out
}

// inBase64 adds what the parts look like within something that is encoded as base64, wherever they begin in it.
func inBase64(parts [][]byte) [][]byte {
	out := slices.Clone(parts)
	for _, p := range parts {
		for shift := range 3 {
			encoded := base64.StdEncoding.EncodeToString(append(make([]byte, shift), p...))
			// Neighbours have a share in the first and in the last letters.
			out = append(out, []byte(encoded[4:len(encoded)-4]))
		}
	}
	return out
}

// TestSecretParts: a key is found however it is written, and is not taken for its certificate.
func TestSecretParts(t *testing.T) {
	signer, err := pki.NewKey()
	must(t, err)
	issuer, err := pki.NewRoot(pki.IssuerRequest{CommonName: "test", Key: signer, Lifetime: time.Hour, Now: time.Now()})
	must(t, err)
	cert := pki.EncodeCerts(issuer.Cert)
	key, err := pki.EncodeKey(signer)
	must(t, err)
	parts := secretParts("tls.key", key)
	if len(parts) != 4 || secretParts("tls.crt", cert) != nil || secretParts("username", []byte("administrator-of-x")) != nil {
		t.Fatalf("%d parts of a key", len(parts))
	}
	block, _ := pem.Decode(key)
	for name, text := range map[string][]byte{
		"as it is": key, "DER": block.Bytes, "in JSON": bytes.ReplaceAll(key, []byte("\n"), []byte(`\n`)),
		"base64":         []byte(base64.StdEncoding.EncodeToString(append([]byte("x"), key...))),
		"base64 of JSON": []byte(base64.StdEncoding.EncodeToString(append([]byte(`{"k":"`), bytes.ReplaceAll(key, []byte("\n"), []byte(`\n`))...))),
		"base64 of DER":  []byte(base64.StdEncoding.EncodeToString(append([]byte("ab"), block.Bytes...))),
	} {
		if !(&stored{files: [][]byte{nil, append([]byte("before "), text...)}}).hasAny(inBase64(parts)) {
			t.Errorf("a key is not found %s", name)
		}
	}
	if (&stored{files: [][]byte{cert}}).hasAny(inBase64(parts)) {
		t.Error("a certificate is taken for its key")
	}
}
