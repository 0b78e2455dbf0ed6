package modproxy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// listed is what go list -m and go mod download print about a module.
type listed struct {
	Version          string
	Versions         []string
	Time             string
	Info, GoMod, Zip string
}

// direct gets a module from where its source lives. That is a protocol for each version
// control system, which the machine's go command knows.
func (p *Proxy) direct(ctx context.Context, req goRequest, w io.Writer) error {
	switch req.what {
	case "list":
		out, err := runGo(ctx, "list", "-m", "-versions", "-json", req.module)
		if err != nil {
			return err
		}
		_, err = io.WriteString(w, strings.Join(append(out.Versions, ""), "\n"))
		return err
	case "latest":
		return writeInfo(ctx, req.module, "latest", w)
	}
	if req.what == "info" && req.mutable() {
		return writeInfo(ctx, req.module, req.version, w)
	}
	out, err := runGo(ctx, "mod", "download", "-json", req.module+"@"+req.version)
	if err != nil {
		return err
	}
	file := map[string]string{"info": out.Info, "mod": out.GoMod, "zip": out.Zip}[req.what]
	f, err := os.Open(file)
	if err != nil {
		return fmt.Errorf("read a module from go's cache: %w", err)
	}
	defer f.Close()
	_, err = io.Copy(w, f)
	return err
}

func writeInfo(ctx context.Context, module, version string, w io.Writer) error {
	out, err := runGo(ctx, "list", "-m", "-json", module+"@"+version)
	if err != nil {
		return err
	}
	info := map[string]string{"Version": out.Version}
	if out.Time != "" {
		info["Time"] = out.Time
	}
	return json.NewEncoder(w).Encode(info)
}

// runGo runs the machine's go command on one module, outside of any main module.
func runGo(ctx context.Context, args ...string) (listed, error) {
	var out listed
	dir, err := os.MkdirTemp("", "heddle-module-")
	if err != nil {
		return out, fmt.Errorf("make a folder for go: %w", err)
	}
	defer func() { _ = os.RemoveAll(dir) }() // in the machine's temporary folder, which is swept anyway
	// The checksum is the asking client's to check: this side only carries.
	env := []string{"GOPROXY=direct", "GONOSUMDB=*", "GOTOOLCHAIN=local", "GOWORK=off", "GOFLAGS=-mod=mod"}
	if err := os.WriteFile(filepath.Join(dir, "go.mod"), []byte("module heddle.dev/none\n"), 0o600); err != nil {
		return out, fmt.Errorf("make a folder for go: %w", err)
	}
	data, err := output(ctx, dir, env, "go", args...)
	var exit *exec.ExitError
	if errors.As(err, &exit) && ctx.Err() == nil {
		return out, fmt.Errorf("%w: %w", errNotFound, err)
	}
	if err != nil {
		return out, err
	}
	if err := json.Unmarshal(data, &out); err != nil {
		return out, fmt.Errorf("read what go says about a module: %w", err)
	}
	return out, nil
}
