package cli

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	pb "github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"google.golang.org/grpc/codes"

	"heddle.dev/heddle/internal/fabric/gateway"
)

func TestExplainTx(t *testing.T) {
	node := func(message string) []gateway.NodeError {
		return []gateway.NodeError{{Address: "peer0-org1.demo:7051", MSPID: "Org1MSP", Message: message}}
	}
	for name, c := range map[string]struct {
		err  error
		code int
		want []string
	}{
		"no error": {code: ExitOK},
		"another error is left alone": {
			err: errors.New("other"), code: ExitFailed, want: []string{"other"},
		},
		"the contract's words": {
			err:  &gateway.Error{Stage: gateway.StageEndorse, Code: codes.Aborted, Nodes: node(`chaincode response 500, create asset "b1": it exists, already`)},
			code: ExitFailed, want: []string{`the contract refused: create asset "b1": it exists, already`},
		},
		"two nodes with the same words": {
			err: &gateway.Error{
				Stage: gateway.StageEndorse, Code: codes.Aborted,
				Nodes: append(node("chaincode response 500, no"), node("chaincode response 500, no")...),
			},
			code: ExitFailed, want: []string{"the contract refused: no"},
		},
		"one node refused, one is broken": {
			err: &gateway.Error{
				Stage: gateway.StageEndorse, Code: codes.Aborted,
				Nodes: append(node("chaincode response 500, no"), node("connection refused")...),
			},
			code: ExitFailed, want: []string{"the contract refused: no"},
		},
		"no such contract": {
			err:  &gateway.Error{Stage: gateway.StageEvaluate, Code: codes.FailedPrecondition, Message: "no peers available to evaluate chaincode x in channel demo"},
			code: ExitFailed, want: []string{"no peers available", "look at the Chaincode object"},
		},
		"endorsers are not known yet": {
			err:  &gateway.Error{Stage: gateway.StageEndorse, Code: codes.FailedPrecondition, Message: "no combination of peers can be derived which satisfy the endorsement policy"},
			code: ExitFailed, want: []string{"too few peers that can endorse"},
		},
		"peer is away": {
			err:  fmt.Errorf("wrapped: %w", &gateway.Error{Stage: gateway.StageEndorse, Code: codes.Unavailable, Message: "connection refused"}),
			code: ExitNotReady, want: []string{"do not answer"},
		},
		"met another transaction": {
			err:  &gateway.Error{Stage: gateway.StageCommit, TxID: "abc", Validation: pb.TxValidationCode_MVCC_READ_CONFLICT, Message: "the peers judged it MVCC_READ_CONFLICT"},
			code: ExitNotReady, want: []string{"MVCC_READ_CONFLICT", "submit it again"},
		},
		"endorsed by too few": {
			err:  &gateway.Error{Stage: gateway.StageCommit, Validation: pb.TxValidationCode_ENDORSEMENT_POLICY_FAILURE, Message: "the peers judged it so"},
			code: ExitFailed, want: []string{"too few organisations endorsed it"},
		},
		"foreign certificate": {
			err:  &gateway.Error{Stage: gateway.StageEvaluate, Code: codes.Unknown, Nodes: node("error validating proposal: access denied: channel [demo] creator org [XMSP]")},
			code: ExitFailed, want: []string{"choose another --as or --identity"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			err := explainTx(c.err)
			if code := exitCode(t.Context(), err); code != c.code {
				t.Errorf("exit code %d, want %d", code, c.code)
			}
			for _, part := range c.want {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%q lacks %q", err, part)
				}
			}
		})
	}
}
