// Command app is the application of the end-to-end tests: it runs in a pod, takes the MSP folder that fabric-ca-client
// wrote (or the files of an Identity's Secret), submits one transaction through a peer's gateway and reads it back.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"heddle.dev/heddle/test/load"
)

// patience bounds the whole program: a peer that cannot be reached must be an error, not a wait.
const patience = 20 * time.Second

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	f := flag.NewFlagSet("app", flag.ContinueOnError)
	peer := f.String("peer", "", "`address` of the peer's gateway")
	roots := f.String("roots", "", "`file` with the TLS roots of the peer")
	cert := f.String("cert", "", "`file` with the user's certificate")
	key := f.String("key", "", "`file` with the user's key, or the folder with this one file")
	mspID := f.String("msp-id", "", "MSP `ID` of the user's organization")
	channel := f.String("channel", "demo", "`name` of the channel")
	asset := f.String("asset", "app-1", "`ID` of the asset to create")
	if err := f.Parse(args); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	files := map[string]string{"roots": *roots, "cert": *cert, "key": *key}
	texts := map[string][]byte{}
	for name, file := range files {
		text, err := read(file)
		if err != nil {
			return fmt.Errorf("read %s: %w", name, err)
		}
		texts[name] = text
	}
	c, err := load.Connect(load.Target{Name: *peer, Address: *peer, Roots: texts["roots"], Channel: *channel, Chaincode: "asset"},
		load.User{MSPID: *mspID, Cert: texts["cert"], Key: texts["key"]})
	if err != nil {
		return err
	}
	defer c.Close()
	receipt, err := c.Submit(ctx, "Create", *asset, "app", "7")
	if err != nil {
		return err
	}
	answer, err := c.Evaluate(ctx, "Read", *asset)
	if err != nil {
		return err
	}
	fmt.Printf("transaction %s in block %d: %s\n", receipt.TxID, receipt.Block, answer)
	return nil
}

// read returns the content of a file, or of the only file in a folder, which is where fabric-ca-client puts a key.
func read(file string) ([]byte, error) {
	info, err := os.Stat(file)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return os.ReadFile(file)
	}
	entries, err := os.ReadDir(file)
	if err != nil {
		return nil, err
	}
	if len(entries) != 1 {
		return nil, errors.New("the folder does not hold exactly one file")
	}
	return os.ReadFile(filepath.Join(file, entries[0].Name()))
}
