// Command keylevel is a client of the sample contract keylevel. It takes two folders of identities.
package main

import (
	"context"
	"fmt"
	"os"

	"heddle.dev/heddle/samples/clients/go/connect"
)

func main() {
	if err := connect.Run(context.Background(), "keylevel", 2, walk, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintf(os.Stderr, "keylevel: %v\n", err)
		os.Exit(1)
	}
}

// walk needs an owner and a buyer, of two organizations.
func walk(ctx context.Context, users []*connect.User, id string) error {
	owner, buyer := users[0], users[1]
	if err := owner.SubmitAll(connect.Call{Name: "Register", Args: []string{id, "B-1"}}); err != nil {
		return err
	}
	if err := owner.EvaluateAll(connect.Call{Name: "Endorsers", Args: []string{id}}); err != nil {
		return err
	}
	// The owner alone can endorse, and nobody can in its place.
	change := connect.Call{Name: "SetPlate", Args: []string{id, "B-2"}, Endorsers: []string{owner.MSPID}}
	if err := owner.SubmitAll(change); err != nil {
		return err
	}
	change.Endorsers = []string{buyer.MSPID}
	if err := owner.Refused(owner.Submit(change)); err != nil {
		return err
	}
	if err := owner.SubmitAll(connect.Call{Name: "Offer", Args: []string{id, buyer.MSPID}}); err != nil {
		return err
	}
	if err := buyer.Hears(ctx, "TitleOffered", owner); err != nil {
		return err
	}
	if err := buyer.SubmitAll(connect.Call{Name: "Accept", Args: []string{id}}); err != nil {
		return err
	}
	return buyer.EvaluateAll(
		connect.Call{Name: "Read", Args: []string{id}},
		connect.Call{Name: "Endorsers", Args: []string{id}},
	)
}
