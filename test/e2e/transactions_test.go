package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"heddle.dev/heddle/test/harness"
)

// settle bounds how long a peer may be behind another one, and how often a call is made again that "heddle tx" says may
// succeed a moment later.
const settle = 40 * time.Second

const (
	// exitNotReady is what "heddle tx" ends with then.
	exitNotReady = 3
	// contractRefused is what it says when an endorser's contract returned an error.
	contractRefused = "the contract refused"
)

// transaction is one "heddle tx" with what has to come of it.
type transaction struct {
	// submit it, else evaluate it.
	submit bool
	// flags say who calls, with what; call is the function with its arguments, divided by blanks; "-" is an empty one, "@"
	// the bookmark that the call before gave.
	flags []string
	call  string
	// want is the result, as compact JSON or as the text that it is, with "…" for any bookmark, which is the database's own
	// matter. With refused it is a part of what is said.
	want    string
	refused bool
}

var bookmarks = regexp.MustCompile(`"bookmark":"([^"]+)"`)

// do makes the call until the answer is the wanted one: peers may be behind one another. It returns the answer's bookmark.
func (x transaction) do(ctx context.Context, c *harness.Cluster, contract, bookmark string) (string, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, settle, fmt.Errorf("it was asked for %s", settle))
	defer cancel()
	verb := "evaluate"
	if x.submit {
		verb = "submit"
	}
	words := strings.Fields(x.call)
	for i := range words {
		switch words[i] {
		case "-":
			words[i] = ""
		case "@":
			words[i] = bookmark
		}
	}
	args := slices.Concat([]string{"tx", verb, contract}, words, x.flags, []string{"--quiet", "-o", "json"})
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for {
		out, err := c.Heddle(ctx, args...)
		bookmark, wrong := x.judge(out, err)
		var exit *exec.ExitError
		// What a contract refuses was not submitted.
		again := !x.submit || errors.As(err, &exit) && (exit.ExitCode() == exitNotReady || !x.refused && strings.Contains(out, contractRefused))
		if wrong == nil || !again {
			return bookmark, wrong
		}
		select {
		case <-ctx.Done():
			return "", fmt.Errorf("%w (%w)", wrong, context.Cause(ctx))
		case <-tick.C:
		}
	}
}

func (x transaction) judge(out string, err error) (string, error) {
	if x.refused {
		if err == nil || !strings.Contains(out, x.want) {
			return "", fmt.Errorf("%s: said %s (%w), want to be refused with %q", x.call, out, err, x.want)
		}
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("%s: %w\n%s", x.call, err, out)
	}
	var answer struct{ Result json.RawMessage }
	if err := json.Unmarshal([]byte(out), &answer); err != nil {
		return "", fmt.Errorf("%s: %w in %s", x.call, err, out)
	}
	got, bookmark := compact(answer.Result), ""
	if found := bookmarks.FindStringSubmatch(got); found != nil {
		got, bookmark = strings.Replace(got, found[0], `"bookmark":"…"`, 1), found[1]
	}
	if got != x.want {
		return "", fmt.Errorf("%s: got %s, want %s", x.call, got, x.want)
	}
	return bookmark, nil
}

// compact is JSON without blanks, and a string without quotes.
func compact(raw json.RawMessage) string {
	var text string
	if len(raw) == 0 || json.Unmarshal(raw, &text) == nil {
		return text
	}
	var out bytes.Buffer
	if err := json.Compact(&out, raw); err != nil {
		return string(raw)
	}
	return out.String()
}

// transact makes the calls in turn; contract is NETWORK/CHANNEL/CONTRACT.
func transact(ctx context.Context, t *testing.T, c *harness.Cluster, contract string, steps ...transaction) {
	t.Helper()
	bookmark := ""
	for i, s := range steps {
		var err error
		if bookmark, err = s.do(ctx, c, contract, bookmark); err != nil {
			t.Fatalf("%s, call %d: %v", contract, i+1, err)
		}
	}
}

// side runs subtests in order, a few of them at a time.
func side(t *testing.T, atOnce int, names []string, body func(t *testing.T, name string)) {
	t.Helper()
	var all sync.WaitGroup
	turn := make(chan struct{}, atOnce)
	for _, name := range names {
		turn <- struct{}{}
		all.Go(func() {
			defer func() { <-turn }()
			t.Run(name, func(t *testing.T) { body(t, name) })
		})
	}
	all.Wait()
}
