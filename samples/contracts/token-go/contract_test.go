package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestTokensMove(t *testing.T) {
	l, c := newLedger(), new(TokenContract)
	steps := []struct {
		do        func() (any, error)
		wantEvent string // and the result's JSON
		wantError string
	}{
		{do: func() (any, error) { return c.Mint(l.as("mint"), 100) }, wantEvent: `Transfer {"from":"","to":"Org1MSP/mint","amount":100}`},
		{do: func() (any, error) { return c.Mint(l.as("mint"), most-99) }, wantError: "would exceed"},
		{do: func() (any, error) { return c.Mint(l.as("mint"), most+1) }, wantError: "not a whole number from 1"},
		{do: func() (any, error) { return c.Mint(l.as("mint"), 0) }, wantError: "not a whole number from 1"},
		{do: func() (any, error) { return c.Mint(l.as("bob"), 1) }, wantError: "lacks the attribute"},
		{do: func() (any, error) { return c.Transfer(l.as("mint"), "Org1MSP/bob", 30) }, wantEvent: `Transfer {"from":"Org1MSP/mint","to":"Org1MSP/bob","amount":30}`},
		{do: func() (any, error) { return c.Transfer(l.as("bob"), "Org1MSP/mint", 31) }, wantError: "fewer than 31"},
		{do: func() (any, error) { return c.Transfer(l.as("bob"), "Org1MSP/bob", 1) }, wantError: "to itself"},
		{do: func() (any, error) { return c.Transfer(l.as("bob"), "bob", 1) }, wantError: "not an account"},
		{do: func() (any, error) { return c.Transfer(l.as("b b"), "Org1MSP/bob", 1) }, wantError: `caller "Org1MSP/b b" is not an account`},
		{do: func() (any, error) { return c.Approve(l.as("mint"), "Org1MSP/bob", 0, 20) }, wantEvent: `Approval {"owner":"Org1MSP/mint","spender":"Org1MSP/bob","amount":20}`},
		{do: func() (any, error) { return c.Approve(l.as("mint"), "Org1MSP/bob", 0, 30) }, wantError: "is 20 and not 0"},
		{
			do:        func() (any, error) { return c.TransferFrom(l.as("bob"), "Org1MSP/mint", "Org1MSP/eve", 20) },
			wantEvent: `Transfer {"from":"Org1MSP/mint","to":"Org1MSP/eve","amount":20}`,
		},
		{do: func() (any, error) { return c.TransferFrom(l.as("bob"), "Org1MSP/mint", "Org1MSP/eve", 1) }, wantError: "may move 0"},
		{do: func() (any, error) { return c.Burn(l.as("mint"), 51) }, wantError: "fewer than 51"},
		{do: func() (any, error) { return c.Burn(l.as("mint"), 50) }, wantEvent: `Transfer {"from":"Org1MSP/mint","to":"","amount":50}`},
	}
	for i, s := range steps {
		l.event = ""
		_, err := s.do()
		if (err == nil) != (s.wantError == "") || err != nil && !strings.Contains(err.Error(), s.wantError) {
			t.Fatalf("step %d: got error %v, want %q", i, err, s.wantError)
		}
		if l.event != s.wantEvent {
			t.Errorf("step %d: got event %s, want %s", i, l.event, s.wantEvent)
		}
	}
	// What is zero leaves nothing behind.
	want := map[string][]byte{"supply": []byte("50"), "\x00balance\x00Org1MSP/bob": []byte("30"), "\x00balance\x00Org1MSP/eve": []byte("20")}
	if diff := cmp.Diff(want, l.state); diff != "" {
		t.Error(diff)
	}
}

func TestReadsTokens(t *testing.T) {
	l, c := newLedger(), new(TokenContract)
	if _, err := c.Mint(l.as("mint"), 7); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Approve(l.as("mint"), "Org1MSP/bob", 0, 3); err != nil {
		t.Fatal(err)
	}
	for name, ask := range map[string]struct {
		do   func() (any, error)
		want any
	}{
		"account":   {func() (any, error) { return c.Account(l.as("bob")) }, "Org1MSP/bob"},
		"supply":    {func() (any, error) { return c.TotalSupply(l.as("bob")) }, int64(7)},
		"balance":   {func() (any, error) { return c.BalanceOf(l.as("bob"), "Org1MSP/mint") }, int64(7)},
		"nothing":   {func() (any, error) { return c.BalanceOf(l.as("bob"), "Org1MSP/bob") }, int64(0)},
		"allowance": {func() (any, error) { return c.Allowance(l.as("bob"), "Org1MSP/mint", "Org1MSP/bob") }, int64(3)},
	} {
		if got, err := ask.do(); err != nil || got != ask.want {
			t.Errorf("%s: got %v, %v, want %v", name, got, err, ask.want)
		}
	}
}
