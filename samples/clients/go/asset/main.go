// Command asset is a client of the sample contract asset. It takes the folder of identities.
package main

import (
	"context"
	"fmt"
	"os"

	"heddle.dev/heddle/samples/clients/go/connect"
)

func main() {
	if err := connect.Run(context.Background(), "asset", 1, walk, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintf(os.Stderr, "asset: %v\n", err)
		os.Exit(1)
	}
}

func walk(_ context.Context, users []*connect.User, id string) error {
	user := users[0]
	err := user.SubmitAll(
		connect.Call{Name: "Create", Args: []string{id, "alice", "7"}},
		connect.Call{Name: "Transfer", Args: []string{id, "bob"}},
		connect.Call{Name: "Update", Args: []string{id, "bob", "9"}},
	)
	if err != nil {
		return err
	}
	if err := user.EvaluateAll(
		connect.Call{Name: "Read", Args: []string{id}},
		connect.Call{Name: "List", Args: []string{"10", ""}},
	); err != nil {
		return err
	}
	if err := user.SubmitAll(connect.Call{Name: "Delete", Args: []string{id}}); err != nil {
		return err
	}
	return user.Refused(user.Evaluate(connect.Call{Name: "Read", Args: []string{id}}))
}
