package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// dependencies are those of a sample, so that go.mod and go.sum are complete.
const dependencies = "samples/contracts/token-go"

// noop is a contract that does nothing; its name and edition make it another one.
const noop = `package main

import (
	"os"

	"github.com/hyperledger/fabric-chaincode-go/v2/shim"
	"github.com/hyperledger/fabric-contract-api-go/v2/contractapi"
)

const edition = "%s %d"

type Contract struct{ contractapi.Contract }

func (*Contract) Create(_ contractapi.TransactionContextInterface, _, _, _ string) {}

func (*Contract) Read(_ contractapi.TransactionContextInterface, _ string) string { return edition }

func main() {
	chaincode, err := contractapi.NewChaincode(new(Contract))
	if err != nil {
		panic(err)
	}
	start := chaincode.Start
	if address := os.Getenv("CHAINCODE_SERVER_ADDRESS"); address != "" {
		server := &shim.ChaincodeServer{CCID: os.Getenv("CHAINCODE_ID"), Address: address, CC: chaincode, TLSProps: shim.TLSProperties{Disabled: true}}
		start = server.Start
	}
	if err := start(); err != nil {
		panic(err)
	}
}
`

// write writes a project of its own: a contract that does nothing.
func (w *workshop) write(folder, name string, edition int) error {
	if err := os.MkdirAll(folder, 0o755); err != nil { //nolint:gosec // a source is no secret
		return err
	}
	mod, err := os.ReadFile(filepath.Join(dependencies, "go.mod"))
	if err != nil {
		return fmt.Errorf("read dependencies (run from the module's folder): %w", err)
	}
	sum, err := os.ReadFile(filepath.Join(dependencies, "go.sum"))
	if err != nil {
		return err
	}
	_, requirements, _ := strings.Cut(string(mod), "\n")
	for file, text := range map[string]string{
		"go.mod": "module example.com/" + name + "\n" + requirements, "go.sum": string(sum), "main.go": fmt.Sprintf(noop, name, edition),
	} {
		if err := os.WriteFile(filepath.Join(folder, file), []byte(text), 0o644); err != nil { //nolint:gosec // a source is no secret
			return err
		}
	}
	return nil
}

// compile is what the platform's recipe does, on this machine and with a cache of its own.
func compile(ctx context.Context, source, program, cache string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-mod=readonly", "-trimpath", "-buildvcs=false", "-ldflags=-s -w -buildid=", "-o", program, ".")
	cmd.Dir = source
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOCACHE="+cache, "GOWORK=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("compile %s: %w\n%s", filepath.Base(source), err, out)
	}
	return nil
}
