package invoke

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/hyperledger/fabric-gateway/pkg/client"
	gatewayproto "github.com/hyperledger/fabric-protos-go-apiv2/gateway"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// InvalidError says that a transaction was ordered and then marked invalid by the peers: it changed nothing.
type InvalidError struct {
	TransactionID string
	Block         uint64
	// Code is Fabric's name of the cause, such as MVCC_READ_CONFLICT.
	Code string
}

func (e *InvalidError) Error() string {
	return fmt.Sprintf("transaction %s is in block %d but invalid (%s): it changed nothing%s",
		e.TransactionID, e.Block, e.Code, invalidRemedy(e.Code))
}

func invalidRemedy(code string) string {
	switch code {
	case "MVCC_READ_CONFLICT", "PHANTOM_READ_CONFLICT":
		return "; another transaction changed the same keys first: submit it again"
	case "ENDORSEMENT_POLICY_FAILURE":
		return "; too few organisations endorsed it: check the contract's endorsement policy"
	}
	return ""
}

// RefusedError is an answer of the gateway or of the peers behind it that is not a success.
type RefusedError struct {
	what string
	// Code is the gRPC status of the answer.
	Code codes.Code
	// Causes are the words of each node that refused.
	Causes []string
	err    error
}

func (e *RefusedError) Error() string {
	text := status.Convert(e.err).Message()
	if len(e.Causes) > 0 {
		text = strings.Join(e.Causes, "; ")
	}
	return fmt.Sprintf("%s: %s%s", e.what, text, remedy(e.Code, text))
}

func (e *RefusedError) Unwrap() error { return e.err }

// Temporary says that the same call may succeed a moment later.
func (e *RefusedError) Temporary() bool {
	return e.Code == codes.Unavailable || e.Code == codes.FailedPrecondition || e.Code == codes.DeadlineExceeded
}

// Explain turns an error of the gateway's client into one that names the nodes and their causes.
func Explain(what string, err error) error {
	if err == nil {
		return nil
	}
	s, ok := status.FromError(err)
	if !ok {
		return fmt.Errorf("%s: %w", what, err)
	}
	return &RefusedError{what: what, Code: s.Code(), Causes: causes(err, s), err: err}
}

// causes lists what each node said, once.
func causes(err error, s *status.Status) []string {
	var details []*gatewayproto.ErrorDetail
	var tx *client.TransactionError
	if errors.As(err, &tx) {
		details = tx.Details()
	} else {
		for _, d := range s.Details() {
			if g, ok := d.(*gatewayproto.ErrorDetail); ok {
				details = append(details, g)
			}
		}
	}
	var out []string
	for _, d := range details {
		text := fmt.Sprintf("%s (%s): %s", d.GetAddress(), d.GetMspId(), chaincodeText(d.GetMessage()))
		if !slices.Contains(out, text) {
			out = append(out, text)
		}
	}
	return out
}

// chaincodeText leaves the contract's own words of "chaincode response 500, the asset a1 does not exist".
func chaincodeText(message string) string {
	if rest, ok := strings.CutPrefix(message, "chaincode response "); ok {
		if code, text, ok := strings.Cut(rest, ", "); ok {
			return fmt.Sprintf("the contract refused it (%s): %s", code, text)
		}
	}
	return message
}

func remedy(code codes.Code, text string) string {
	switch {
	case strings.Contains(text, "no combination of peers can be derived"):
		return " (too few peers that can endorse are known yet: they have to be up and to have joined the channel)"
	case strings.Contains(text, "make sure the chaincode") || strings.Contains(text, "chaincode definition") && strings.Contains(text, "not"):
		return " (the contract is not committed on this channel: check its name, and the Chaincode object)"
	case strings.Contains(text, "channel") && strings.Contains(text, "not found"):
		return " (the peer has not joined the channel: check the channel's name)"
	case strings.Contains(text, "access denied") || strings.Contains(text, "creator org unknown"):
		return " (the caller's certificate is not accepted on this channel: choose another --as or --identity)"
	case code == codes.Unavailable:
		return " (the peer does not answer)"
	case code == codes.DeadlineExceeded:
		return " (no answer in time)"
	}
	return ""
}
