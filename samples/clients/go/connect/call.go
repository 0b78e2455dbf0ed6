package connect

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/hyperledger/fabric-gateway/pkg/client"
	"github.com/hyperledger/fabric-protos-go-apiv2/gateway"
	"google.golang.org/grpc/status"
)

const (
	retryEvery = 200 * time.Millisecond
	maxTries   = 10
	hearWithin = 30 * time.Second
)

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

// Submit sends a transaction and waits until it is committed. One that is not
// endorsed is tried again for a while: some endorser may be a block behind.
func (u *User) Submit(call Call) (string, error) {
	result, err := u.submit(call)
	var refusal *client.EndorseError
	ticker := time.NewTicker(retryEvery)
	defer ticker.Stop()
	for tries := 1; errors.As(err, &refusal) && tries < maxTries; tries++ {
		<-ticker.C
		result, err = u.submit(call)
	}
	return u.tell("submits", call, result, err)
}

func (u *User) submit(call Call) ([]byte, error) {
	result, commit, err := u.contract.SubmitAsync(call.Name, call.options()...)
	if err != nil {
		return nil, err
	}
	committed, err := commit.Status()
	if err != nil {
		return nil, err
	}
	if !committed.Successful {
		return nil, fmt.Errorf("transaction %s is not valid: %s", committed.TransactionID, committed.Code)
	}
	u.block = committed.BlockNumber
	return result, nil
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

// Hears waits until the user's peer has the last transaction of another user,
// and the event of this name in its block.
func (u *User) Hears(ctx context.Context, event string, other *User) error {
	ctx, cancel := context.WithTimeout(ctx, hearWithin)
	defer cancel()
	events, err := u.network.ChaincodeEvents(ctx, u.contract.ChaincodeName(), client.WithStartBlock(other.block))
	if err != nil {
		return fmt.Errorf("listen for %s: %w", event, err)
	}
	for e := range events {
		if e.EventName == event {
			fmt.Fprintf(u.out, "%s hears %s: %s\n", u.MSPID, e.EventName, e.Payload)
			return nil
		}
	}
	return fmt.Errorf("%s did not hear %s", u.MSPID, event)
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
	fmt.Fprintf(u.out, "%s %s %s %s: %s\n", u.MSPID, verb, call.Name, args, said)
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
