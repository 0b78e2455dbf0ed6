package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"heddle.dev/heddle/internal/cli/output"
	"heddle.dev/heddle/internal/fabric/gateway"
)

// txFlags are the flags of tx submit and tx evaluate.
type txFlags struct {
	as        string
	identity  string
	peer      string
	inCluster bool
	transient []string
	endorsers []string
	events    bool
	init      bool
	timeout   time.Duration
}

func (a *app) txCommand() *cobra.Command {
	c := group("tx", "Submit and evaluate transactions", a.txSubmitCommand(), a.txEvaluateCommand())
	c.Aliases = []string{"transaction"}
	return c
}

func (a *app) txSubmitCommand() *cobra.Command {
	f := &txFlags{}
	c := &cobra.Command{
		Use:   "submit NETWORK/CHANNEL/CONTRACT FUNCTION [ARGUMENT…]",
		Short: "Submit a transaction and wait until it is committed",
		Long: `Calls a function of a contract, has the result endorsed, ordered and committed, and prints the transaction's ID and
block. The peer is reached by a port forwarded through the API server, so it works with any kubeconfig.`,
		Example: a.text(`  %[1]s tx submit demo/demo/asset Create a1 alice 100
  %[1]s tx submit demo/demo/asset Transfer a1 bob --as org2 --events
  %[1]s tx submit trade/deals/asset Create a2 carol 7 --identity shop/cashier -o json`),
		Args:              arguments(2, -1),
		ValidArgsFunction: a.completeContracts,
		RunE: func(c *cobra.Command, args []string) error {
			return a.submit(c.Context(), f, args)
		},
	}
	a.txFlags(c, f)
	c.Flags().StringSliceVar(&f.endorsers, "endorsers", nil, "MSP IDs whose peers shall endorse (the gateway chooses unless given)")
	c.Flags().BoolVar(&f.init, "init", false, "this is the transaction that initialises a contract deployed with --init")
	c.Flags().BoolVar(&f.events, "events", false, "print the event that the transaction emitted")
	return c
}

func (a *app) txEvaluateCommand() *cobra.Command {
	f := &txFlags{}
	c := &cobra.Command{
		Use:   "evaluate NETWORK/CHANNEL/CONTRACT FUNCTION [ARGUMENT…]",
		Short: "Ask a contract without writing anything",
		Example: a.text(`  %[1]s tx evaluate demo/demo/asset Read a1
  %[1]s tx evaluate demo/demo/asset List 10 '' --as org2`),
		Args:              arguments(2, -1),
		ValidArgsFunction: a.completeContracts,
		RunE: func(c *cobra.Command, args []string) error {
			return a.evaluate(c.Context(), f, args)
		},
	}
	a.txFlags(c, f)
	return c
}

func (a *app) txFlags(c *cobra.Command, f *txFlags) {
	fl := c.Flags()
	fl.StringVar(&f.as, "as", "", "organisation whose administrator calls (the channel's first unless given)")
	fl.StringVar(&f.identity, "identity", "", "Identity that calls, as NAMESPACE/NAME or NAME in the network's namespace")
	fl.StringVar(&f.peer, "peer", "", "peer to call through (a Ready one of the caller's organisation unless given)")
	fl.BoolVar(&f.inCluster, "in-cluster", false, "dial the peer's Service directly, from a pod in a permitted namespace")
	fl.StringArrayVar(&f.transient, "transient", nil, "data that does not go on the ledger, as KEY=VALUE or KEY=@FILE; repeat for each")
	fl.DurationVar(&f.timeout, "timeout", 90*time.Second, "how long to wait")
	// The only error is a flag that does not exist.
	_ = c.RegisterFlagCompletionFunc("as", a.completeOrganizations(func(args []string) string {
		if len(args) == 0 {
			return ""
		}
		network, _, _ := strings.Cut(args[0], "/")
		return network
	}))
}

// contractRef is NETWORK/CHANNEL/CONTRACT.
type contractRef struct{ network, channel, contract string }

func parseContract(s string) (contractRef, error) {
	parts := strings.Split(s, "/")
	if len(parts) != 3 || parts[0] == "" || parts[1] == "" || parts[2] == "" {
		return contractRef{}, usageErrorf("%q is not NETWORK/CHANNEL/CONTRACT, such as demo/demo/asset", s)
	}
	return contractRef{network: parts[0], channel: parts[1], contract: parts[2]}, nil
}

// call makes the transaction from the command line.
func (f *txFlags) call(ref contractRef, args []string) (gateway.Call, error) {
	transient, err := parseTransient(f.transient)
	if err != nil {
		return gateway.Call{}, err
	}
	call := gateway.Call{
		Channel: ref.channel, Contract: ref.contract, Function: args[0], Transient: transient, Endorsers: f.endorsers, Init: f.init,
	}
	for _, arg := range args[1:] {
		call.Args = append(call.Args, []byte(arg))
	}
	return call, nil
}

// maxTransient bounds a file of --transient: a gRPC message could not carry more.
const maxTransient = 64 << 20

func parseTransient(values []string) (map[string][]byte, error) {
	out := make(map[string][]byte, len(values))
	for _, v := range values {
		key, value, ok := strings.Cut(v, "=")
		if !ok || key == "" {
			return nil, usageErrorf("--transient %q: the form is KEY=VALUE or KEY=@FILE", v)
		}
		file, isFile := strings.CutPrefix(value, "@")
		if !isFile {
			out[key] = []byte(value)
			continue
		}
		b, err := readBounded(file, maxTransient)
		if err != nil {
			return nil, fmt.Errorf("read --transient %s: %w", key, err)
		}
		out[key] = b
	}
	return out, nil
}

func readBounded(file string, most int64) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(b)) > most {
		return nil, fmt.Errorf("%s is larger than %d bytes", file, most)
	}
	return b, err
}

// txResult is what is printed of a transaction.
type txResult struct {
	TransactionID string `json:"transactionID,omitempty"`
	// BlockNumber is left out of an evaluation.
	BlockNumber *uint64 `json:"blockNumber,omitempty"`
	// Result is the contract's answer: as it is where it is JSON, else as a string.
	Result json.RawMessage `json:"result,omitempty"`
	Event  *txEvent        `json:"event,omitempty"`
}

type txEvent struct {
	Name    string          `json:"name"`
	Payload json.RawMessage `json:"payload,omitempty"`
}

func (a *app) submit(ctx context.Context, f *txFlags, args []string) error {
	return a.transact(ctx, f, args, func(ctx context.Context, gw *gateway.Gateway, call gateway.Call) error {
		r, err := gw.Submit(ctx, call)
		if err != nil {
			return err
		}
		var event *gateway.Event
		if f.events {
			if event, err = eventOf(ctx, gw, call, r); err != nil {
				return err
			}
		}
		return a.print(receiptDocument(r, event))
	})
}

// eventTimeout bounds the wait for the event of a block that is committed already.
const eventTimeout = 5 * time.Second

// eventOf reads the event of a committed transaction; nil where it emitted none.
func eventOf(ctx context.Context, gw *gateway.Gateway, call gateway.Call, r gateway.Result) (*gateway.Event, error) {
	ctx, cancel := context.WithTimeout(ctx, eventTimeout)
	defer cancel()
	events, err := gw.Events(ctx, call.Channel, call.Contract, r.Block)
	if err != nil {
		return nil, err
	}
	for e := range events {
		if e.TxID == r.TxID {
			return &e, nil
		}
		if e.Block > r.Block {
			break
		}
	}
	return nil, nil
}

func receiptDocument(r gateway.Result, event *gateway.Event) output.Document {
	res := txResult{TransactionID: r.TxID, BlockNumber: &r.Block, Result: jsonOf(r.Payload)}
	rows := [][]string{
		{"transaction", r.TxID},
		{"block", strconv.FormatUint(r.Block, 10)},
	}
	if len(r.Payload) > 0 {
		rows = append(rows, []string{"result", string(r.Payload)})
	}
	if event != nil {
		res.Event = &txEvent{Name: event.Name, Payload: jsonOf(event.Payload)}
		rows = append(rows, []string{"event", event.Name + " " + string(event.Payload)})
	}
	return output.Document{Value: res, Names: []string{r.TxID}, Table: func(w io.Writer) error {
		return output.Table(w, nil, rows)
	}}
}

func (a *app) evaluate(ctx context.Context, f *txFlags, args []string) error {
	return a.transact(ctx, f, args, func(ctx context.Context, gw *gateway.Gateway, call gateway.Call) error {
		b, err := gw.Evaluate(ctx, call)
		if err != nil {
			return err
		}
		return a.print(output.Document{
			Value: txResult{Result: jsonOf(b)},
			Names: []string{string(b)},
			Table: func(w io.Writer) error {
				_, err := fmt.Fprintf(w, "%s\n", b)
				return err
			},
		})
	})
}

// transact opens the way to a peer and runs one call over it.
func (a *app) transact(ctx context.Context, f *txFlags, args []string, run func(context.Context, *gateway.Gateway, gateway.Call) error) error {
	if f.as != "" && f.identity != "" {
		return usageErrorf("--as and --identity do not go together: one caller signs a transaction")
	}
	ref, err := parseContract(args[0])
	if err != nil {
		return err
	}
	call, err := f.call(ref, args[1:])
	if err != nil {
		return err
	}
	cl, err := a.connect()
	if err != nil {
		return err
	}
	callCtx, cancel := context.WithTimeout(ctx, f.timeout)
	defer cancel()
	err = a.progress().Step(callCtx, "transaction", func(ctx context.Context, note func(string)) error {
		note("looking for a peer")
		gw, err := cl.openGateway(ctx, f, &call, ref)
		if err != nil {
			return err
		}
		defer gw.Close()
		note("waiting for the network's answer")
		return run(ctx, gw.Gateway, call)
	})
	return explainTx(cl.explainLaunch(ctx, ref, err))
}

// jsonOf keeps JSON as it is and makes a string of everything else.
func jsonOf(b []byte) json.RawMessage {
	if len(b) == 0 {
		return nil
	}
	if json.Valid(b) {
		return b
	}
	if !utf8.Valid(b) {
		// encoding/json writes bytes in base64.
		text, err := json.Marshal(b)
		if err == nil {
			return text
		}
	}
	text, err := json.Marshal(string(b))
	if err != nil {
		return nil
	}
	return text
}
