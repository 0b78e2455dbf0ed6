// Package invoke sends transactions to a network through the gateway service of one peer, and says what came of them
// in words. It knows nothing of Kubernetes: internal/cli finds the peer and the keys.
package invoke

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"github.com/hyperledger/fabric-gateway/pkg/client"
	"github.com/hyperledger/fabric-gateway/pkg/hash"
	"github.com/hyperledger/fabric-gateway/pkg/identity"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"heddle.dev/heddle/internal/pki"
)

// Peer is how the gateway is reached.
type Peer struct {
	// Address to dial, as host:port.
	Address string
	// ServerName that stands in the peer's TLS certificate.
	ServerName string
	// TLSRoots are the organisation's TLS authorities in PEM.
	TLSRoots []byte
}

// Signer is who calls.
type Signer struct {
	MSPID string
	Cert  []byte
	Key   []byte
}

// Call is one transaction.
type Call struct {
	Channel   string
	Contract  string
	Function  string
	Args      []string
	Transient map[string][]byte
	// Endorsers are the MSP IDs whose peers shall endorse; empty leaves it to the gateway.
	Endorsers []string
	// Event asks for the event that the transaction emitted.
	Event bool
}

// Event is what a contract emitted.
type Event struct {
	Name    string
	Payload []byte
}

// Receipt is a committed transaction.
type Receipt struct {
	TransactionID string
	Block         uint64
	Result        []byte
	Event         *Event
}

// Gateway is a connection to a peer in somebody's name.
type Gateway struct {
	conn *grpc.ClientConn
	gw   *client.Gateway
}

// Connect makes a Gateway. The connection itself is made at the first call.
func Connect(p Peer, s Signer) (*Gateway, error) {
	cert, err := identity.CertificateFromPEM(s.Cert)
	if err != nil {
		return nil, fmt.Errorf("read certificate of the caller: %w", err)
	}
	id, err := identity.NewX509Identity(s.MSPID, cert)
	if err != nil {
		return nil, fmt.Errorf("make identity of %s: %w", s.MSPID, err)
	}
	key, err := pki.ParseKey(s.Key)
	if err != nil {
		return nil, fmt.Errorf("read key of the caller: %w", err)
	}
	sign, err := identity.NewPrivateKeySign(key)
	if err != nil {
		return nil, fmt.Errorf("use key of the caller: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(p.TLSRoots) {
		return nil, errors.New("read TLS roots of the peer: there is no certificate among them")
	}
	conn, err := grpc.NewClient("passthrough:///"+p.Address,
		grpc.WithTransportCredentials(credentials.NewClientTLSFromCert(roots, p.ServerName)))
	if err != nil {
		return nil, fmt.Errorf("prepare connection to %s: %w", p.Address, err)
	}
	gw, err := client.Connect(id, client.WithSign(sign), client.WithHash(hash.SHA256), client.WithClientConnection(conn),
		client.WithEvaluateTimeout(30*time.Second), client.WithEndorseTimeout(30*time.Second),
		client.WithSubmitTimeout(30*time.Second), client.WithCommitStatusTimeout(time.Minute))
	if err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("connect to gateway %s: %w", p.Address, err)
	}
	return &Gateway{conn: conn, gw: gw}, nil
}

// Close ends the connection.
func (g *Gateway) Close() error {
	return errors.Join(g.gw.Close(), g.conn.Close())
}

func (c Call) options() []client.ProposalOption {
	opts := []client.ProposalOption{client.WithArguments(c.Args...)}
	if len(c.Transient) > 0 {
		opts = append(opts, client.WithTransient(c.Transient))
	}
	if len(c.Endorsers) > 0 {
		opts = append(opts, client.WithEndorsingOrganizations(c.Endorsers...))
	}
	return opts
}

// Evaluate runs the call on one peer and writes nothing.
func (g *Gateway) Evaluate(ctx context.Context, c Call) ([]byte, error) {
	result, err := g.gw.GetNetwork(c.Channel).GetContract(c.Contract).EvaluateWithContext(ctx, c.Function, c.options()...)
	if err != nil {
		return nil, Explain(fmt.Sprintf("evaluate %s on %s/%s", c.Function, c.Channel, c.Contract), err)
	}
	return result, nil
}

// Submit runs the call, has it ordered and waits until it is committed.
func (g *Gateway) Submit(ctx context.Context, c Call) (Receipt, error) {
	what := fmt.Sprintf("submit %s to %s/%s", c.Function, c.Channel, c.Contract)
	network := g.gw.GetNetwork(c.Channel)
	proposal, err := network.GetContract(c.Contract).NewProposal(c.Function, c.options()...)
	if err != nil {
		return Receipt{}, fmt.Errorf("%s: %w", what, err)
	}
	tx, err := proposal.EndorseWithContext(ctx)
	if err != nil {
		return Receipt{}, Explain(what, err)
	}
	commit, err := tx.SubmitWithContext(ctx)
	if err != nil {
		return Receipt{}, Explain(what, err)
	}
	status, err := commit.StatusWithContext(ctx)
	if err != nil {
		return Receipt{}, Explain(what, err)
	}
	r := Receipt{TransactionID: status.TransactionID, Block: status.BlockNumber, Result: tx.Result()}
	if !status.Successful {
		return r, &InvalidError{TransactionID: status.TransactionID, Block: status.BlockNumber, Code: status.Code.String()}
	}
	if c.Event {
		r.Event, err = eventOf(ctx, network, c.Contract, r)
	}
	return r, err
}

// eventTimeout bounds the wait for the block that is committed already.
const eventTimeout = 10 * time.Second

// eventOf reads the event of a committed transaction: a transaction without one is passed by the next block's events
// or by the time-out, and has none then.
func eventOf(ctx context.Context, network *client.Network, contract string, r Receipt) (*Event, error) {
	ctx, cancel := context.WithTimeout(ctx, eventTimeout)
	defer cancel()
	events, err := network.ChaincodeEvents(ctx, contract, client.WithStartBlock(r.Block))
	if err != nil {
		return nil, Explain("read events of "+contract, err)
	}
	for e := range events {
		if e.TransactionID == r.TransactionID {
			return &Event{Name: e.EventName, Payload: e.Payload}, nil
		}
		if e.BlockNumber > r.Block {
			return nil, nil
		}
	}
	return nil, nil
}
