// Command catalog is a client of the sample contract catalog. It takes the folder of identities.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"

	"heddle.dev/heddle/samples/clients/go/connect"
)

func main() {
	if err := connect.Run(context.Background(), "catalog", 1, walk, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintf(os.Stderr, "catalog: %v\n", err)
		os.Exit(1)
	}
}

func walk(_ context.Context, users []*connect.User, id string) error {
	user := users[0]
	kind := "kind-" + id
	err := user.SubmitAll(
		connect.Call{Name: "Put", Args: []string{id + "-1", kind, "acme", "30"}},
		connect.Call{Name: "Put", Args: []string{id + "-2", kind, "acme", "10"}},
		connect.Call{Name: "Put", Args: []string{id + "-3", kind, "bolt", "20"}},
	)
	if err != nil {
		return err
	}
	// Two pages of two: the bookmark of the first leads to the second.
	page, err := user.Evaluate(connect.Call{Name: "FindByPrice", Args: []string{kind, "30", "2", ""}})
	if err != nil {
		return err
	}
	var first struct {
		Bookmark string `json:"bookmark"`
	}
	if err := json.Unmarshal([]byte(page), &first); err != nil {
		return fmt.Errorf("read page: %w", err)
	}
	if err := user.EvaluateAll(
		connect.Call{Name: "FindByPrice", Args: []string{kind, "30", "2", first.Bookmark}},
		connect.Call{Name: "FindByMaker", Args: []string{"bolt", "10", ""}},
	); err != nil {
		return err
	}
	return user.SubmitAll(
		connect.Call{Name: "Remove", Args: []string{id + "-1"}},
		connect.Call{Name: "Remove", Args: []string{id + "-2"}},
		connect.Call{Name: "Remove", Args: []string{id + "-3"}},
	)
}
