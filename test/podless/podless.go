// Package podless runs the nodes of a network's namespace as bare processes, for tests of controllers that have a real
// API server but no kubelet. Each node gets a loopback address of its own and is found by the very name that stands in
// channel configurations, so that controllers and nodes behave as in pods; the objects, Secrets and ConfigMaps that
// other controllers would make are written by the test through this package.
package podless

import (
	"context"
	"crypto"
	"crypto/x509"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/fabric/identity"
	"heddle.dev/heddle/internal/fabric/nodeenv"
	"heddle.dev/heddle/internal/pki"
	"heddle.dev/heddle/internal/specs"
	"heddle.dev/heddle/internal/specs/launch"
	"heddle.dev/heddle/test/bare"
)

const leafLife = 12 * time.Hour

// Namespace is a network's namespace with its nodes.
type Namespace struct {
	// Name of the namespace.
	Name string
	// Orgs by name.
	Orgs map[string]*bare.Org

	t        testing.TB
	client   client.Client
	programs bare.Programs
	dir      string
	prefix   string

	mu    sync.Mutex
	hosts map[string]string
	procs map[string]*exec.Cmd

	admins map[string]*identity.Identity
}

// New makes a namespace, or skips the test where neither real nor stand-in nodes can run.
func New(tb testing.TB, c client.Client, name string) *Namespace {
	tb.Helper()
	n := &Namespace{
		Name: name, Orgs: map[string]*bare.Org{}, t: tb, client: c, programs: bare.Require(tb), dir: tb.TempDir(),
		prefix: fmt.Sprintf("127.%d.%d.", 2+rand.IntN(250), 1+rand.IntN(250)),
		hosts:  map[string]string{}, procs: map[string]*exec.Cmd{}, admins: map[string]*identity.Identity{},
	}
	if out, err := exec.Command("unshare", "--mount", "true").CombinedOutput(); err != nil {
		tb.Skipf("needs the right to make mount namespaces (root): %v: %s", err, out)
	}
	n.create(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{v1alpha1.LabelNetwork: name}}})
	n.writeBuilder()
	tb.Cleanup(n.close)
	return n
}

func (n *Namespace) close() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, p := range n.procs {
		_ = syscall.Kill(-p.Process.Pid, syscall.SIGKILL)
		_ = p.Wait()
	}
	if !n.t.Failed() {
		return
	}
	logs, _ := filepath.Glob(filepath.Join(n.dir, "*.log"))
	for _, l := range logs {
		text, err := os.ReadFile(l)
		if err == nil {
			n.t.Logf("%s ends in:\n%s", filepath.Base(l), text[max(0, len(text)-3000):])
		}
	}
}

// Dial opens connections as the cluster's network would: by the names of Services.
func (n *Namespace) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	n.mu.Lock()
	ip, ok := n.hosts[host]
	n.mu.Unlock()
	if !ok {
		return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	}
	return (&net.Dialer{}).DialContext(ctx, network, net.JoinHostPort(ip, port))
}

// host gives a name an address.
func (n *Namespace) host(name string) string {
	full := specs.Host(name, n.Name)
	n.mu.Lock()
	defer n.mu.Unlock()
	if ip, ok := n.hosts[full]; ok {
		return ip
	}
	ip := n.prefix + strconv.Itoa(len(n.hosts)+1)
	n.hosts[full] = ip
	n.writeHosts()
	return ip
}

// writeHosts writes the names that the nodes see.
func (n *Namespace) writeHosts() {
	var text strings.Builder
	text.WriteString("127.0.0.1 localhost\n")
	for _, h := range slices.Sorted(maps.Keys(n.hosts)) {
		fmt.Fprintf(&text, "%s %s\n", n.hosts[h], h)
	}
	n.must(os.WriteFile(filepath.Join(n.dir, "hosts"), []byte(text.String()), 0o600))
}

// AddOrg makes an Organization with its issuers, administrator and public material, as its controller would.
func (n *Namespace) AddOrg(name, mspID string) *bare.Org {
	n.t.Helper()
	o, err := bare.NewOrg(name)
	n.must(err)
	o.MSPID = mspID
	n.Orgs[name] = o
	admin := n.issue(o, "admin", pki.RoleAdmin, nil)
	n.create(n.secret(specs.AdminSecret(name), map[string][]byte{specs.KeyCert: admin.sign, specs.KeyKey: admin.key}))
	adminKey, err := pki.ParseKey(admin.key)
	n.must(err)
	n.admins[name], err = identity.New(mspID, admin.sign, adminKey)
	n.must(err)
	tlsKey, err := pki.EncodeKey(o.TLSOps.Key)
	n.must(err)
	signKey, err := pki.EncodeKey(o.Ops.Key)
	n.must(err)
	n.create(n.secret(specs.OpsSecret(name), map[string][]byte{
		specs.KeySignCert: pki.EncodeCerts(o.Ops.Cert), specs.KeySignKey: signKey,
		specs.KeyTLSCert: pki.EncodeCerts(o.TLSOps.Cert), specs.KeyTLSKey: tlsKey,
	}))
	join := func(blocks [][]byte) string { return string(slices.Concat(blocks...)) }
	appKey, err := pki.EncodeKey(o.App.Key)
	n.must(err)
	n.create(n.secret(specs.AppSecret(name), map[string][]byte{specs.KeySignCert: pki.EncodeCerts(o.App.Cert), specs.KeySignKey: appKey}))
	n.create(&corev1.ConfigMap{ObjectMeta: n.Meta(specs.MSPConfigMap(name)), Data: map[string]string{
		specs.KeyMSPID: mspID, specs.KeyCACerts: join(o.Material.CACerts), specs.KeyIntermediates: join(o.Material.IntermediateCerts),
		specs.KeyTLSCACerts: join(o.Material.TLSCACerts), specs.KeyTLSIntermediates: join(o.Material.TLSIntermediates),
		specs.KeyTLSRoots: string(o.TLSRoots()),
	}})
	n.create(&v1alpha1.Organization{ObjectMeta: n.Meta(name), Spec: v1alpha1.OrganizationSpec{MSPID: mspID}})
	return o
}

// AddOrderer makes an Orderer with its certificates and starts it.
func (n *Namespace) AddOrderer(name, org string) {
	n.t.Helper()
	n.nodeSecret(name, org, pki.RoleOrderer)
	n.create(&v1alpha1.Orderer{ObjectMeta: n.Meta(name), Spec: v1alpha1.OrdererSpec{Organization: org}})
	n.Start(name)
}

// AddPeer makes a Peer with its certificates and starts it.
func (n *Namespace) AddPeer(name, org string) {
	n.t.Helper()
	n.nodeSecret(name, org, pki.RolePeer)
	n.create(&v1alpha1.Peer{ObjectMeta: n.Meta(name), Spec: v1alpha1.PeerSpec{Organization: org}})
	n.Start(name)
}

// Start starts a node that was added before.
func (n *Namespace) Start(name string) {
	n.t.Helper()
	ip, dir := n.host(name), filepath.Join(n.dir, name)
	org := n.orgOf(name)
	tls := nodeenv.TLS{Cert: dir + "/tls/tls.crt", Key: dir + "/tls/tls.key", Roots: dir + "/tls/ca.crt"}
	address := specs.Address(name, n.Name, v1alpha1.PortPeer)
	if strings.HasPrefix(name, "orderer") {
		n.run(name, nodeenv.Strings(nodeenv.Orderer(nodeenv.OrdererConfig{
			MSPID: org.MSPID, ListenHost: ip, ListenPort: "7050", AdminListen: ip + ":7053", OperationsListen: ip + ":9443",
			ConfigPath: n.programs.Config, MSPPath: dir + "/msp", DataPath: dir + "/data", TLS: tls,
		})), n.programs.Orderer())
		return
	}
	n.run(name, nodeenv.Strings(nodeenv.Peer(nodeenv.PeerConfig{
		ID: name, MSPID: org.MSPID, Address: address, Listen: ip + ":7051",
		ChaincodeListen: ip + ":7052", ChaincodeAddress: specs.Address(name, n.Name, v1alpha1.PortPeerChaincode), OperationsListen: ip + ":9443",
		ConfigPath: n.programs.Config, MSPPath: dir + "/msp", DataPath: dir + "/data", TLS: tls,
		Builders: []nodeenv.Builder{{Name: "heddle", Path: filepath.Join(n.dir, "builder"), Propagate: launch.Propagated()}},
	})), n.programs.Peer(), "node", "start")
}

// Meet lets the nodes and controllers of two sites reach one another by name, as the links between sites do. It is
// called when the nodes of both have been added.
func (n *Namespace) Meet(other *Namespace) {
	n.t.Helper()
	for _, pair := range [][2]*Namespace{{n, other}, {other, n}} {
		from, to := pair[0], pair[1]
		from.mu.Lock()
		hosts := maps.Clone(from.hosts)
		from.mu.Unlock()
		to.mu.Lock()
		for name, ip := range hosts {
			if strings.HasPrefix(ip, from.prefix) {
				to.hosts[name] = ip
			}
		}
		to.writeHosts()
		to.mu.Unlock()
	}
}

// AddRemote makes the Organization that stands here for one of another site, with the nodes that it offers and its
// public material, as their controllers would.
func (n *Namespace) AddRemote(from *Namespace, org, link string, nodes ...string) {
	n.t.Helper()
	o := from.Orgs[org]
	join := func(blocks [][]byte) string { return string(slices.Concat(blocks...)) }
	remote := &v1alpha1.Organization{ObjectMeta: n.Meta(org), Spec: v1alpha1.OrganizationSpec{
		MSPID: o.MSPID,
		Remote: &v1alpha1.RemoteOrganization{
			Link: link, CACertificates: join(o.Material.CACerts), IntermediateCertificates: join(o.Material.IntermediateCerts),
			TLSCACertificates: join(o.Material.TLSCACerts), TLSIntermediateCertificates: join(o.Material.TLSIntermediates),
		},
	}}
	for _, name := range nodes {
		node := v1alpha1.RemoteNode{Name: name, Port: v1alpha1.PortPeer}
		if strings.HasPrefix(name, "orderer") {
			secret := &corev1.Secret{ObjectMeta: from.Meta(name)}
			n.must(from.client.Get(n.t.Context(), client.ObjectKeyFromObject(secret), secret))
			tls, err := pki.ParseCert(secret.Data[specs.KeyNodeTLSCert])
			n.must(err)
			node = v1alpha1.RemoteNode{
				Name: name, Port: v1alpha1.PortOrderer,
				Certificate: string(secret.Data[specs.KeyCert]), TLSCertificate: string(pki.EncodeCerts(tls)),
			}
		}
		remote.Spec.Remote.Nodes = append(remote.Spec.Remote.Nodes, node)
	}
	n.create(specs.MSPConfigMapFor(remote, o.Material, nil))
	n.create(remote)
}

// AddCA runs an organisation's fabric-ca, or skips the test where there is none.
func (n *Namespace) AddCA(org string) {
	n.t.Helper()
	program := bare.RequireCA(n.t)
	o, name := n.Orgs[org], specs.CAName(org)
	ip, dir := n.host(name), filepath.Join(n.dir, name)
	n.create(n.secret(specs.CAAdminSecret(org), map[string][]byte{specs.KeyUsername: []byte("registrar"), specs.KeyPassword: []byte("secret")}))
	l := n.issue(o, name, pki.RoleClient, pki.NodeSANs(name, n.Name))
	key, err := pki.EncodeKey(o.App.Key)
	n.must(err)
	cert := pki.EncodeCerts(o.App.Cert)
	n.write(name, map[string][]byte{
		"ca.key": key, "ca.crt": cert, "chain.crt": slices.Concat(cert, o.Material.CACerts[0]), "tls.crt": l.chain, "tls.key": l.key,
	})
	n.run(name, nil, program, "start", "-b", "registrar:secret", "-H", dir, "--address", ip, "-p", "7054",
		"--ca.name", name, "--ca.certfile", dir+"/ca.crt", "--ca.keyfile", dir+"/ca.key", "--ca.chainfile", dir+"/chain.crt",
		"--tls.enabled", "--tls.certfile", dir+"/tls.crt", "--tls.keyfile", dir+"/tls.key",
		"--operations.listenaddress", ip+":9443", "--csr.cn", o.App.Cert.Subject.CommonName)
}

// RunContract runs a contract's program where the Service of a Chaincode would be, with the certificates that its pods
// would have.
func (n *Namespace) RunContract(chaincode, program, packageID string) {
	n.t.Helper()
	name := specs.ChaincodeName(chaincode)
	env := []string{"CHAINCODE_SERVER_ADDRESS=" + n.host(name) + ":9999", "CHAINCODE_ID=" + packageID}
	var secret corev1.Secret
	err := n.client.Get(n.t.Context(), client.ObjectKey{Namespace: n.Name, Name: specs.ChaincodeTLSSecretName(chaincode)}, &secret)
	n.must(client.IgnoreNotFound(err))
	if err == nil {
		n.write(name, secret.Data)
		at := func(key string) string { return filepath.Join(n.dir, name, key) }
		env = append(env, "CHAINCODE_TLS_CERT="+at(specs.KeyNodeTLSCert), "CHAINCODE_TLS_KEY="+at(specs.KeyNodeTLSKey),
			"CHAINCODE_TLS_CLIENT_CACERT="+at(specs.KeyNodeTLSRoots))
	}
	n.run(name, env, program)
}

// Kill ends a node or a contract at once; its data stays.
func (n *Namespace) Kill(name string) {
	n.mu.Lock()
	p := n.procs[name]
	delete(n.procs, name)
	n.mu.Unlock()
	if p != nil {
		_ = syscall.Kill(-p.Process.Pid, syscall.SIGKILL)
		_ = p.Wait()
	}
}

// run starts a program that sees the network's names.
func (n *Namespace) run(name string, env []string, program string, args ...string) {
	n.t.Helper()
	log, err := os.OpenFile(filepath.Join(n.dir, name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	n.must(err)
	defer log.Close()
	script := `mount --bind "$0" /etc/hosts && exec "$@"`
	cmd := exec.Command("unshare", append([]string{"--mount", "sh", "-c", script, filepath.Join(n.dir, "hosts"), program}, args...)...)
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + n.dir}, env...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	n.must(cmd.Start())
	n.mu.Lock()
	defer n.mu.Unlock()
	n.procs[name] = cmd
}

func (n *Namespace) orgOf(node string) *bare.Org {
	for name, o := range n.Orgs {
		if strings.HasSuffix(node, "-"+name) {
			return o
		}
	}
	n.t.Fatalf("node %s belongs to no organisation", node)
	return nil
}

// Admin is an organisation's administrator.
func (n *Namespace) Admin(org string) *identity.Identity { return n.admins[org] }

// Renew issues a node's certificates anew for the same key, as its controller does in time. The process keeps the old
// ones: they are still good.
func (n *Namespace) Renew(ctx context.Context, name string) {
	n.t.Helper()
	secret := &corev1.Secret{ObjectMeta: n.Meta(name)}
	n.must(n.client.Get(ctx, client.ObjectKeyFromObject(secret), secret))
	key, err := pki.ParseKey(secret.Data[specs.KeyKey])
	n.must(err)
	role := pki.RolePeer
	if strings.HasPrefix(name, "orderer") {
		role = pki.RoleOrderer
	}
	l := n.issueFor(n.orgOf(name), name, role, pki.NodeSANs(name, n.Name), key)
	secret.Data[specs.KeyCert], secret.Data[specs.KeyNodeTLSCert] = l.sign, l.chain
	n.must(n.client.Update(ctx, secret))
}

type leaf struct{ key, sign, chain []byte }

func (n *Namespace) issue(o *bare.Org, name string, role pki.Role, sans []string) leaf {
	n.t.Helper()
	key, err := pki.NewKey()
	n.must(err)
	return n.issueFor(o, name, role, sans, key)
}

func (n *Namespace) issueFor(o *bare.Org, name string, role pki.Role, sans []string, key crypto.Signer) leaf {
	n.t.Helper()
	now := time.Now()
	sign, err := o.Ops.Enrol(pki.EnrolRequest{CommonName: name, Role: role, Public: key.Public(), Lifetime: leafLife, Now: now})
	n.must(err)
	served, err := o.TLSOps.IssueTLS(pki.TLSRequest{CommonName: name, SANs: sans, Public: key.Public(), Lifetime: leafLife, Now: now})
	n.must(err)
	text, err := pki.EncodeKey(key)
	n.must(err)
	return leaf{key: text, sign: pki.EncodeCerts(sign), chain: pki.EncodeCerts(append([]*x509.Certificate{served}, o.TLSOps.Chain()...)...)}
}

// nodeSecret makes a node's key and certificates, in its Secret and in the files that its process reads.
func (n *Namespace) nodeSecret(name, org string, role pki.Role) {
	n.t.Helper()
	o := n.Orgs[org]
	l := n.issue(o, name, role, pki.NodeSANs(name, n.Name))
	n.create(n.secret(name, map[string][]byte{
		specs.KeyCert: l.sign, specs.KeyKey: l.key,
		specs.KeyNodeTLSCert: l.chain, specs.KeyNodeTLSKey: l.key, specs.KeyNodeTLSRoots: o.TLSRoots(),
	}))
	files := map[string][]byte{
		"msp/signcerts/cert.pem": l.sign, "msp/keystore/key.pem": l.key,
		"tls/tls.crt": l.chain, "tls/tls.key": l.key, "tls/ca.crt": o.TLSRoots(),
	}
	for path, content := range o.Material.Files() {
		files["msp/"+path] = content
	}
	n.write(name, files)
}

// write puts files into a folder of their own.
func (n *Namespace) write(folder string, files map[string][]byte) {
	n.t.Helper()
	for path, content := range files {
		full := filepath.Join(n.dir, folder, filepath.FromSlash(path))
		n.must(os.MkdirAll(filepath.Dir(full), 0o700))
		n.must(os.WriteFile(full, content, 0o600))
	}
}

// writeBuilder installs heddle-builder, as the init container of a peer does.
func (n *Namespace) writeBuilder() {
	n.t.Helper()
	program := bare.BuildProgram(n.t, "cmd/heddle-builder")
	out, err := exec.Command(program, "install", filepath.Join(n.dir, "builder")).CombinedOutput()
	if err != nil {
		n.t.Fatalf("install builder: %v: %s", err, out)
	}
}

// Meta is the metadata of an object in the namespace.
func (n *Namespace) Meta(name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: n.Name, Name: name, Labels: map[string]string{v1alpha1.LabelNetwork: n.Name}}
}

func (n *Namespace) secret(name string, data map[string][]byte) *corev1.Secret {
	return &corev1.Secret{ObjectMeta: n.Meta(name), Data: data}
}

func (n *Namespace) create(obj client.Object) {
	n.t.Helper()
	n.must(n.client.Create(context.WithoutCancel(n.t.Context()), obj))
}

func (n *Namespace) must(err error) {
	n.t.Helper()
	if err != nil {
		n.t.Fatal(err)
	}
}
