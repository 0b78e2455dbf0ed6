package bare

import (
	"context"
	"fmt"
	"testing"
	"time"

	"heddle.dev/heddle/internal/fabric/admin"
	"heddle.dev/heddle/internal/fabric/channelconfig"
	"heddle.dev/heddle/internal/fabric/gateway"
)

// TestNetwork takes both kinds of consensus from nothing to a committed
// transaction.
func TestNetwork(t *testing.T) {
	programs := Require(t)
	contract := BuildContract(t)
	for name, options := range map[string]Options{
		"raft-3": {Consensus: channelconfig.Raft, Orderers: 3, Orgs: []string{"banka", "bankb"}},
		"bft-4":  {Consensus: channelconfig.BFT, Orderers: 4, Orgs: []string{"banka", "bankb"}},
	} {
		t.Run(name, func(t *testing.T) {
			if options.Consensus == channelconfig.BFT {
				RequireReal(t)
			}
			options.Dir = t.TempDir()
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
			defer cancel()
			begun := time.Now()
			lap := func(what string) { t.Logf("%6.2fs %s", time.Since(begun).Seconds(), what) }
			n, err := Start(ctx, programs, options)
			if err != nil {
				t.Fatal(err)
			}
			defer n.Close()
			lap("nodes are healthy")
			if err := n.CreateChannel(ctx); err != nil {
				t.Fatal(err)
			}
			lap("channel is made")
			if _, err := n.Deploy(ctx, "asset", contract, admin.Definition{}); err != nil {
				t.Fatal(err)
			}
			lap("contract is committed")
			client, err := n.Client(n.Peers[0])
			if err != nil {
				t.Fatal(err)
			}
			// The organisations' peers tell each other of the contract by gossip: until then there are not enough endorsers.
			var result gateway.Result
			err = Eventually(ctx, func() (err error) {
				result, err = client.Submit(ctx, gateway.Call{Channel: "trade", Contract: "asset", Function: "Create", Args: bytesOf("a1", "alice", "5")})
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			lap(fmt.Sprintf("first transaction %.12s in block %d", result.TxID, result.Block))
			read, err := client.Evaluate(ctx, gateway.Call{Channel: "trade", Contract: "asset", Function: "Read", Args: bytesOf("a1")})
			if err != nil {
				t.Fatal(err)
			}
			lap(string(read))
		})
	}
}

func bytesOf(words ...string) [][]byte {
	out := make([][]byte, 0, len(words))
	for _, w := range words {
		out = append(out, []byte(w))
	}
	return out
}
