package gateway

import (
	"errors"
	"fmt"
	"testing"

	pb "github.com/hyperledger/fabric-protos-go-apiv2/peer"
)

func TestOvertaken(t *testing.T) {
	for name, c := range map[string]struct {
		err  error
		want bool
	}{
		"read conflict":    {&Error{Stage: StageCommit, Validation: pb.TxValidationCode_MVCC_READ_CONFLICT}, true},
		"phantom":          {&Error{Stage: StageCommit, Validation: pb.TxValidationCode_PHANTOM_READ_CONFLICT}, true},
		"wrapped":          {fmt.Errorf("commit: %w", &Error{Validation: pb.TxValidationCode_MVCC_READ_CONFLICT}), true},
		"policy":           {&Error{Stage: StageCommit, Validation: pb.TxValidationCode_ENDORSEMENT_POLICY_FAILURE}, false},
		"never got so far": {&Error{Stage: StageEndorse}, false},
		"other":            {errors.New("MVCC_READ_CONFLICT"), false},
	} {
		if got := Overtaken(c.err); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}
