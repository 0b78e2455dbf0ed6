package differential

import (
	"context"
	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"

	"heddle.dev/heddle/internal/fabric/nodeenv"
	"heddle.dev/heddle/test/bare"
)

var (
	update = flag.Bool("update", false, "record what real nodes answer")
	report = flag.String("report", "", "file that takes the differences, in Markdown")
)

// scenario is one case.
type scenario struct {
	name string
	run  func(r *recorder)
	// skip says why this network cannot run it; empty if it can.
	skip func(l *lab) string
	// alone keeps its transactions out of other cases' blocks: a real peer may hang or end over a valid transaction
	// that comes after one of those in a block.
	alone bool
	// refusable is for what stand-ins may refuse by name, as unimplemented: snapshots.
	refusable bool
}

// alone marks cases.
func alone(list ...scenario) []scenario {
	for i := range list {
		list[i].alone = true
	}
	return list
}

// outcome of a case.
type outcome struct{ name, result, detail string }

func scenarios() []scenario {
	var all []scenario
	for _, part := range [][]scenario{
		transactions(), queries(), responses(), verdicts(), forgeries(), denials(), proposals(), envelopes(), deliveries(), participations(),
		lifecycles(), systemContracts(), gateways(), discoveries(), secrets(), keyPolicies(), operations(), disruptive(),
	} {
		all = append(all, part...)
	}
	return all
}

// TestReal runs all cases on real nodes.
func TestReal(t *testing.T) {
	runAll(t, bare.RequireReal(t), setup{record: *update, scenarios: scenarios()})
}

// TestSimulated runs all cases on stand-in nodes.
func TestSimulated(t *testing.T) {
	runAll(t, bare.RequireSimulated(t), setup{scenarios: scenarios()})
}

// setup says what runs, and on which kind of network.
type setup struct {
	scenarios []scenario
	// record takes what the nodes answer as what is right.
	record bool
	// peerEnv gives peers further variables; optional.
	peerEnv func(peer string) []nodeenv.Var
}

func runAll(t *testing.T, programs bare.Programs, what setup) {
	t.Helper()
	began := time.Now()
	contract := bare.BuildProgram(t, "test/differential/contract")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	l := openLab(ctx, t, programs, contract, what.peerEnv)
	var err error
	l.simulated, err = programs.Simulated(ctx)
	ok(t, err)
	if l.simulated && what.record {
		t.Fatal("only real nodes may be recorded")
	}
	var outcomes board
	// First all that can go on at once, then one by one what cannot.
	for _, together := range []bool{true, false} {
		t.Run(map[bool]string{true: "cases", false: "alone"}[together], func(t *testing.T) {
			for _, s := range what.scenarios {
				if s.alone == together {
					continue
				}
				t.Run(s.name, func(t *testing.T) {
					if together {
						t.Parallel()
					}
					outcomes.run(t, l, s, what.record)
				})
			}
		})
	}
	for _, c := range l.Contracts {
		if !c.Running() {
			t.Errorf("the contract %s ended; its log:\n%s", c.Name, c.Log())
		}
	}
	table(outcomes.list, time.Since(began))
	if *report != "" {
		ok(t, os.WriteFile(*report, []byte(differences(outcomes.list)), 0o644))
	}
}

// board collects outcomes.
type board struct {
	mu   sync.Mutex
	list []outcome
}

func (b *board) run(t *testing.T, l *lab, s scenario, replace bool) {
	t.Helper()
	o := outcome{s.name, "pass", ""}
	defer func() {
		if t.Failed() {
			o.result = "FAIL"
			if o.detail == "" {
				o.detail = "the case did not come to its end"
			}
		}
		b.mu.Lock()
		defer b.mu.Unlock()
		b.list = append(b.list, o)
	}()
	if s.skip != nil {
		if why := s.skip(l); why != "" {
			o.result, o.detail = "skip", why
			t.Skip(why)
		}
	}
	r := &recorder{T: t, lab: l, name: s.name}
	s.run(r)
	if s.refusable && l.simulated && slices.ContainsFunc(r.steps, func(s *step) bool { return s.Code == codes.Unimplemented.String() }) {
		o.result, o.detail = "skip", "these nodes say that they do not implement it"
		t.Skip(o.detail)
	}
	if o.detail = r.compare(replace); o.detail != "" {
		t.Errorf("differs from what real nodes answered (-want +got):\n%s", o.detail)
	}
}

// compare compares the record with the one of real nodes, or replaces it.
func (r *recorder) compare(replace bool) string {
	r.Helper()
	got, err := normal(r.steps)
	ok(r.T, err)
	file := filepath.Join("testdata", r.name+".json")
	if replace {
		text, err := json.MarshalIndent(got, "", "  ")
		ok(r.T, err)
		ok(r.T, os.WriteFile(file, append(text, '\n'), 0o644))
		return ""
	}
	text, err := os.ReadFile(file)
	ok(r.T, err)
	var want any
	ok(r.T, json.Unmarshal(text, &want))
	if diff := cmp.Diff(scrub(want, clean), got); diff != "" {
		whole, err := json.MarshalIndent(got, "", "  ")
		ok(r.T, err)
		return diff + "\nwhat these nodes answered:\n" + string(whole)
	}
	return ""
}

func table(outcomes []outcome, took time.Duration) {
	slices.SortFunc(outcomes, func(a, b outcome) int { return strings.Compare(a.name, b.name) })
	count := map[string]int{}
	for _, o := range outcomes {
		count[o.result]++
		why := ""
		if o.result == "skip" {
			why = o.detail
		}
		fmt.Printf("%-36s %s %s\n", o.name, o.result, why)
	}
	fmt.Printf("%d passed, %d failed, %d skipped in %.0f s\n", count["pass"], count["FAIL"], count["skip"], took.Seconds())
}

func differences(outcomes []outcome) string {
	var out strings.Builder
	fmt.Fprintf(&out, "# Differences from real nodes, %s\n\n", time.Now().UTC().Format(time.RFC3339))
	for _, o := range outcomes {
		if o.result == "FAIL" {
			fmt.Fprintf(&out, "- %s\n", o.name)
		}
	}
	for _, o := range outcomes {
		if o.result == "FAIL" {
			fmt.Fprintf(&out, "\n## %s\n\n```\n%s\n```\n", o.name, o.detail)
		}
	}
	return out.String()
}

func verified(cert *x509.Certificate, text, signature []byte) bool {
	key, isEC := cert.PublicKey.(*ecdsa.PublicKey)
	digest := sha256.Sum256(text)
	return isEC && ecdsa.VerifyASN1(key, digest[:], signature)
}
