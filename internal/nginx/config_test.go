package nginx

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"flag"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write golden files")

func cases() map[string]interface{ Render() (string, error) } {
	dns := []string{"10.96.0.10"}
	return map[string]interface{ Render() (string, error) }{
		"gateway": Gateway{Resolvers: dns, Routes: []Route{
			{"trade.bankb.banka", "link-bankb.trade.svc.cluster.local:8444"}, {"join.banka", "heddle-site.heddle-system.svc.cluster.local:8445"},
		}},
		"gateway-alone": Gateway{Resolvers: dns, MaxConnections: 7},
		"link": Link{
			Resolvers: append(dns, "10.96.0.11"), Partner: "gateway.bankb.example:443", Name: "trade.banka.bankb",
			Exports: []Route{
				{"peer0-banka.trade", "peer0-banka.trade.svc.cluster.local:7051"}, {"orderer0-banka.trade", "orderer0-banka.trade.svc.cluster.local:7050"},
			},
		},
		"link-with-fallbacks": Link{
			Resolvers: dns, Partner: "192.0.2.7:443", Name: "trade.banka.bankb", Fallbacks: []string{"192.0.2.8:30443", "[2001:db8::7]:443"},
		},
		"link-with-names": Link{
			Resolvers: dns, Partner: "gw1.bankb.example:443", Name: "trade.banka.bankb", Fallbacks: []string{"192.0.2.8:30443", "gw2.bankb.example:8443"},
		},
		"link-without-imports": Link{Resolvers: dns, Exports: []Route{{"peer0-banka.trade", "10.96.3.4:7051"}}, MaxConnections: 9},
	}
}

func TestRender(t *testing.T) {
	for name, c := range cases() {
		t.Run(name, func(t *testing.T) {
			got, err := c.Render()
			if err != nil {
				t.Fatal(err)
			}
			path := filepath.Join("testdata", name+".conf")
			if *update {
				if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("run with -update after a look at this (-want +got):\n%s", diff)
			}
		})
	}
}

// TestAccepted: nginx itself takes what is rendered.
func TestAccepted(t *testing.T) {
	program, err := exec.LookPath("nginx")
	if err != nil {
		if program, err = exec.LookPath("/usr/sbin/nginx"); err != nil {
			t.Skip("nginx is not there: apt-get install nginx-light libnginx-mod-stream")
		}
	}
	keys := writeKeys(t)
	for name, c := range cases() {
		t.Run(name, func(t *testing.T) {
			text, err := c.Render()
			if err != nil {
				t.Fatal(err)
			}
			dir := t.TempDir()
			text = strings.ReplaceAll(text, KeyFolder, keys)
			text = strings.ReplaceAll(text, "/tmp/nginx.pid", filepath.Join(dir, "nginx.pid"))
			file := filepath.Join(dir, ConfigFile)
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			out, err := exec.CommandContext(t.Context(), program, "-t", "-e", "stderr", "-c", file).CombinedOutput()
			if err != nil || strings.Contains(string(out), "[warn]") {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

func writeKeys(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	crt := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, DNSNames: []string{"trade.banka.bankb"}}
	der, err := x509.CreateCertificate(rand.Reader, crt, crt, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	public := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	for name, text := range map[string][]byte{
		"tls.crt": public, "partner-ca.crt": public, "tls.key": pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestRefused(t *testing.T) {
	dns := []string{"10.96.0.10"}
	route := func(sni, to string) Gateway { return Gateway{Resolvers: dns, Routes: []Route{{sni, to}}} }
	for name, c := range map[string]struct {
		in   interface{ Render() (string, error) }
		want string
	}{
		"no DNS":              {Gateway{}, "no address of a DNS server"},
		"DNS by name":         {Gateway{Resolvers: []string{"kube-dns"}}, "DNS server"},
		"no name":             {route("", "a:1"), "is no name"},
		"a directive":         {route("a; } x {", "a:1"), "is no name"},
		"a wildcard":          {route("*.a", "a:1"), "is no name"},
		"a regular one":       {route("~a", "a:1"), "is no name"},
		"a capital":           {route("A", "a:1"), "is no name"},
		"a long name":         {route(strings.Repeat("a", 254), "a:1"), "is no name"},
		"no port":             {route("a", "a"), "has no port"},
		"port 0":              {route("a", "a:0"), "between 1 and 65535"},
		"a large port":        {route("a", "a:65536"), "between 1 and 65535"},
		"no host":             {route("a", ":1"), "no usable host"},
		"a variable":          {route("a", "$host:1"), "no usable host"},
		"a socket":            {route("a", "unix:/a:1"), "no usable host"},
		"no IPv6":             {route("a", "[::1%eth0]:1"), "none of IPv6"},
		"the same name":       {Gateway{Resolvers: dns, Routes: []Route{{"a", "b:1"}, {"a", "c:1"}}}, "leads to two addresses"},
		"an export":           {Link{Resolvers: dns, Exports: []Route{{"a", "b"}}}, "has no port"},
		"partner, no name":    {Link{Resolvers: dns, Partner: "a:1"}, "is no name"},
		"name, no partner":    {Link{Resolvers: dns, Name: "a"}, "has no port"},
		"link without DNS":    {Link{}, "no address of a DNS server"},
		"a fallback, no port": {Link{Resolvers: dns, Partner: "192.0.2.7:1", Name: "a", Fallbacks: []string{"b.example"}}, "has no port"},
		"a fallback's trick":  {Link{Resolvers: dns, Partner: "a:1", Name: "a", Fallbacks: []string{"b;}:1"}}, "no usable host"},
		"many fallbacks":      {Link{Resolvers: dns, Partner: "a:1", Name: "a", Fallbacks: []string{"b:1", "c:1", "d:1", "e:1"}}, "5 addresses"},
		"partner in quotes":   {Link{Resolvers: dns, Partner: `"a":1`, Name: "a"}, "no usable host"},
	} {
		t.Run(name, func(t *testing.T) {
			if got, err := c.in.Render(); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %q, %v, want %q", got, err, c.want)
			}
		})
	}
	if _, err := route("a.b", "[2001:db8::1]:443").Render(); err != nil {
		t.Errorf("an address of IPv6: %v", err)
	}
}
