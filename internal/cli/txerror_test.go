package cli

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	pb "github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"google.golang.org/grpc/codes"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"heddle.dev/heddle/api/v1alpha1"
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
		"not initialised": {
			err:  &gateway.Error{Stage: gateway.StageEndorse, Code: codes.Aborted, Nodes: node("chaincode 'asset' has not been initialized for this version, must call as init first")},
			code: ExitNotReady, want: []string{"with --init"},
		},
		"initialised twice": {
			err:  &gateway.Error{Stage: gateway.StageEvaluate, Code: codes.Unknown, Nodes: node("chaincode 'asset' is already initialized but called as init")},
			code: ExitFailed, want: []string{"leave --init out"},
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

func TestLaunchFailed(t *testing.T) {
	for name, c := range map[string]struct {
		err  gateway.Error
		want bool
	}{
		"at one peer":     {gateway.Error{Nodes: []gateway.NodeError{{Message: "error in simulation: could not launch chaincode asset:00: chaincode registration failed: container exited with 1"}}}, true},
		"by the gateway":  {gateway.Error{Message: "evaluate call to endorser returned error: chaincode registration failed: container exited with 1"}, true},
		"something else":  {gateway.Error{Nodes: []gateway.NodeError{{Message: "chaincode response 500, no"}}}, false},
		"nothing is said": {},
	} {
		t.Run(name, func(t *testing.T) {
			if got := launchFailed(&c.err); got != c.want {
				t.Errorf("got %v", got)
			}
		})
	}
}

func TestLaunchWords(t *testing.T) {
	now := time.Unix(1000, 0)
	ended := func(reason string, ago time.Duration) v1alpha1.ChaincodeLaunch {
		at := metav1.NewTime(now.Add(-ago))
		return v1alpha1.ChaincodeLaunch{Peer: "peer0-org1", Reason: reason, EndedAt: &at}
	}
	for name, c := range map[string]struct {
		launches []v1alpha1.ChaincodeLaunch
		want     string
	}{
		"none":               {nil, ""},
		"it runs":            {[]v1alpha1.ChaincodeLaunch{{Peer: "peer0-org1"}}, ""},
		"no image":           {[]v1alpha1.ChaincodeLaunch{ended("ErrImagePull: not found", time.Second)}, "peer0-org1 could not start the contract: ErrImagePull: not found"},
		"the newest of two":  {[]v1alpha1.ChaincodeLaunch{ended("Error: exit code 3: b", time.Second), ended("Error: exit code 2: a", time.Minute)}, "peer0-org1 could not start the contract: Error: exit code 3: b"},
		"long ago":           {[]v1alpha1.ChaincodeLaunch{ended("ErrImagePull: not found", time.Hour)}, ""},
		"deleted":            {[]v1alpha1.ChaincodeLaunch{ended("Deleted", time.Second)}, ""},
		"idle":               {[]v1alpha1.ChaincodeLaunch{ended("Idle: nobody called it", time.Second)}, ""},
		"nobody saw the end": {[]v1alpha1.ChaincodeLaunch{ended("Unknown: away", time.Second), ended("OOMKilled: exit code 137", time.Second)}, "peer0-org1 could not start the contract: OOMKilled: exit code 137"},
	} {
		t.Run(name, func(t *testing.T) {
			cc := &v1alpha1.Chaincode{Status: v1alpha1.ChaincodeStatus{Launches: c.launches}}
			if got := launchWords(cc, now); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}
