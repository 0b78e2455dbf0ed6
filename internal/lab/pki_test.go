package lab

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"testing"

	"k8s.io/client-go/tools/clientcmd"
)

func pkiPlan(t *testing.T) (*Plan, *SitePlan) {
	t.Helper()
	p, err := newPlan("test", t.TempDir(), 1, []int{2})
	if err != nil {
		t.Fatal(err)
	}
	s := &p.Sites[0]
	if err := writePKI(s); err != nil {
		t.Fatal(err)
	}
	return p, s
}

func loadCert(t *testing.T, file string) *x509.Certificate {
	t.Helper()
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(raw)
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

func TestPKI(t *testing.T) {
	_, s := pkiPlan(t)
	roots := x509.NewCertPool()
	roots.AddCert(loadCert(t, s.pki("ca.crt")))
	for file, names := range map[string][]string{
		"apiserver":               {"127.0.0.1", "localhost", "10.200.1.11", "10.103.0.1", "kubernetes.default.svc"},
		"kubelet-server-site1-n2": {"10.200.1.12", "site1-n2"},
		"etcd":                    {"127.0.0.1"},
	} {
		cert := loadCert(t, s.pki(file+".crt"))
		for _, name := range names {
			if _, err := cert.Verify(x509.VerifyOptions{Roots: roots, DNSName: name}); err != nil {
				t.Errorf("%s for %s: %v", file, name, err)
			}
		}
		if _, err := tls.LoadX509KeyPair(s.pki(file+".crt"), s.pki(file+".key")); err != nil {
			t.Errorf("%s: %v", file, err)
		}
	}
	kubelet := loadCert(t, s.pki("kubelet-site1-n2.crt")).Subject
	if kubelet.CommonName != "system:node:site1-n2" || kubelet.Organization[0] != "system:nodes" {
		t.Errorf("kubelet's name is %s", kubelet)
	}
	front := loadCert(t, s.pki("front-proxy-client.crt"))
	if _, err := front.Verify(x509.VerifyOptions{Roots: roots}); err == nil {
		t.Error("the front proxy's certificate is accepted as a user's")
	}
}

func TestPKIIsKept(t *testing.T) {
	_, s := pkiPlan(t)
	before, err := os.ReadFile(s.pki("ca.crt"))
	if err != nil {
		t.Fatal(err)
	}
	if err := writePKI(s); err != nil {
		t.Fatal(err)
	}
	after, err := os.ReadFile(s.pki("ca.crt"))
	if err != nil {
		t.Fatal(err)
	}
	if string(before) != string(after) {
		t.Error("the second call made a new authority")
	}
}

func TestSecretsAreTheOwners(t *testing.T) {
	p, s := pkiPlan(t)
	if err := writeUserKubeconfig(p, s, 12345); err != nil {
		t.Fatal(err)
	}
	keys, err := filepath.Glob(s.pki("*.key"))
	if err != nil {
		t.Fatal(err)
	}
	configs, err := filepath.Glob(s.pki("*.kubeconfig"))
	if err != nil {
		t.Fatal(err)
	}
	files := append(append(keys, configs...), s.kubeconfig())
	if len(files) < 15 {
		t.Fatalf("only %d files", len(files))
	}
	for _, f := range files {
		st, err := os.Stat(f)
		if err != nil {
			t.Fatal(err)
		}
		if st.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %o", filepath.Base(f), st.Mode().Perm())
		}
	}
	config, err := clientcmd.BuildConfigFromFlags("", s.kubeconfig())
	if err != nil {
		t.Fatal(err)
	}
	if config.Host != "https://127.0.0.1:12345" {
		t.Errorf("kubeconfig's server is %s", config.Host)
	}
}
