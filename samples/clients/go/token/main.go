// Command token is a client of the sample contract token. It takes two folders of identities.
package main

import (
	"context"
	"fmt"
	"os"

	"heddle.dev/heddle/samples/clients/go/connect"
)

func main() {
	if err := connect.Run(context.Background(), "token", 2, walk, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintf(os.Stderr, "token: %v\n", err)
		os.Exit(1)
	}
}

// walk needs a minter, whose certificate has the attribute token.minter=true, and
// a second user.
func walk(ctx context.Context, users []*connect.User, _ string) error {
	minter, user := users[0], users[1]
	from, err := minter.Evaluate(connect.Call{Name: "Account"})
	if err != nil {
		return err
	}
	to, err := user.Evaluate(connect.Call{Name: "Account"})
	if err != nil {
		return err
	}
	if err := minter.SubmitAll(
		connect.Call{Name: "Mint", Args: []string{"100"}},
		connect.Call{Name: "Transfer", Args: []string{to, "30"}},
	); err != nil {
		return err
	}
	allowance, err := minter.Evaluate(connect.Call{Name: "Allowance", Args: []string{from, to}})
	if err != nil {
		return err
	}
	if err := minter.SubmitAll(connect.Call{Name: "Approve", Args: []string{to, allowance, "20"}}); err != nil {
		return err
	}
	if err := user.Hears(ctx, "Approval", minter); err != nil {
		return err
	}
	if err := user.SubmitAll(connect.Call{Name: "TransferFrom", Args: []string{from, to, "15"}}); err != nil {
		return err
	}
	if err := user.Refused(user.Submit(connect.Call{Name: "TransferFrom", Args: []string{from, to, "6"}})); err != nil {
		return err
	}
	if err := user.Refused(user.Submit(connect.Call{Name: "Mint", Args: []string{"1"}})); err != nil {
		return err
	}
	if err := minter.SubmitAll(connect.Call{Name: "Burn", Args: []string{"55"}}); err != nil {
		return err
	}
	if err := user.SubmitAll(connect.Call{Name: "Burn", Args: []string{"45"}}); err != nil {
		return err
	}
	if err := minter.Hears(ctx, "Transfer", user); err != nil {
		return err
	}
	return minter.EvaluateAll(
		connect.Call{Name: "BalanceOf", Args: []string{from}},
		connect.Call{Name: "BalanceOf", Args: []string{to}},
		connect.Call{Name: "TotalSupply"},
	)
}
