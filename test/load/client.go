package load

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/hyperledger/fabric-gateway/pkg/client"
	"github.com/hyperledger/fabric-gateway/pkg/hash"
	"github.com/hyperledger/fabric-gateway/pkg/identity"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
)

// User is who signs transactions: PEM texts, as they stand in an Identity's Secret.
type User struct {
	MSPID string
	Cert  []byte
	Key   []byte
}

// Target is one peer and how to reach it.
type Target struct {
	// Name of the peer, for messages.
	Name string
	// Address is HOST:PORT of the peer's gateway.
	Address string
	// ServerName is the name to expect in the peer's TLS certificate; the host of Address unless given.
	ServerName string
	// Roots is the PEM bundle that the peer's TLS certificate must lead to.
	Roots []byte
	// Dial opens connections; plain TCP unless given.
	Dial func(ctx context.Context, address string) (net.Conn, error)
	// Channel and Chaincode are what transactions go to.
	Channel, Chaincode string
}

// The client's time-outs: the same for every bench and baseline. A call that takes longer counts as failed. They are
// set for each call, since the gateway's own do not hold for calls with a context, and a transaction that died with
// its orderer would be waited for without end.
const (
	submitTimeout   = 20 * time.Second
	commitTimeout   = 15 * time.Second
	evaluateTimeout = 5 * time.Second
	// Reconnecting goes on at a steady pace, so that a client does not sleep when its peer is back.
	reconnectPause = 250 * time.Millisecond
)

// Client is one user's connection to one peer.
type Client struct {
	target   Target
	conn     *grpc.ClientConn
	gateway  *client.Gateway
	network  *client.Network
	contract *client.Contract
	id       *identity.X509Identity
	sign     identity.Sign
}

// Connect prepares a client; nothing is dialled before the first call.
func Connect(target Target, user User) (*Client, error) {
	id, sign, err := signer(user)
	if err != nil {
		return nil, fmt.Errorf("load user of %q: %w", user.MSPID, err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(target.Roots) {
		return nil, fmt.Errorf("connect to peer %q: no TLS root certificate is given", target.Name)
	}
	options := []grpc.DialOption{
		grpc.WithTransportCredentials(credentials.NewClientTLSFromCert(roots, target.ServerName)),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: reconnectPause, Multiplier: 1, MaxDelay: reconnectPause},
			MinConnectTimeout: 2 * time.Second,
		}),
	}
	if target.Dial != nil {
		options = append(options, grpc.WithContextDialer(target.Dial))
	}
	conn, err := grpc.NewClient("passthrough:///"+target.Address, options...)
	if err != nil {
		return nil, fmt.Errorf("connect to peer %q: %w", target.Name, err)
	}
	gw, err := client.Connect(id, client.WithSign(sign), client.WithHash(hash.SHA256), client.WithClientConnection(conn))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("connect to gateway of %q: %w", target.Name, err), conn.Close())
	}
	network := gw.GetNetwork(target.Channel)
	return &Client{target: target, conn: conn, gateway: gw, network: network, contract: network.GetContract(target.Chaincode), id: id, sign: sign}, nil
}

func signer(user User) (*identity.X509Identity, identity.Sign, error) {
	cert, err := identity.CertificateFromPEM(user.Cert)
	if err != nil {
		return nil, nil, fmt.Errorf("read certificate: %w", err)
	}
	id, err := identity.NewX509Identity(user.MSPID, cert)
	if err != nil {
		return nil, nil, fmt.Errorf("use certificate: %w", err)
	}
	key, err := identity.PrivateKeyFromPEM(user.Key)
	if err != nil {
		return nil, nil, errors.New("read private key: it is no PEM of a private key")
	}
	sign, err := identity.NewPrivateKeySign(key)
	if err != nil {
		return nil, nil, errors.New("use private key: its kind is not known")
	}
	return id, sign, nil
}

// Close ends the connection.
func (c *Client) Close() error {
	return errors.Join(c.gateway.Close(), c.conn.Close())
}

// Name of the peer that the client speaks to.
func (c *Client) Name() string { return c.target.Name }

// Receipt is the proof that a transaction was committed.
type Receipt struct {
	TxID   string
	Block  uint64
	Result []byte
}

// ErrFateUnknown says that orderers took a transaction and the client's own deadline passed before its peer had it: a
// peer that gets no blocks says nothing.
var ErrFateUnknown = errors.New("learn fate of transaction")

// Submit sends one transaction and waits until the client's peer has committed it. An error says nothing about the
// ledger: the transaction may still be committed.
func (c *Client) Submit(ctx context.Context, function string, args ...string) (Receipt, error) {
	sending, cancel := context.WithTimeout(ctx, submitTimeout)
	defer cancel()
	result, commit, err := c.contract.SubmitAsyncWithContext(sending, function, client.WithArguments(args...))
	if err != nil {
		return Receipt{}, fmt.Errorf("submit %s at %q: %w", function, c.target.Name, err)
	}
	waiting, cancel := context.WithTimeout(ctx, commitTimeout)
	defer cancel()
	status, err := commit.StatusWithContext(waiting)
	if err != nil {
		return Receipt{}, fmt.Errorf("%w %s at %q: %w", ErrFateUnknown, commit.TransactionID(), c.target.Name, err)
	}
	if !status.Successful {
		return Receipt{}, fmt.Errorf("commit transaction %s at %q: %s", commit.TransactionID(), c.target.Name, status.Code)
	}
	return Receipt{TxID: status.TransactionID, Block: status.BlockNumber, Result: result}, nil
}

// Evaluate asks the contract without changing the ledger.
func (c *Client) Evaluate(ctx context.Context, function string, args ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, evaluateTimeout)
	defer cancel()
	result, err := c.contract.EvaluateWithContext(ctx, function, client.WithArguments(args...))
	if err != nil {
		return nil, fmt.Errorf("evaluate %s at %q: %w", function, c.target.Name, err)
	}
	return result, nil
}
