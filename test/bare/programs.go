package bare

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"heddle.dev/heddle/internal/image"
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
	p, err := in(bin)
	if err != nil {
		return Programs{}, fmt.Errorf("find Fabric's programs (set FABRIC_BIN to the bin folder of a release, with config beside it): %w", err)
	}
	return p, nil
}

// FindSimulated looks for stand-in nodes in FABSIM_BIN, else where "make
// images" leaves them: laid out as a release.
func FindSimulated() (Programs, error) {
	bin := os.Getenv("FABSIM_BIN")
	if bin == "" {
		root, err := moduleRoot()
		if err != nil {
			return Programs{}, err
		}
		bin = filepath.Join(root, "out", "fabsim", "bin")
	}
	p, err := in(bin)
	if err != nil {
		return Programs{}, fmt.Errorf("find stand-in nodes (\"make images\" makes them): %w", err)
	}
	return p, nil
}

// in looks for the programs in a folder, and for their configuration beside it.
func in(bin string) (Programs, error) {
	bin, err := filepath.Abs(bin)
	if err != nil {
		return Programs{}, err
	}
	p := Programs{Bin: bin, Config: filepath.Join(filepath.Dir(bin), "config")}
	for _, file := range []string{p.Peer(), p.Orderer(), filepath.Join(p.Config, "core.yaml"), filepath.Join(p.Config, "orderer.yaml")} {
		if _, err := os.Stat(file); err != nil {
			return Programs{}, err
		}
	}
	return p, nil
}

// Simulated tells stand-in nodes from real ones by what the peer says of its
// version.
func (p Programs) Simulated(ctx context.Context) (bool, error) {
	command := exec.CommandContext(ctx, p.Peer(), "version")
	command.Env = []string{"FABRIC_CFG_PATH=" + p.Config}
	text, err := command.CombinedOutput()
	if err != nil {
		return false, fmt.Errorf("ask %s for its version: %w\n%s", p.Peer(), err, text)
	}
	return image.SaysSimulated(string(text)), nil
}

// Peer is the peer's program.
func (p Programs) Peer() string { return filepath.Join(p.Bin, "peer") }

// Orderer is the orderer's program.
func (p Programs) Orderer() string { return filepath.Join(p.Bin, "orderer") }

// Require finds real nodes or, where a machine has none, stand-ins; it skips a
// test where there are neither.
func Require(tb testing.TB) Programs {
	tb.Helper()
	return require(tb, "Fabric's or stand-in", func() (Programs, error) {
		p, err := Find()
		if err == nil {
			return p, nil
		}
		stand, standErr := FindSimulated()
		if standErr != nil {
			return Programs{}, errors.Join(err, standErr)
		}
		return stand, nil
	})
}

// RequireReal skips a test on machines without Fabric's own programs: SmartBFT
// channels, for one, are beyond stand-ins.
func RequireReal(tb testing.TB) Programs {
	tb.Helper()
	p := require(tb, "real", Find)
	simulated, err := p.Simulated(tb.Context())
	if err != nil {
		tb.Fatal(err)
	}
	if simulated {
		tb.Skip("needs real nodes: those of FABRIC_BIN say that they are simulated")
	}
	return p
}

// RequireSimulated skips a test where no stand-in nodes have been built.
func RequireSimulated(tb testing.TB) Programs {
	tb.Helper()
	return require(tb, "stand-in", FindSimulated)
}

func require(tb testing.TB, what string, find func() (Programs, error)) Programs {
	tb.Helper()
	if testing.Short() {
		tb.Skipf("needs %s nodes: not in -short", what)
	}
	p, err := find()
	if err != nil {
		tb.Skipf("needs %s nodes: %v", what, err)
	}
	return p
}

// BuildContract compiles the sample contract, or skips as Require does.
func BuildContract(tb testing.TB) string {
	tb.Helper()
	Require(tb)
	return BuildProgram(tb, "samples/contracts/asset-go")
}

// BuildProgram compiles the program in a folder of this repository.
func BuildProgram(tb testing.TB, folder string) string {
	tb.Helper()
	source, err := moduleRoot()
	if err != nil {
		tb.Fatal(err)
	}
	out := filepath.Join(tb.TempDir(), filepath.Base(folder))
	command := exec.CommandContext(tb.Context(), "go", "build", "-trimpath", "-o", out, ".")
	command.Dir = filepath.Join(source, filepath.FromSlash(folder))
	command.Env = append(os.Environ(), "CGO_ENABLED=0")
	if text, err := command.CombinedOutput(); err != nil {
		tb.Fatalf("build %s: %v\n%s", folder, err, text)
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
