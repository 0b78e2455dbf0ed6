// Fabsim is a simulated peer and a simulated orderer in one program: which of
// the two it is, its own name or its first argument says.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/syndtr/goleveldb/leveldb/opt"

	"heddle.dev/heddle/fabsim/internal/node"
	"heddle.dev/heddle/fabsim/internal/orderer"
	"heddle.dev/heddle/fabsim/internal/peer"
)

// indexTable is what the blocks' index sets aside in memory, 4 MiB unless told: as much as all else that a peer at rest
// needs of its own. The index takes a row or two of some hundred bytes for each block and transaction.
const indexTable = 512 << 10

func main() {
	opt.DefaultWriteBuffer = indexTable // the library that opens the index takes no options
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	code := run(ctx, os.Args, os.Environ(), os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

const usage = `fabsim is a SIMULATED peer and orderer of Hyperledger Fabric, for trying and testing.

  peer node start     (or: fabsim peer node start)
  orderer [start]     (or: fabsim orderer [start])
  peer version, orderer version
`

// kinds are the nodes that the program can be.
func kinds() map[string]func(ctx context.Context, environ []string, stderr io.Writer) error {
	return map[string]func(context.Context, []string, io.Writer) error{"orderer": orderer.Run, "peer": peer.Run}
}

func run(ctx context.Context, args, environ []string, stdout, stderr io.Writer) int {
	kind, words := filepath.Base(args[0]), args[1:]
	start, ok := kinds()[kind]
	if !ok && len(words) > 0 {
		kind, words = words[0], words[1:]
		start, ok = kinds()[kind]
	}
	if !ok {
		fmt.Fprint(stderr, usage)
		return 2
	}
	switch command(kind, words) {
	case "version":
		fmt.Fprintf(stdout, "%s:\n Version: %s\n Commit SHA: %s\n This is a simulated node (fabsim), for trying and testing.\n", kind, node.Version, node.CommitSHA)
		return 0
	case "start":
		if err := start(ctx, environ, stderr); err != nil {
			fmt.Fprintf(stderr, "Error: %s (simulated): %v\n", kind, err)
			return 1
		}
		return 0
	default:
		fmt.Fprintf(stderr, "Error: the simulated %s has no command %q\n%s", kind, words, usage)
		return 1
	}
}

func command(kind string, words []string) string {
	switch {
	case len(words) == 1 && words[0] == "version":
		return "version"
	case kind == "peer" && len(words) == 2 && words[0] == "node" && words[1] == "start":
		return "start"
	case kind == "orderer" && (len(words) == 0 || len(words) == 1 && words[0] == "start"):
		return "start"
	default:
		return ""
	}
}
