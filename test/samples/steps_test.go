package samples

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"heddle.dev/heddle/internal/fabric/gateway"
	"heddle.dev/heddle/test/bare"
)

// settleTime is for how long peers may be behind one another.
const settleTime = 20 * time.Second

// step is a call with all that has to come of it.
type step struct {
	// by is who calls: alice of Org1 or bob of Org2.
	by int
	// call names the transaction and its arguments, divided by blanks; "-" is an empty argument.
	call string
	// ask evaluates it, else it is submitted.
	ask       bool
	transient map[string]string
	// endorsers are the MSP ids of who endorses; left out, the gateway chooses.
	endorsers []string
	// want is the result, byte by byte; with refused it is a part of what is said.
	want    string
	refused bool
	// event and payload are what listeners hear.
	event, payload string
}

const alice, bob = 0, 1

// heard is an event of a contract.
type heard struct{ Name, Payload string }

// run takes a contract through the steps and compares its events at the end.
func run(ctx context.Context, t *testing.T, contract string, users []user, steps []step) {
	t.Helper()
	var want []heard
	var first uint64
	for i, s := range steps {
		name := fmt.Sprintf("step %d, %s", i, s.call)
		block, err := s.do(ctx, contract, users[s.by])
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if first == 0 {
			first = block
		}
		if s.event != "" {
			want = append(want, heard{s.event, s.payload})
		}
	}
	got, err := listen(ctx, contract, users[0], first, len(want))
	ok(t, err)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("events: %s", diff)
	}
}

func listen(ctx context.Context, contract string, u user, from uint64, count int) ([]heard, error) {
	ctx, cancel := context.WithTimeout(ctx, settleTime)
	defer cancel()
	events, err := u.gateway.Events(ctx, channel, contract, from)
	if err != nil {
		return nil, err
	}
	var out []heard
	for len(out) < count {
		e, open := <-events
		if !open {
			return out, nil
		}
		out = append(out, heard{e.Name, string(e.Payload)})
	}
	return out, nil
}

// do returns the block of what was submitted. Until the time is up an answer that is not the wanted one may come of a peer
// that is behind.
func (s step) do(ctx context.Context, contract string, u user) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, settleTime)
	defer cancel()
	words := strings.Fields(s.call)
	call := gateway.Call{Channel: channel, Contract: contract, Function: words[0], Endorsers: s.endorsers}
	for _, w := range words[1:] {
		if w == "-" {
			w = ""
		}
		call.Args = append(call.Args, []byte(w))
	}
	if s.transient != nil {
		call.Transient = map[string][]byte{}
	}
	for name, value := range s.transient {
		call.Transient[name] = []byte(value)
	}
	var block uint64
	var last error
	err := bare.Eventually(ctx, func() error {
		var got []byte
		var err error
		if s.ask {
			got, err = u.gateway.Evaluate(ctx, call)
		} else {
			var result gateway.Result
			result, err = u.gateway.Submit(ctx, call)
			got, block = result.Payload, result.Block
		}
		err = s.judge(string(got), err)
		if ctx.Err() == nil {
			last = err
		}
		return err
	})
	if err != nil {
		return 0, last
	}
	return block, nil
}

func (s step) judge(got string, err error) error {
	switch {
	case !s.refused && err != nil:
		return err
	case !s.refused && got != s.want:
		return fmt.Errorf("got %s, want %s", got, s.want)
	case s.refused && err == nil:
		return fmt.Errorf("was not refused: %s", got)
	case s.refused && !strings.Contains(err.Error(), s.want):
		return fmt.Errorf("said %w, want %q in it", err, s.want)
	}
	return nil
}
