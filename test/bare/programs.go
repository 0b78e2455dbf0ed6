package bare

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// Programs are where the release is.
type Programs struct {
	// Bin is the folder of peer and orderer, Config the one of core.yaml and
	// orderer.yaml.
	Bin, Config string
}

// Find looks for the release in FABRIC_BIN, else in the user's cache.
func Find() (Programs, error) {
	bin := os.Getenv("FABRIC_BIN")
	if bin == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return Programs{}, fmt.Errorf("find Fabric's programs: %w", err)
		}
		bin = filepath.Join(home, ".cache", "heddle", "fabric", "bin")
	}
	p := Programs{Bin: bin, Config: filepath.Join(filepath.Dir(filepath.Clean(bin)), "config")}
	for _, file := range []string{p.Peer(), p.Orderer(), filepath.Join(p.Config, "core.yaml"), filepath.Join(p.Config, "orderer.yaml")} {
		if _, err := os.Stat(file); err != nil {
			return Programs{}, fmt.Errorf("find Fabric's programs (set FABRIC_BIN to the bin folder of a release, with config beside it): %w", err)
		}
	}
	return p, nil
}

// Peer is the peer's program.
func (p Programs) Peer() string { return filepath.Join(p.Bin, "peer") }

// Orderer is the orderer's program.
func (p Programs) Orderer() string { return filepath.Join(p.Bin, "orderer") }

// Require skips a test on machines without Fabric's programs.
func Require(tb testing.TB) Programs {
	tb.Helper()
	if testing.Short() {
		tb.Skip("needs real nodes: not in -short")
	}
	p, err := Find()
	if err != nil {
		tb.Skipf("needs real nodes: %v", err)
	}
	return p
}

// BuildContract compiles the sample contract, or skips as Require does.
func BuildContract(tb testing.TB) string {
	tb.Helper()
	Require(tb)
	source, err := moduleRoot()
	if err != nil {
		tb.Fatal(err)
	}
	out := filepath.Join(tb.TempDir(), "asset-go")
	command := exec.CommandContext(tb.Context(), "go", "build", "-o", out, ".")
	command.Dir = filepath.Join(source, "samples", "contracts", "asset-go")
	command.Env = append(os.Environ(), "CGO_ENABLED=0")
	if text, err := command.CombinedOutput(); err != nil {
		tb.Fatalf("build the sample contract: %v\n%s", err, text)
	}
	return out
}

func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "samples", "contracts")); err == nil {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", fmt.Errorf("find the sources: there is no samples folder above the working folder")
		}
		dir = parent
	}
}
