package gateway_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	pb "github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"heddle.dev/heddle/internal/fabric/admin"
	"heddle.dev/heddle/internal/fabric/channelconfig"
	"heddle.dev/heddle/internal/fabric/gateway"
	"heddle.dev/heddle/test/bare"
)

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func call(function string, args ...string) gateway.Call {
	c := gateway.Call{Channel: "trade", Contract: "asset", Function: function}
	for _, arg := range args {
		c.Args = append(c.Args, []byte(arg))
	}
	return c
}

func TestGateway(t *testing.T) {
	programs := bare.Require(t)
	contract := bare.BuildContract(t)
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	n, err := bare.Start(ctx, programs, bare.Options{Dir: t.TempDir(), Consensus: channelconfig.Raft, Orderers: 1, Orgs: []string{"banka", "bankb"}})
	ok(t, err)
	defer n.Close()
	ok(t, n.CreateChannel(ctx))
	_, err = n.Deploy(ctx, "asset", contract, admin.Definition{})
	ok(t, err)
	client, err := n.Client(n.Peers[0])
	ok(t, err)
	defer client.Close()

	result, err := client.Submit(ctx, call("Create", "a1", "alice", "5"))
	ok(t, err)
	peer, err := n.Peers[0].Client()
	ok(t, err)
	block, err := peer.BlockOf(ctx, "trade", result.TxID)
	ok(t, err)
	if block.GetHeader().GetNumber() != result.Block || result.Code != pb.TxValidationCode_VALID {
		t.Errorf("result %+v, block %d", result, block.GetHeader().GetNumber())
	}
	initialises(ctx, t, n, contract, client)
	read, err := client.Evaluate(ctx, call("Read", "a1"))
	ok(t, err)
	var asset struct{ Owner string }
	if err := json.Unmarshal(read, &asset); err != nil || asset.Owner != "alice" {
		t.Errorf("read %s, %v", read, err)
	}
	// One organisation's word is enough to ask, when it is asked alone.
	alone := call("Read", "a1")
	alone.Endorsers = []string{"bankaMSP"}
	if _, err := client.Evaluate(ctx, alone); err != nil {
		t.Error(err)
	}

	t.Run("refusals", func(t *testing.T) { refusals(ctx, t, client) })
	t.Run("events", func(t *testing.T) { events(ctx, t, client, result) })
	t.Run("conflict", func(t *testing.T) { conflict(ctx, t, client) })
	t.Run("no orderer", func(t *testing.T) { noOrderer(ctx, t, n, client) })
}

func refusals(ctx context.Context, t *testing.T, client *gateway.Gateway) {
	_, err := client.Submit(ctx, call("Create", "a1", "bob", "1"))
	var failure *gateway.Error
	if !errors.As(err, &failure) || failure.Stage != gateway.StageEndorse || len(failure.Nodes) == 0 || failure.Retry() || !failure.Refused() {
		t.Fatalf("creating twice: %v", err)
	}
	node := failure.Nodes[0]
	for _, part := range []string{node.Address, node.MSPID, "a1", failure.TxID[:12]} {
		if part == "" || !strings.Contains(err.Error(), part) {
			t.Errorf("%q is not in %q", part, err)
		}
	}
	if strings.Contains(err.Error(), "\n") || strings.Contains(err.Error(), "rpc error") {
		t.Errorf("not one plain sentence: %q", err)
	}
	if _, err := client.Evaluate(ctx, call("Read", "nothing")); !errors.As(err, &failure) || failure.Stage != gateway.StageEvaluate {
		t.Errorf("reading nothing: %v", err)
	}
	missing := call("Read", "a1")
	missing.Contract = "missing"
	if _, err := client.Submit(ctx, missing); !errors.As(err, &failure) || !strings.Contains(err.Error(), "missing") {
		t.Errorf("a missing contract: %v", err)
	}
}

func events(ctx context.Context, t *testing.T, client *gateway.Gateway, first gateway.Result) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	stream, err := client.Events(ctx, "trade", "asset", first.Block)
	ok(t, err)
	second, err := client.Submit(ctx, call("Transfer", "a1", "bob"))
	ok(t, err)
	for _, want := range []gateway.Result{first, second} {
		event, open := <-stream
		if !open || event.TxID != want.TxID || event.Block != want.Block || event.Contract != "asset" || event.Name == "" {
			t.Errorf("event %+v, want one of %s", event, want.TxID)
		}
	}
	cancel()
	for range stream {
		continue // until it closes
	}
	now, err := client.Events(t.Context(), "trade", "asset", 0)
	ok(t, err)
	select {
	case event := <-now:
		t.Errorf("an old event: %+v", event)
	default:
	}
}

// conflict has two transactions change one key in one block.
func conflict(ctx context.Context, t *testing.T, client *gateway.Gateway) {
	for range 20 {
		answers := make(chan error, 8)
		for range cap(answers) {
			go func() {
				_, err := client.Submit(ctx, call("Transfer", "a1", "carol"))
				answers <- err
			}()
		}
		for range cap(answers) {
			err := <-answers
			var failure *gateway.Error
			if err == nil {
				continue
			}
			if !errors.As(err, &failure) || failure.Stage != gateway.StageCommit || failure.Validation != pb.TxValidationCode_MVCC_READ_CONFLICT || !failure.Retry() {
				t.Fatalf("a conflict: %v", err)
			}
			return
		}
	}
	t.Error("no two transactions met")
}

func noOrderer(ctx context.Context, t *testing.T, n *bare.Network, client *gateway.Gateway) {
	n.Orderers[0].Kill()
	_, err := client.Submit(ctx, call("Transfer", "a1", "dave"))
	var failure *gateway.Error
	if !errors.As(err, &failure) || failure.Stage != gateway.StageSubmit || !failure.Retry() || !strings.Contains(err.Error(), n.Orderers[0].Address) {
		t.Errorf("without an orderer: %v", err)
	}
	n.Peers[0].Kill()
	if _, err := client.Submit(ctx, call("Transfer", "a1", "dave")); !errors.As(err, &failure) || failure.Code != codes.Unavailable {
		t.Errorf("without a peer: %v", err)
	}
}

func TestExplainLeavesOthersAlone(t *testing.T) {
	plain := errors.New("plain")
	if got := gateway.Explain(plain); got != plain { //nolint:errorlint // identity is the point
		t.Errorf("got %v", got)
	}
	if got := gateway.Explain(nil); got != nil {
		t.Errorf("got %v", got)
	}
	if got := gateway.Explain(status.Error(codes.Internal, "x")); status.Code(got) != codes.Internal {
		t.Errorf("got %v", got)
	}
}

// initialises: a contract that asks for it takes no other transaction first.
func initialises(ctx context.Context, t *testing.T, n *bare.Network, contract string, client *gateway.Gateway) {
	t.Helper()
	_, err := n.Deploy(ctx, "guarded", contract, admin.Definition{InitRequired: true})
	ok(t, err)
	first := call("Create", "g1", "alice", "5")
	first.Contract = "guarded"
	var refused *gateway.Error
	if _, err := client.Submit(ctx, first); !errors.As(err, &refused) || !strings.Contains(err.Error(), "must call as init first") {
		t.Errorf("a first transaction that does not initialise: %v", err)
	}
	first.Init = true
	_, err = client.Submit(ctx, first)
	ok(t, err)
	if _, err := client.Submit(ctx, first); !errors.As(err, &refused) || !strings.Contains(err.Error(), "already initialized") {
		t.Errorf("a second transaction that initialises: %v", err)
	}
	second := call("Read", "g1")
	second.Contract = "guarded"
	_, err = client.Submit(ctx, second)
	ok(t, err)
}
