package e2e

import (
	"strings"
	"testing"
	"time"
)

// TestContractDeletedUnderCall: pods of a contract that are deleted without grace while they work, or just before a call,
// cost the caller an error at most. Nobody waits for a connection that nobody holds any more, which lasts 20 s.
func TestContractDeletedUnderCall(t *testing.T) {
	ctx, c, s := faultyLab(t, 10*time.Minute, "under-call")
	cc := deployFaulty(ctx, t, c, s, "first")
	pongs(ctx, t, c, s)

	for _, pause := range []time.Duration{0, 100 * time.Millisecond, 300 * time.Millisecond, 700 * time.Millisecond, 1200 * time.Millisecond, 2 * time.Second} {
		deleteAtOnce(ctx, t, c, launched(ctx, t, c, cc))
		time.Sleep(pause)
		// The first call may meet the end; it is told so at once.
		if out, err := evaluateAt(ctx, c, s, "banka", "Ping", "--timeout", "15s"); err != nil && !strings.Contains(out, "chaincode stream terminated") {
			t.Errorf("%s after the pods were deleted: %v\n%s", pause, err, out)
		}
		eventually(ctx, t, "the contract answers again", func() error {
			_, err := evaluateAt(ctx, c, s, "banka", "Ping", "--timeout", "15s")
			return err
		})
	}

	type answer struct {
		out string
		err error
	}
	answers := make(chan answer, 1)
	go func() {
		out, err := evaluateAt(ctx, c, s, "banka", "Slow", "25s", "--timeout", "15s")
		answers <- answer{out, err}
	}()
	eventually(ctx, t, "the call has arrived", func() error { return says(ctx, c, s, cc, "faulty takes 25s") })
	deleteAtOnce(ctx, t, c, launched(ctx, t, c, cc))
	a := <-answers
	if a.err == nil || !strings.Contains(a.out, "chaincode stream terminated") {
		t.Errorf("a call whose contract was deleted: %v\n%s", a.err, a.out)
	}
	pongs(ctx, t, c, s)
}
