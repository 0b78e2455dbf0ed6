package bare

import (
	"bytes"
	"context"
	"errors"
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

// FindSimulated looks for stand-in nodes in FABSIM_BIN: a folder with peer and
// orderer, or one program (or a folder with fabsim) that is used under both
// names, for which links are made in dir. Their configuration is the one of
// a release where there is one, else the folder that is given.
func FindSimulated(dir, config string) (Programs, error) {
	bin := os.Getenv("FABSIM_BIN")
	if bin == "" {
		return Programs{}, errors.New("find stand-in nodes: FABSIM_BIN is not set")
	}
	bin, err := filepath.Abs(bin)
	if err != nil {
		return Programs{}, fmt.Errorf("find stand-in nodes: %w", err)
	}
	if release, err := Find(); err == nil {
		config = release.Config
	}
	info, err := os.Stat(bin)
	if err != nil {
		return Programs{}, fmt.Errorf("find stand-in nodes: %w", err)
	}
	program := bin
	if info.IsDir() {
		if _, err := os.Stat(filepath.Join(bin, "peer")); err == nil {
			return Programs{Bin: bin, Config: config}, nil
		}
		program = filepath.Join(bin, "fabsim")
	}
	for _, name := range []string{"peer", "orderer"} {
		if err := os.Symlink(program, filepath.Join(dir, name)); err != nil {
			return Programs{}, fmt.Errorf("find stand-in nodes: %w", err)
		}
	}
	return Programs{Bin: dir, Config: config}, nil
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
	return bytes.Contains(bytes.ToLower(text), []byte("simulated")), nil
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
