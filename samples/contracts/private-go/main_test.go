package main

import "testing"

// TestContractIsComplete builds the contract as main does: the contract API looks
// at every transaction's types then.
func TestContractIsComplete(t *testing.T) {
	if _, err := newChaincode(); err != nil {
		t.Fatal(err)
	}
}
