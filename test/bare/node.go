package bare

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"google.golang.org/grpc"

	"heddle.dev/heddle/internal/fabric/admin"
	"heddle.dev/heddle/internal/fabric/channelconfig"
	"heddle.dev/heddle/internal/fabric/nodeenv"
	"heddle.dev/heddle/internal/pki"
)

// Node is a running peer or orderer.
type Node struct {
	*Process
	// Org that the node belongs to.
	Org *Org
	// Leaf is its key and certificates.
	Leaf Leaf
	// Address of its service, Operations of health and metrics.
	Address, Operations string
	// Env is its configuration.
	Env []nodeenv.Var

	dir  string
	conn *grpc.ClientConn
}

// Orderer is a running orderer.
type Orderer struct {
	Node
	// Admin is the address of the participation API.
	Admin string
}

// Peer is a running peer.
type Peer struct{ Node }

const host = "127.0.0.1"

// newOrderer prepares an orderer and starts it.
func (n *Network) newOrderer(org *Org, name string) (*Orderer, error) {
	ports, err := freePorts(3)
	if err != nil {
		return nil, err
	}
	leaf, err := org.Issue(name, pki.RoleOrderer)
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(n.Dir, name)
	if err := org.write(dir, leaf); err != nil {
		return nil, err
	}
	o := &Orderer{Admin: host + ":" + ports[1]}
	o.Node = n.node(org, name, dir, leaf, host+":"+ports[0], host+":"+ports[2])
	o.Env = nodeenv.Orderer(nodeenv.OrdererConfig{
		MSPID: org.MSPID, ListenHost: host, ListenPort: ports[0], AdminListen: o.Admin, OperationsListen: o.Operations,
		ConfigPath: n.programs.Config, MSPPath: dir + "/msp", DataPath: dir + "/data", TLS: tlsFiles(dir), Log: n.options.Log,
	})
	o.program = n.programs.Orderer()
	o.env = nodeenv.Strings(o.Env)
	return o, o.start()
}

// newPeer prepares a peer and starts it.
func (n *Network) newPeer(org *Org, name string) (*Peer, error) {
	ports, err := freePorts(3)
	if err != nil {
		return nil, err
	}
	leaf, err := org.Issue(name, pki.RolePeer)
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(n.Dir, name)
	if err := org.write(dir, leaf); err != nil {
		return nil, err
	}
	p := &Peer{n.node(org, name, dir, leaf, host+":"+ports[0], host+":"+ports[2])}
	p.Env = nodeenv.Peer(nodeenv.PeerConfig{
		ID: name, MSPID: org.MSPID, Address: p.Address, Listen: p.Address,
		ChaincodeListen: host + ":" + ports[1], ChaincodeAddress: host + ":" + ports[1], OperationsListen: p.Operations,
		Bootstrap: n.bootstrap(org), ConfigPath: n.programs.Config, MSPPath: dir + "/msp", DataPath: dir + "/data",
		TLS: tlsFiles(dir), Builders: n.builders(), Log: n.options.Log,
	})
	if n.options.PeerEnv != nil {
		p.Env = append(p.Env, n.options.PeerEnv(name)...)
	}
	p.program, p.args = n.programs.Peer(), []string{"node", "start"}
	p.env = nodeenv.Strings(p.Env)
	return p, p.start()
}

func (n *Network) node(org *Org, name, dir string, leaf Leaf, address, operations string) Node {
	return Node{
		Process: &Process{Name: name, LogFile: filepath.Join(n.Dir, name+".log")},
		Org:     org, Leaf: leaf, Address: address, Operations: operations, dir: dir,
	}
}

func tlsFiles(dir string) nodeenv.TLS {
	return nodeenv.TLS{Cert: dir + "/tls/tls.crt", Key: dir + "/tls/tls.key", Roots: dir + "/tls/ca.crt"}
}

// bootstrap are the organisation's peers so far.
func (n *Network) bootstrap(org *Org) []string {
	var out []string
	for _, p := range n.Peers {
		if p.Org == org {
			out = append(out, p.Address)
		}
	}
	return out
}

// Target is how to reach the node's service.
func (n *Node) Target() admin.Target {
	return admin.Target{Address: n.Address, Roots: n.Org.TLSRoots()}
}

// Conn is a connection to the node's service, kept until the network closes.
func (n *Node) Conn() (*grpc.ClientConn, error) {
	if n.conn != nil {
		return n.conn, nil
	}
	conn, err := n.Target().Connect()
	n.conn = conn
	return conn, err
}

func (n *Node) close() {
	if n.conn != nil {
		_ = n.conn.Close()
		n.conn = nil
	}
	n.Stop()
}

// Restart starts a node that was stopped or killed and waits for its health.
func (n *Node) Restart(ctx context.Context) error {
	n.Stop()
	if err := n.start(); err != nil {
		return err
	}
	return n.Health(ctx)
}

// SetLeaf puts other certificates into the node's files; they count from the
// next start on.
func (n *Node) SetLeaf(leaf Leaf) error {
	n.Leaf = leaf
	return n.Org.write(n.dir, leaf)
}

// Health waits also for the participation API.
func (o *Orderer) Health(ctx context.Context) error {
	if err := o.Node.Health(ctx); err != nil {
		return err
	}
	return o.listening(ctx, o.Admin)
}

// Participation is the orderer's API to join and leave channels.
func (o *Orderer) Participation() (*admin.Participation, error) {
	return admin.NewParticipation(admin.Target{Address: o.Admin, Roots: o.Org.TLSRoots(), Certificate: o.Org.AdminTLS})
}

// Client is a client of the orderer that signs as the administrator of org.
func (o *Orderer) Client(org *Org) (*admin.Orderer, error) {
	conn, err := o.Conn()
	if err != nil {
		return nil, err
	}
	return admin.NewOrderer(conn, org.Admin, time.Now), nil
}

// Consenter is the orderer's entry in a channel configuration.
func (o *Orderer) Consenter() (channelconfig.Consenter, error) {
	address, err := channelconfig.ParseAddress(o.Address)
	return channelconfig.Consenter{
		Host: address.Host, Port: address.Port, MSPID: o.Org.MSPID,
		Identity: o.Leaf.Sign, ClientTLS: o.Leaf.TLS, ServerTLS: o.Leaf.TLS,
	}, err
}

// Client is a client of the peer that signs as its organisation's
// administrator.
func (p *Peer) Client() (*admin.Peer, error) {
	conn, err := p.Conn()
	if err != nil {
		return nil, err
	}
	return admin.NewPeer(conn, p.Org.Admin, time.Now), nil
}

// Health waits until the node is content and takes connections: a peer says
// that it is healthy a moment before it listens.
func (n *Node) Health(ctx context.Context) error {
	if err := n.healthy(ctx, n.Operations); err != nil {
		return fmt.Errorf("start network: %w", err)
	}
	return n.listening(ctx, n.Address)
}

// Start starts a node that was killed, without waiting for its health.
func (n *Node) Start() error { return n.start() }
