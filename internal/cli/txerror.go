package cli

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	pb "github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"google.golang.org/grpc/codes"

	"heddle.dev/heddle/internal/fabric/gateway"
)

// explainTx adds what to do next to a transaction's failure, and gives failures that pass by themselves a code of
// their own.
func explainTx(err error) error {
	var e *gateway.Error
	if !errors.As(err, &e) {
		return err
	}
	if words := contractWords(e); words != "" && e.Refused() {
		return withCode(ExitFailed, fmt.Errorf("the contract refused: %s", words))
	}
	if hint := txRemedy(e); hint != "" {
		err = fmt.Errorf("%w: %s", err, hint)
	}
	if e.Retry() {
		return withCode(ExitNotReady, err)
	}
	return err
}

// contractWords are the contract's own: an answer, not a fault.
func contractWords(e *gateway.Error) string {
	var said []string
	for _, n := range e.Nodes {
		answer, ok := strings.CutPrefix(n.Message, "chaincode response ")
		if !ok {
			continue
		}
		if _, words, ok := strings.Cut(answer, ", "); ok {
			answer = words
		}
		if !slices.Contains(said, answer) {
			said = append(said, answer)
		}
	}
	return strings.Join(said, "; ")
}

// txRemedy says what a person can do about a failure; empty where the words of the nodes say it all.
func txRemedy(e *gateway.Error) string {
	var words []string
	words = append(words, e.Message)
	for _, n := range e.Nodes {
		words = append(words, n.Message)
	}
	text := strings.Join(words, "\n")
	has := func(s string) bool { return strings.Contains(text, s) }
	switch {
	case e.Stage == gateway.StageCommit:
		return commitRemedy(e.Validation)
	case has("must call as init first"):
		return "the contract wants to be initialised first: submit its first transaction with --init"
	case has("is already initialized but called as init"), has("does not require initialization but called as init"):
		return "leave --init out"
	case has("no combination of peers can be derived"):
		return "too few peers that can endorse are known yet: they have to be up and to have joined the channel"
	case has("no peers available to evaluate chaincode") || has("chaincode definition for") || has("make sure the chaincode") || has("is not installed"):
		return "the contract is not committed on this channel, or not installed on this peer: look at the Chaincode object"
	case has("channel") && has("not found"):
		return "the peer has not joined the channel: look at the Channel object"
	case has("creator org unknown") || has("access denied"):
		return "the caller's certificate is not accepted on this channel: choose another --as or --identity"
	case e.Code == codes.Unavailable:
		return "the peer or the orderers do not answer: look at 'status'"
	}
	return ""
}

func commitRemedy(code pb.TxValidationCode) string {
	switch code {
	case pb.TxValidationCode_MVCC_READ_CONFLICT, pb.TxValidationCode_PHANTOM_READ_CONFLICT:
		return "it changed nothing, because another transaction changed the same keys first: submit it again"
	case pb.TxValidationCode_ENDORSEMENT_POLICY_FAILURE:
		return "it changed nothing, because too few organisations endorsed it: look at the contract's endorsement policy"
	}
	return "it changed nothing"
}
