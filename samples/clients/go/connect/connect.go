// Package connect is what the sample clients share: their flags, and users who
// call a contract through a peer's gateway and print what they do.
package connect

import (
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/hyperledger/fabric-gateway/pkg/client"
	"github.com/hyperledger/fabric-gateway/pkg/hash"
	"github.com/hyperledger/fabric-gateway/pkg/identity"
	"github.com/hyperledger/fabric-protos-go-apiv2/gateway"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"
)

// Walk takes users through a sample's transactions. The id is new at each run.
type Walk func(users []*User, id string) error

// Run reads the arguments, connects one user for each identity folder, and walks.
func Run(contract string, identities int, walk Walk, args []string, out io.Writer) error {
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
	return walk(users, *id)
}

// User calls a contract as one identity.
type User struct {
	MSPID string

	contract *client.Contract
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
	return &User{
		MSPID: files.mspID, contract: gw.GetNetwork(channel).GetContract(contract), out: out,
		close: func() { _, _ = gw.Close(), connection.Close() }, // nothing is under way
	}, nil
}

// Call is a transaction with what goes beyond its arguments.
type Call struct {
	Name string
	Args []string
	// Transient data is seen by endorsers and not written to the ledger.
	Transient map[string][]byte
	// Endorsers are the MSP ids of who has to endorse; empty leaves it to the gateway.
	Endorsers []string
}

func (c Call) options() []client.ProposalOption {
	options := []client.ProposalOption{client.WithArguments(c.Args...)}
	if c.Transient != nil {
		options = append(options, client.WithTransient(c.Transient))
	}
	if c.Endorsers != nil {
		options = append(options, client.WithEndorsingOrganizations(c.Endorsers...))
	}
	return options
}

// Submit sends a transaction and waits until it is committed.
func (u *User) Submit(call Call) (string, error) {
	result, err := u.contract.Submit(call.Name, call.options()...)
	return u.tell("submits", call, result, err)
}

// Evaluate asks the user's peer, and writes nothing.
func (u *User) Evaluate(call Call) (string, error) {
	result, err := u.contract.Evaluate(call.Name, call.options()...)
	return u.tell("asks", call, result, err)
}

// SubmitAll submits transactions one after the other.
func (u *User) SubmitAll(calls ...Call) error {
	for _, call := range calls {
		if _, err := u.Submit(call); err != nil {
			return err
		}
	}
	return nil
}

// EvaluateAll asks one thing after the other.
func (u *User) EvaluateAll(calls ...Call) error {
	for _, call := range calls {
		if _, err := u.Evaluate(call); err != nil {
			return err
		}
	}
	return nil
}

// Refused wants a call to be refused, as this part of the sample shows.
func (u *User) Refused(_ string, err error) error {
	if err == nil {
		return errors.New("this was to be refused")
	}
	fmt.Fprintln(u.out, "  as it should be")
	return nil
}

func (u *User) tell(verb string, call Call, result []byte, err error) (string, error) {
	args, encodeErr := json.Marshal(append([]string{}, call.Args...))
	if encodeErr != nil {
		return "", encodeErr
	}
	said := string(result)
	if err != nil {
		said = "refused"
	}
	fmt.Fprintf(u.out, "%s %s %s%s: %s\n", u.MSPID, verb, call.Name, args, said)
	if err != nil {
		return "", fmt.Errorf("%s: %w%s", call.Name, err, details(err))
	}
	return string(result), nil
}

// details are what the endorsers themselves said.
func details(err error) string {
	var out strings.Builder
	for _, detail := range status.Convert(err).Details() {
		if d, ok := detail.(*gateway.ErrorDetail); ok {
			fmt.Fprintf(&out, "\n  %s: %s", d.GetMspId(), d.GetMessage())
		}
	}
	return out.String()
}
