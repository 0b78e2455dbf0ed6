package main

import (
	"encoding/json"
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hyperledger/fabric-chaincode-go/v2/shim"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// startContract serves the contract on a real stream and returns the peer's end.
func startContract(t *testing.T) *testPeer {
	t.Helper()
	chaincode, err := newChaincode()
	if err != nil {
		t.Fatal(err)
	}
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	peer.RegisterChaincodeServer(server, &shim.ChaincodeServer{CCID: "asset:1", CC: chaincode})
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)
	connection, err := grpc.NewClient(listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = connection.Close() })
	stream, err := peer.NewChaincodeClient(connection).Connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	p, err := register(stream)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestContractChanges(t *testing.T) {
	const stored = `{"id":"a1","owner":"alice","value":7}`
	type call []string
	cases := map[string]struct {
		state     map[string]string
		call      call
		wantState map[string]string
		wantEvent string
		wantBody  string // of the result and the event, when there is one
		wantError string // a part of the refusal
	}{
		"create": {
			call:      call{"Create", "a1", "alice", "7"},
			wantState: map[string]string{"a1": stored}, wantEvent: EventCreated, wantBody: stored,
		},
		"create twice": {
			state: map[string]string{"a1": stored}, call: call{"Create", "a1", "bob", "1"},
			wantState: map[string]string{"a1": stored}, wantError: "exists already",
		},
		"create without id":       {call: call{"Create", "", "alice", "7"}, wantError: "id is empty"},
		"create without owner":    {call: call{"Create", "a1", "", "7"}, wantError: "owner is empty"},
		"create below zero":       {call: call{"Create", "a1", "alice", "-1"}, wantError: "negative"},
		"create with a text":      {call: call{"Create", "a1", "alice", "x"}, wantError: "x"},
		"create long":             {call: call{"Create", strings.Repeat("a", maxTextLength+1), "alice", "7"}, wantError: "257 bytes"},
		"create not UTF-8":        {call: call{"Create", "a\xff", "alice", "7"}, wantError: "not UTF-8"},
		"create composite prefix": {call: call{"Create", "\x00a", "alice", "7"}, wantError: "zero byte"},
		"update": {
			state: map[string]string{"a1": stored}, call: call{"Update", "a1", "carol", "9"},
			wantState: map[string]string{"a1": `{"id":"a1","owner":"carol","value":9}`},
			wantEvent: EventUpdated, wantBody: `{"id":"a1","owner":"carol","value":9}`,
		},
		"update with bad value": {
			state: map[string]string{"a1": stored}, call: call{"Update", "a1", "carol", "-9"},
			wantState: map[string]string{"a1": stored}, wantError: "negative",
		},
		"update none": {call: call{"Update", "a1", "carol", "9"}, wantError: "there is none"},
		"transfer": {
			state: map[string]string{"a1": stored}, call: call{"Transfer", "a1", "bob"},
			wantState: map[string]string{"a1": `{"id":"a1","owner":"bob","value":7}`},
			wantEvent: EventTransferred, wantBody: `{"id":"a1","owner":"bob","value":7}`,
		},
		"transfer to nobody": {
			state: map[string]string{"a1": stored}, call: call{"Transfer", "a1", ""},
			wantState: map[string]string{"a1": stored}, wantError: "owner is empty",
		},
		"transfer none": {call: call{"Transfer", "a1", "bob"}, wantError: "there is none"},
		"delete": {
			state: map[string]string{"a1": stored, "a2": stored}, call: call{"Delete", "a1"},
			wantState: map[string]string{"a2": stored}, wantEvent: EventDeleted,
		},
		"delete none": {call: call{"Delete", "a1"}, wantError: "there is none"},
		"read": {
			state: map[string]string{"a1": stored}, call: call{"Read", "a1"},
			wantState: map[string]string{"a1": stored}, wantBody: stored,
		},
		"read without id":    {call: call{"Read", ""}, wantError: "id is empty"},
		"read what is not":   {state: map[string]string{"a1": "{"}, call: call{"Read", "a1"}, wantState: map[string]string{"a1": "{"}, wantError: "decode asset"},
		"unknown":            {call: call{"Mint", "a1"}, wantError: "Mint"},
		"missing parameters": {call: call{"Create", "a1"}, wantError: "number of params"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			p := startContract(t)
			for key, value := range tc.state {
				p.state[key] = []byte(value)
			}
			r := p.must(t, tc.call[0], tc.call[1:]...)
			if ok := r.status == 200; ok == (tc.wantError != "") {
				t.Fatalf("status %d, message %q; want error %q", r.status, r.message, tc.wantError)
			}
			if !strings.Contains(r.message, tc.wantError) {
				t.Errorf("message %q does not say %q", r.message, tc.wantError)
			}
			gotState := map[string]string{}
			for key, value := range p.state {
				gotState[key] = string(value)
			}
			if tc.wantState == nil {
				tc.wantState = map[string]string{}
			}
			if diff := cmp.Diff(tc.wantState, gotState); diff != "" {
				t.Errorf("state (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tc.wantBody, string(r.payload)); diff != "" {
				t.Errorf("result (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tc.wantEvent, r.event.GetEventName()); diff != "" {
				t.Errorf("event (-want +got):\n%s", diff)
			}
			if tc.wantEvent != "" && tc.wantBody != "" && string(r.event.GetPayload()) != tc.wantBody {
				t.Errorf("event carries %s, want %s", r.event.GetPayload(), tc.wantBody)
			}
		})
	}
}

func TestListPages(t *testing.T) {
	p := startContract(t)
	for i := range 5 {
		p.must(t, "Create", fmt.Sprintf("a%d", i), "alice", "1")
	}
	var got [][]string
	bookmark := ""
	for {
		r := p.must(t, "List", "2", bookmark)
		if r.status != 200 {
			t.Fatalf("list: %s", r.message)
		}
		var page Page
		if err := json.Unmarshal(r.payload, &page); err != nil {
			t.Fatal(err)
		}
		var ids []string
		for _, asset := range page.Assets {
			ids = append(ids, asset.ID)
		}
		got = append(got, ids)
		if bookmark = page.Bookmark; bookmark == "" {
			break
		}
	}
	want := [][]string{{"a0", "a1"}, {"a2", "a3"}, {"a4"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("pages (-want +got):\n%s", diff)
	}
	if r := startContract(t).must(t, "List", "10", ""); string(r.payload) != `{"assets":[],"bookmark":""}` {
		t.Errorf("empty state lists %s", r.payload)
	}
	for _, size := range []string{"0", "-1", "1001"} {
		if r := p.must(t, "List", size, ""); r.status == 200 {
			t.Errorf("page size %s was accepted", size)
		}
	}
}

// TestMetadata pins what clients read from the contract about itself: the
// transactions, and which of them only read.
func TestMetadata(t *testing.T) {
	r := startContract(t).must(t, "org.hyperledger.fabric:GetMetadata")
	var metadata struct {
		Contracts map[string]struct {
			Transactions []struct {
				Name string   `json:"name"`
				Tag  []string `json:"tag"`
			} `json:"transactions"`
		} `json:"contracts"`
	}
	if err := json.Unmarshal(r.payload, &metadata); err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, tx := range metadata.Contracts["AssetContract"].Transactions {
		got[tx.Name] = strings.ToLower(strings.Join(tx.Tag, ","))
	}
	for name, want := range map[string]string{"Read": "evaluate", "List": "evaluate", "Create": "submit", "Update": "submit", "Transfer": "submit", "Delete": "submit"} {
		if !strings.HasPrefix(got[name], want) {
			t.Errorf("transaction %s is tagged %q, want %q", name, got[name], want)
		}
	}
	if len(got) != 6 {
		t.Errorf("contract offers %v, want six transactions", got)
	}
}
