package gateway

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/hyperledger/fabric-gateway/pkg/client"
	gwproto "github.com/hyperledger/fabric-protos-go-apiv2/gateway"
	pb "github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Error is a transaction's failure, flattened.
type Error struct {
	// Stage is where it failed.
	Stage Stage
	// TxID of the transaction, if it got one.
	TxID string
	// Code is gRPC's kind of the failure.
	Code codes.Code
	// Validation is the peers' verdict when Stage is StageCommit.
	Validation pb.TxValidationCode
	// Message is the gateway's own sentence.
	Message string
	// Nodes are what single nodes said.
	Nodes []NodeError

	cause error
}

// NodeError is what one node said.
type NodeError struct {
	Address, MSPID, Message string
}

// Stage of a transaction.
type Stage string

// The stages.
const (
	StageEvaluate Stage = "evaluate"
	StageEndorse  Stage = "endorse"
	StageSubmit   Stage = "submit"
	StageStatus   Stage = "commit status"
	StageCommit   Stage = "commit"
)

// Error is one sentence.
func (e *Error) Error() string {
	var out strings.Builder
	fmt.Fprintf(&out, "%s transaction", e.Stage)
	if e.TxID != "" {
		fmt.Fprintf(&out, " %.12s", e.TxID)
	}
	if len(e.Nodes) == 0 {
		fmt.Fprintf(&out, ": %s", clean(e.Message))
		return out.String()
	}
	for i, node := range e.Nodes {
		separator := ": "
		if i > 0 {
			separator = "; "
		}
		fmt.Fprintf(&out, "%s%s (%s) says: %s", separator, node.Address, node.MSPID, clean(node.Message))
	}
	return out.String()
}

// Unwrap is the gateway client's own error.
func (e *Error) Unwrap() error { return e.cause }

// Overtaken tells whether an error is that another transaction changed first what this one had read.
func Overtaken(err error) bool {
	var e *Error
	return errors.As(err, &e) && (e.Validation == pb.TxValidationCode_MVCC_READ_CONFLICT || e.Validation == pb.TxValidationCode_PHANTOM_READ_CONFLICT)
}

// Refused tells whether the contract itself said no: the same call would get
// the same answer.
func (e *Error) Refused() bool {
	return slices.ContainsFunc(e.Nodes, func(n NodeError) bool { return strings.HasPrefix(n.Message, "chaincode response") })
}

// Retry tells whether the transaction may be tried again as a new one: it was
// not ordered, or it met a concurrent one.
func (e *Error) Retry() bool {
	if e.Refused() {
		return false
	}
	switch e.Stage {
	case StageCommit:
		return Overtaken(e)
	case StageStatus:
		return false
	}
	switch e.Code {
	case codes.Unavailable, codes.Aborted, codes.DeadlineExceeded, codes.ResourceExhausted:
		return true
	}
	return false
}

// Explain flattens an error of the gateway client. Anything else, and nil, is
// returned as it is.
func Explain(err error) error { return explain("", err) }

func explain(stage Stage, err error) error {
	var done *Error
	if err == nil || errors.As(err, &done) {
		return err
	}
	out := &Error{Stage: stage, cause: err}
	var endorse *client.EndorseError
	var submit *client.SubmitError
	var commitStatus *client.CommitStatusError
	var commit *client.CommitError
	switch {
	case errors.As(err, &commit):
		out.Stage, out.TxID, out.Validation = StageCommit, commit.TransactionID, commit.Code
		out.Message = fmt.Sprintf("the peers judged it %s", commit.Code)
		return out
	case errors.As(err, &endorse):
		out.Stage, out.TxID = StageEndorse, endorse.TransactionID
	case errors.As(err, &submit):
		out.Stage, out.TxID = StageSubmit, submit.TransactionID
	case errors.As(err, &commitStatus):
		out.Stage, out.TxID = StageStatus, commitStatus.TransactionID
	case stage == "":
		return err
	}
	info, ok := status.FromError(err)
	if !ok {
		out.Code, out.Message = codes.Unknown, err.Error()
		return out
	}
	out.Code, out.Message = info.Code(), info.Message()
	// A client's own error repeats the status in many words; the text below it
	// is the shortest.
	var inner interface{ GRPCStatus() *status.Status }
	if errors.As(err, &inner) {
		out.Message = inner.GRPCStatus().Message()
	}
	for _, detail := range info.Details() {
		if node, ok := detail.(*gwproto.ErrorDetail); ok {
			out.Nodes = append(out.Nodes, NodeError{Address: node.GetAddress(), MSPID: node.GetMspId(), Message: node.GetMessage()})
		}
	}
	return out
}

// clean makes one line without the frames that servers put around a message.
func clean(text string) string {
	return strings.TrimSuffix(strings.Join(strings.Fields(text), " "), ".")
}
