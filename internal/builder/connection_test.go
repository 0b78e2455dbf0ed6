package builder

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// newPair returns a certificate and its key in PEM.
func newPair(t *testing.T) (certificate, key string) {
	t.Helper()
	signer, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, signer.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(signer)
	if err != nil {
		t.Fatal(err)
	}
	encode := func(kind string, der []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
	}
	return encode("CERTIFICATE", der), encode("PRIVATE KEY", keyDER)
}

func TestParseConnection(t *testing.T) {
	certificate, key := newPair(t)
	_, otherKey := newPair(t)
	type object map[string]any
	cases := map[string]struct {
		in   object
		want object // nil: refused
		says string // what a refusal names
	}{
		"address only":        {in: object{"address": "cc.net:9999"}, want: object{"address": "cc.net:9999", "tls_required": false}},
		"IPv6":                {in: object{"address": "[::1]:9999"}, want: object{"address": "[::1]:9999", "tls_required": false}},
		"time-out in words":   {in: object{"address": "cc:1", "dial_timeout": "1m30s"}, want: object{"address": "cc:1", "dial_timeout": "1m30s", "tls_required": false}},
		"time-out in numbers": {in: object{"address": "cc:1", "dial_timeout": 3000000000}, want: object{"address": "cc:1", "dial_timeout": "3s", "tls_required": false}},
		"time-out empty":      {in: object{"address": "cc:1", "dial_timeout": ""}, want: object{"address": "cc:1", "tls_required": false}},
		"time-out null":       {in: object{"address": "cc:1", "dial_timeout": nil}, want: object{"address": "cc:1", "tls_required": false}},
		"unused key is dropped": {
			in:   object{"address": "cc:1", "tls_required": false, "root_cert": certificate, "client_key": key, "client_cert": certificate, "domain": "cc"},
			want: object{"address": "cc:1", "tls_required": false},
		},
		"TLS": {
			in:   object{"address": "cc:1", "tls_required": true, "root_cert": certificate, "client_key": key},
			want: object{"address": "cc:1", "tls_required": true, "root_cert": certificate},
		},
		"mutual TLS": {
			in: object{
				"address": "cc:1", "tls_required": true, "root_cert": certificate, "domain": "cc.net",
				"client_auth_required": true, "client_cert": certificate, "client_key": key,
			},
			want: object{
				"address": "cc:1", "tls_required": true, "root_cert": certificate, "domain": "cc.net",
				"client_auth_required": true, "client_cert": certificate, "client_key": key,
			},
		},
		"no address": {in: object{}, says: `"address" is empty`},
		"the peer's own pair": {
			in:   object{"address": "cc:1", "tls_required": true, "root_cert": certificate, "client_auth_required": true},
			want: object{"address": "cc:1", "tls_required": true, "root_cert": certificate, "client_auth_required": true},
		},
		"the peer's name": {
			in:   object{"address": "{{.peername}}-asset.{{ .peername }}:9999"},
			want: object{"address": "peer0-org1-asset.peer0-org1:9999", "tls_required": false},
		},
		"the peer's name, trimmed": {
			in: object{"address": "{{- .peername -}}.net:9999"}, want: object{"address": "peer0-org1.net:9999", "tls_required": false},
		},
		"another template": {in: object{"address": "{{.peername}}.{{.org}}:9999"}, says: "only one"},
		"a function":       {in: object{"address": `{{printf "%s" .peername}}:9999`}, says: "only one"},
		"a long template":  {in: object{"address": strings.Repeat("{{.peername}}", 100) + ":9999"}, says: "letters"},
		"URL":              {in: object{"address": "grpc://cc:9999"}, says: "URL"},
		"no port":          {in: object{"address": "cc"}, says: "not host:port"},
		"no host":          {in: object{"address": ":9999"}, says: "no usable host"},
		"space in host":    {in: object{"address": "c c:9999"}, says: "no usable host"},
		"port zero":        {in: object{"address": "cc:0"}, says: "no port"},
		"port too large":   {in: object{"address": "cc:65536"}, says: "no port"},
		"port in words":    {in: object{"address": "cc:http"}, says: "no port"},
		"time-out nothing": {in: object{"address": "cc:1", "dial_timeout": "soon"}, says: `"soon"`},
		"time-out object":  {in: object{"address": "cc:1", "dial_timeout": object{}}, says: "dial_timeout"},
		"time-out zero":    {in: object{"address": "cc:1", "dial_timeout": "0s"}, says: "above zero"},
		"time-out an hour": {in: object{"address": "cc:1", "dial_timeout": "1h"}, says: "at most"},
		"unknown field":    {in: object{"address": "cc:1", "tls": true}, says: `"tls"`},
		"TLS as text":      {in: object{"address": "cc:1", "tls_required": "true"}, says: "tls_required"},
		"TLS without root": {in: object{"address": "cc:1", "tls_required": true}, says: "root_cert"},
		"root is no PEM":   {in: object{"address": "cc:1", "tls_required": true, "root_cert": "x"}, says: "PEM"},
		"client without TLS": {
			in: object{"address": "cc:1", "client_auth_required": true}, says: "tls_required",
		},
		"client without key": {
			in: object{"address": "cc:1", "tls_required": true, "root_cert": certificate, "client_auth_required": true, "client_cert": certificate}, says: "belong together",
		},
		"client with other key": {
			in: object{"address": "cc:1", "tls_required": true, "root_cert": certificate, "client_auth_required": true, "client_cert": certificate, "client_key": otherKey}, says: "do not fit",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			in, err := json.Marshal(tc.in)
			if err != nil {
				t.Fatal(err)
			}
			c, err := parseConnection(in, "peer0-org1")
			if tc.want == nil {
				if err == nil || !strings.Contains(err.Error(), tc.says) {
					t.Fatalf("got error %v, want one that says %q", err, tc.says)
				}
				for _, secret := range []string{key, otherKey} {
					if strings.Contains(err.Error(), strings.Split(secret, "\n")[1]) {
						t.Error("the error shows a private key")
					}
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			encoded, err := c.encode()
			if err != nil {
				t.Fatal(err)
			}
			var got object
			if err := json.Unmarshal(encoded, &got); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("connection (-want +got):\n%s", diff)
			}
		})
	}
	if _, err := parseConnection([]byte(`{"address":"{{.peername}}:1"}`), ""); err == nil || !strings.Contains(err.Error(), "not known") {
		t.Errorf("a name that is not known: %v", err)
	}
	if _, err := parseConnection([]byte(`{"address":"cc:1"} {}`), ""); err == nil {
		t.Error("two JSON values were accepted")
	}
}

// FuzzParseConnection checks that what is accepted is accepted again once written,
// and comes out the same: the peer reads the written form.
func FuzzParseConnection(f *testing.F) {
	f.Add([]byte(`{"address":"cc.net:9999","dial_timeout":"10s","tls_required":false}`))
	f.Add([]byte(`{"address":"[::1]:9999","dial_timeout":3000000000}`))
	f.Add([]byte(`{"address":"cc:1","tls_required":true,"root_cert":"-----BEGIN CERTIFICATE-----"}`))
	f.Add([]byte(`{"address":"{{.peername}}:1"}`))
	f.Fuzz(func(t *testing.T, in []byte) {
		c, err := parseConnection(in, "peer0-org1")
		if err != nil {
			return
		}
		first, err := c.encode()
		if err != nil {
			t.Fatal(err)
		}
		again, err := parseConnection(first, "")
		if err != nil {
			t.Fatalf("own output %s is refused: %v", first, err)
		}
		second, err := again.encode()
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(first), string(second)); diff != "" {
			t.Errorf("second round differs:\n%s", diff)
		}
		if c.TLSRequired && c.RootCert == "" {
			t.Error("TLS without a root was accepted")
		}
	})
}
