package lab

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

const mastersGroup = "system:masters"

// authority signs the certificates of one site.
type authority struct {
	cert *x509.Certificate
	key  crypto.Signer
	pem  []byte
}

// leaf says what a certificate is for; every leaf may be a client and a server.
type leaf struct {
	file, cn string
	org      string
	ips      []netip.Addr
	dns      []string
}

// writePKI makes the keys, certificates and kubeconfigs of a site. The folder
// appears complete or not at all, and an existing one is kept.
func writePKI(s *SitePlan) error {
	final := filepath.Join(s.Dir, "pki")
	if _, err := os.Stat(final); err == nil {
		return nil
	}
	tmp := final + ".new"
	if err := os.RemoveAll(tmp); err != nil {
		return fmt.Errorf("clear folder %q: %w", tmp, err)
	}
	if err := os.MkdirAll(tmp, 0o700); err != nil {
		return fmt.Errorf("make folder %q: %w", tmp, err)
	}
	if err := fillPKI(tmp, s); err != nil {
		return fmt.Errorf("make certificates of %q: %w", s.Name, err)
	}
	return os.Rename(tmp, final)
}

func fillPKI(dir string, s *SitePlan) error {
	ca, err := newAuthority(dir, "ca", "kubernetes-ca")
	if err != nil {
		return err
	}
	front, err := newAuthority(dir, "front-proxy-ca", "front-proxy-ca")
	if err != nil {
		return err
	}
	if _, _, err := front.issue(dir, leaf{file: "front-proxy-client", cn: "front-proxy-client"}); err != nil {
		return err
	}
	for _, l := range servers(s) {
		if _, _, err := ca.issue(dir, l); err != nil {
			return err
		}
	}
	for _, l := range users(s) {
		cert, key, err := ca.issue(dir, l)
		if err != nil {
			return err
		}
		if err := writeKubeconfig(filepath.Join(dir, l.file+".kubeconfig"), s.Name, s.apiURL(), ca.pem, cert, key); err != nil {
			return err
		}
	}
	return writeAccountKeys(dir)
}

func servers(s *SitePlan) []leaf {
	local, api := addr4(127, 0, 0, 1), s.Nodes[0].addr()
	out := []leaf{
		{file: "etcd", cn: "etcd", ips: []netip.Addr{local, api}, dns: []string{"localhost"}},
		{file: "apiserver", cn: "kube-apiserver", ips: []netip.Addr{local, api, s.apiService()}, dns: []string{
			"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local",
		}},
		{file: "apiserver-kubelet-client", cn: "kube-apiserver-kubelet-client", org: mastersGroup},
	}
	for _, n := range s.Nodes {
		out = append(out, leaf{file: "kubelet-server-" + n.Name, cn: n.Name, ips: []netip.Addr{local, n.addr()}, dns: []string{n.Name}})
	}
	return out
}

func users(s *SitePlan) []leaf {
	out := []leaf{
		{file: "admin", cn: "kubernetes-admin", org: mastersGroup},
		{file: "kube-controller-manager", cn: "system:kube-controller-manager"},
		{file: "kube-scheduler", cn: "system:kube-scheduler"},
		{file: "kube-proxy", cn: "system:kube-proxy"},
	}
	for _, n := range s.Nodes {
		out = append(out, leaf{file: "kubelet-" + n.Name, cn: "system:node:" + n.Name, org: "system:nodes"})
	}
	return out
}

func newAuthority(dir, file, cn string) (*authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	t, err := template(cn, "")
	if err != nil {
		return nil, err
	}
	t.IsCA, t.BasicConstraintsValid = true, true
	t.KeyUsage |= x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	der, err := x509.CreateCertificate(rand.Reader, t, t, key.Public(), key)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	pemCert, _, err := writePair(dir, file, der, key)
	return &authority{cert: cert, key: key, pem: pemCert}, err
}

func (a *authority) issue(dir string, l leaf) (certPEM, keyPEM []byte, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	t, err := template(l.cn, l.org)
	if err != nil {
		return nil, nil, err
	}
	t.DNSNames = l.dns
	t.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}
	for _, ip := range l.ips {
		t.IPAddresses = append(t.IPAddresses, net.IP(ip.AsSlice()))
	}
	der, err := x509.CreateCertificate(rand.Reader, t, a.cert, key.Public(), a.key)
	if err != nil {
		return nil, nil, err
	}
	return writePair(dir, l.file, der, key)
}

func template(cn, org string) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, err
	}
	t := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: cn},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(365 * 24 * time.Hour),
		KeyUsage:     x509.KeyUsageDigitalSignature,
	}
	if org != "" {
		t.Subject.Organization = []string{org}
	}
	return t, nil
}

func writePair(dir, file string, der []byte, key crypto.Signer) (certPEM, keyPEM []byte, err error) {
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, nil, err
	}
	certPEM = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	keyPEM = pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})
	if err := os.WriteFile(filepath.Join(dir, file+".crt"), certPEM, 0o644); err != nil {
		return nil, nil, err
	}
	return certPEM, keyPEM, os.WriteFile(filepath.Join(dir, file+".key"), keyPEM, 0o600)
}

// writeAccountKeys makes the pair that signs and checks service account tokens.
func writeAccountKeys(dir string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	private, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return err
	}
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return err
	}
	block := pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: private})
	if err := os.WriteFile(filepath.Join(dir, "sa.key"), block, 0o600); err != nil {
		return err
	}
	block = pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public})
	return os.WriteFile(filepath.Join(dir, "sa.pub"), block, 0o644)
}

// writeKubeconfig writes a kubeconfig with one context, readable by its owner.
func writeKubeconfig(path, context, server string, ca, cert, key []byte) error {
	c := clientcmdapi.NewConfig()
	c.Clusters[context] = &clientcmdapi.Cluster{Server: server, CertificateAuthorityData: ca}
	c.AuthInfos[context] = &clientcmdapi.AuthInfo{ClientCertificateData: cert, ClientKeyData: key}
	c.Contexts[context] = &clientcmdapi.Context{Cluster: context, AuthInfo: context}
	c.CurrentContext = context
	raw, err := clientcmd.Write(*c)
	if err != nil {
		return fmt.Errorf("encode kubeconfig %q: %w", path, err)
	}
	return writeFile(path, raw, 0o600)
}

// writeUserKubeconfig writes the kubeconfig that people and tests use: it goes
// through the forwarder on localhost.
func writeUserKubeconfig(p *Plan, s *SitePlan, port int) error {
	var parts [3][]byte
	for i, file := range []string{"ca.crt", "admin.crt", "admin.key"} {
		raw, err := os.ReadFile(s.pki(file))
		if err != nil {
			return err
		}
		parts[i] = raw
	}
	name := "heddle-" + p.Name + "-" + s.Name
	return writeKubeconfig(s.kubeconfig(), name, fmt.Sprintf("https://127.0.0.1:%d", port), parts[0], parts[1], parts[2])
}

// writeFile replaces a file at once, so that no reader sees half of it.
func writeFile(path string, raw []byte, mode os.FileMode) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return fmt.Errorf("write %q: %w", path, err)
	}
	// After the rename there is nothing to remove.
	defer func() { _ = os.Remove(tmp.Name()) }()
	if _, err := tmp.Write(raw); err != nil {
		return fmt.Errorf("write %q: %w", path, err)
	}
	if err := tmp.Chmod(mode); err != nil {
		return fmt.Errorf("write %q: %w", path, err)
	}
	if err := tmp.Close(); err != nil {
		return fmt.Errorf("write %q: %w", path, err)
	}
	return os.Rename(tmp.Name(), path)
}
