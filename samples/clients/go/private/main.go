// Command private is a client of the sample contract private. It takes two folders of identities.
package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"os"

	"heddle.dev/heddle/samples/clients/go/connect"
)

func main() {
	if err := connect.Run(context.Background(), "private", 2, walk, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintf(os.Stderr, "private: %v\n", err)
		os.Exit(1)
	}
}

// walk needs a seller and a buyer, of two organizations.
func walk(ctx context.Context, users []*connect.User, id string) error {
	seller, buyer := users[0], users[1]
	price, limit := secret("125"), secret("140")
	if err := seller.SubmitAll(connect.Call{Name: "Offer", Args: []string{id}, Transient: price}); err != nil {
		return err
	}
	if err := buyer.Hears(ctx, "Offered", seller); err != nil {
		return err
	}
	if err := buyer.EvaluateAll(
		connect.Call{Name: "Get", Args: []string{id}},
		connect.Call{Name: "Price", Args: []string{id}},
		connect.Call{Name: "Verify", Args: []string{id}, Transient: price},
	); err != nil {
		return err
	}
	// Only peers of the buyer have its collection, so only they can endorse.
	if err := buyer.SubmitAll(connect.Call{Name: "SetLimit", Args: []string{id}, Transient: limit, Endorsers: []string{buyer.MSPID}}); err != nil {
		return err
	}
	if err := buyer.EvaluateAll(connect.Call{Name: "Limit", Args: []string{id}}); err != nil {
		return err
	}
	if err := seller.Refused(seller.Evaluate(connect.Call{Name: "Limit", Args: []string{id}})); err != nil {
		return err
	}
	return seller.SubmitAll(connect.Call{Name: "Withdraw", Args: []string{id}})
}

// secret is an amount with the salt that hides it in its hash.
func secret(amount string) map[string][]byte {
	salt := make([]byte, 16)
	_, _ = rand.Read(salt) // it never fails
	return map[string][]byte{"amount": []byte(amount), "salt": []byte(hex.EncodeToString(salt))}
}
