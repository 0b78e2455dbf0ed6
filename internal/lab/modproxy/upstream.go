package modproxy

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// maxError bounds how much of an upstream's error is passed on.
const maxError = 512

// Upstreams are the settings of the machine's own Go and npm.
type Upstreams struct {
	// GoProxy is GOPROXY: addresses, "direct" or "off", separated by "," (try the next
	// one when something does not exist) or "|" (try it after any error).
	GoProxy string
	// NoProxy is GONOPROXY: patterns of modules that are always fetched directly.
	NoProxy string
	// SumDB is GOSUMDB: name of the checksum database, a key and an address, or "off".
	SumDB string
	// NoSumDB is GONOSUMDB.
	NoSumDB string
	// Netrc holds logins by host name.
	Netrc map[string]Login
	// Npm is where packages come from.
	Npm Npm
}

// Login is a user's at one host.
type Login struct{ User, Password string }

// Discover asks go and npm for their settings. A tool that is not
// installed leaves its half empty, and requests for it are refused with that reason.
func Discover(ctx context.Context) (*Upstreams, error) {
	out := &Upstreams{}
	if err := out.discoverGo(ctx); err != nil {
		return nil, err
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return nil, fmt.Errorf("find the home folder, where go and npm keep settings: %w", err)
	}
	netrc, err := os.ReadFile(cmp.Or(os.Getenv("NETRC"), filepath.Join(home, ".netrc")))
	if err == nil {
		out.Netrc = parseNetrc(string(netrc))
	}
	out.Npm = discoverNpm(ctx, home)
	return out, nil
}

func (u *Upstreams) discoverGo(ctx context.Context) error {
	// Away from any go.mod, which could ask for another toolchain.
	data, err := output(ctx, os.TempDir(), []string{"GOTOOLCHAIN=local", "GOWORK=off"}, "go", "env", "-json", "GOPROXY", "GONOPROXY", "GOSUMDB", "GONOSUMDB")
	if errors.Is(err, exec.ErrNotFound) {
		u.GoProxy, u.SumDB = os.Getenv("GOPROXY"), os.Getenv("GOSUMDB")
		return nil
	}
	if err != nil {
		return err
	}
	var env struct{ GOPROXY, GONOPROXY, GOSUMDB, GONOSUMDB string }
	if err := json.Unmarshal(data, &env); err != nil {
		return fmt.Errorf("read go's settings: %w", err)
	}
	u.GoProxy, u.NoProxy, u.SumDB, u.NoSumDB = env.GOPROXY, env.GONOPROXY, env.GOSUMDB, env.GONOSUMDB
	return nil
}

// output runs a tool of the machine.
func output(ctx context.Context, dir string, env []string, name string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), env...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("run %s %s: %w: %s", name, args[0], err, brief(stderr.Bytes()))
	}
	return stdout.Bytes(), nil
}

// BuildEnv is the environment with which go and npm in a build pod use a
// proxy at base, e.g. "http://modules.heddle-system".
func (u *Upstreams) BuildEnv(base string) map[string]string {
	base = strings.TrimSuffix(base, "/")
	out := map[string]string{
		"GOPROXY":             base + GoPath,
		"GOSUMDB":             cmp.Or(u.SumDB, "off"),
		"npm_config_registry": base + NpmPath + "/",
	}
	if u.NoSumDB != "" {
		out["GONOSUMDB"] = u.NoSumDB
	}
	return out
}

// request is one GET to an upstream.
type request struct {
	url    string
	accept string
	auth   func(*http.Request)
}

// fetch copies a body to w. Errors never hold the address: it may have a password in it.
func (p *Proxy) fetch(ctx context.Context, r request, w io.Writer) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.url, nil)
	if err != nil {
		return errors.New("read an upstream's address: it is malformed")
	}
	if r.accept != "" {
		req.Header.Set("Accept", r.accept)
	}
	if r.auth != nil {
		r.auth(req)
	}
	resp, err := p.client.Do(req)
	if ctx.Err() == nil {
		p.heard(err == nil)
	}
	if err != nil {
		var ue *url.Error
		if errors.As(err, &ue) {
			err = ue.Err
		}
		return fmt.Errorf("reach upstream %s: %w", req.URL.Host, err)
	}
	defer resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusOK:
	case http.StatusNotFound, http.StatusGone:
		body, _ := io.ReadAll(io.LimitReader(resp.Body, maxError))
		return fmt.Errorf("%w: %s", errNotFound, brief(body))
	default:
		return fmt.Errorf("upstream %s answers %s", req.URL.Host, resp.Status)
	}
	if _, err := io.Copy(w, resp.Body); err != nil {
		return fmt.Errorf("read from upstream %s: %w", req.URL.Host, err)
	}
	return nil
}

func brief(b []byte) string {
	s := strings.TrimSpace(string(b))
	return s[:min(len(s), maxError)]
}

// netrcAuth adds the machine's login for the host, as go itself does.
func (u *Upstreams) netrcAuth(req *http.Request) {
	if login, ok := u.Netrc[req.URL.Hostname()]; ok && req.URL.User == nil {
		req.SetBasicAuth(login.User, login.Password)
	}
}

// parseNetrc reads machine, login and password; the first entry of a machine holds, and
// "default" ends the file, as go reads it.
func parseNetrc(data string) map[string]Login {
	out := map[string]Login{}
	var machine string
	var login Login
	inMacro := false
	add := func() {
		if _, seen := out[machine]; machine != "" && login.User != "" && login.Password != "" && !seen {
			out[machine] = login
		}
	}
	for line := range strings.Lines(data) {
		fields := strings.Fields(line)
		if inMacro { // a macro ends with an empty line
			inMacro = len(fields) > 0
			continue
		}
		for i := 0; i < len(fields); i++ {
			if fields[i] == "default" {
				add()
				return out
			}
			if fields[i] == "macdef" {
				inMacro = true
				break
			}
			if i+1 == len(fields) {
				break
			}
			value := fields[i+1]
			switch fields[i] {
			case "machine":
				add()
				machine, login = value, Login{}
			case "login":
				login.User = value
			case "password":
				login.Password = value
			}
			i++
		}
	}
	add()
	return out
}
