// Package connect is what the sample clients share: their flags, and users who
// call a contract through a peer's gateway and print what they do.
package connect

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"flag"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/hyperledger/fabric-gateway/pkg/client"
	"github.com/hyperledger/fabric-gateway/pkg/hash"
	"github.com/hyperledger/fabric-gateway/pkg/identity"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
)

// Walk takes users through a sample's transactions. The id is new at each run.
type Walk func(ctx context.Context, users []*User, id string) error

// Run reads the arguments, connects one user for each identity folder, and walks.
func Run(ctx context.Context, contract string, identities int, walk Walk, args []string, out io.Writer) error {
	flags := flag.NewFlagSet(contract, flag.ContinueOnError)
	channel := flags.String("channel", "demo", "`name` of the channel")
	name := flags.String("contract", contract, "`name` of the contract on the channel")
	profile := flags.String("profile", "", "connection profile, a JSON `file`; that of the identity's folder unless given")
	id := flags.String("id", strings.ToLower(rand.Text()[:8]), "`id` of what the client makes")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() != identities {
		return fmt.Errorf("give %d folders that \"heddle identity enroll --out\" wrote, not %d", identities, flags.NArg())
	}
	var users []*User
	for _, folder := range flags.Args() {
		user, err := open(folder, *profile, *channel, *name, out)
		if err != nil {
			return err
		}
		defer user.close()
		users = append(users, user)
	}
	return walk(ctx, users, *id)
}

// User calls a contract as one identity.
type User struct {
	MSPID string

	network  *client.Network
	contract *client.Contract
	block    uint64 // of the last transaction
	out      io.Writer
	close    func()
}

func open(folder, profile, channel, contract string, out io.Writer) (*User, error) {
	files, err := read(folder, profile)
	if err != nil {
		return nil, err
	}
	certificate, err := identity.CertificateFromPEM(files.cert)
	if err != nil {
		return nil, fmt.Errorf("read certificate in %s: %w", folder, err)
	}
	id, err := identity.NewX509Identity(files.mspID, certificate)
	if err != nil {
		return nil, fmt.Errorf("use certificate in %s: %w", folder, err)
	}
	key, err := identity.PrivateKeyFromPEM(files.key)
	if err != nil {
		return nil, fmt.Errorf("read key in %s: %w", folder, err)
	}
	sign, err := identity.NewPrivateKeySign(key)
	if err != nil {
		return nil, fmt.Errorf("use key in %s: %w", folder, err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM([]byte(files.peer.roots)) {
		return nil, fmt.Errorf("connect to %s: the profile has no TLS roots for it", files.peer.address)
	}
	connection, err := grpc.NewClient(files.peer.address, grpc.WithTransportCredentials(credentials.NewClientTLSFromCert(roots, files.peer.serverName)))
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", files.peer.address, err)
	}
	gw, err := client.Connect(id, client.WithSign(sign), client.WithHash(hash.SHA256), client.WithClientConnection(connection),
		client.WithEvaluateTimeout(10*time.Second), client.WithEndorseTimeout(30*time.Second),
		client.WithSubmitTimeout(10*time.Second), client.WithCommitStatusTimeout(time.Minute))
	if err != nil {
		_ = connection.Close() // it was never used
		return nil, fmt.Errorf("connect to %s: %w", files.peer.address, err)
	}
	network := gw.GetNetwork(channel)
	return &User{
		MSPID: files.mspID, network: network, contract: network.GetContract(contract), out: out,
		close: func() { _, _ = gw.Close(), connection.Close() }, // nothing is under way
	}, nil
}
