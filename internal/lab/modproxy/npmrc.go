package modproxy

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// Npm are the machine's settings of npm.
type Npm struct {
	// Registry is the default one, Scopes those of scopes ("@acme").
	Registry string
	Scopes   map[string]string
	// Auth holds Authorization headers by "//host/path/" of the registry they are for.
	Auth map[string]string
	// CA are certificates, in PEM, that npm trusts besides the system's.
	CA []byte
}

// discoverNpm asks npm, which knows about all its files and variables. Without npm the
// user's own file and variable are read. Tokens are only in files: npm does not print them.
func discoverNpm(ctx context.Context, home string) Npm {
	out := Npm{Scopes: map[string]string{}, Auth: map[string]string{}}
	config := map[string]any{}
	if data, err := output(ctx, os.TempDir(), nil, "npm", "config", "list", "--long", "--json"); err == nil {
		_ = json.Unmarshal(data, &config) // what cannot be read counts as not set
	}
	text := func(key string) string {
		s, _ := config[key].(string)
		return s
	}
	files := []string{text("globalconfig"), cmp.Or(text("userconfig"), os.Getenv("NPM_CONFIG_USERCONFIG"), filepath.Join(home, ".npmrc"))}
	rc := map[string]string{}
	for _, f := range files {
		if data, err := os.ReadFile(f); err == nil {
			for k, v := range parseNpmrc(string(data), os.Getenv) {
				rc[k] = v
			}
		}
	}
	out.Registry = cmp.Or(text("registry"), os.Getenv("npm_config_registry"), os.Getenv("NPM_CONFIG_REGISTRY"), rc["registry"])
	for k, v := range rc {
		if scope, ok := strings.CutSuffix(k, ":registry"); ok && strings.HasPrefix(scope, "@") {
			out.Scopes[scope] = v
		}
	}
	out.readAuth(rc)
	if file := cmp.Or(text("cafile"), rc["cafile"]); file != "" {
		out.CA, _ = os.ReadFile(file) // an unreadable file shows as a TLS error that says more
	}
	return out
}

// readAuth turns "//host/path/:_authToken" and its relatives into headers.
func (n *Npm) readAuth(rc map[string]string) {
	for key, value := range rc {
		if !strings.HasPrefix(key, "//") {
			continue
		}
		if at, ok := strings.CutSuffix(key, ":_authToken"); ok {
			n.Auth[at] = "Bearer " + value
		}
		if at, ok := strings.CutSuffix(key, ":_auth"); ok {
			n.Auth[at] = "Basic " + value
		}
		if at, ok := strings.CutSuffix(key, ":_password"); ok {
			if password, err := base64.StdEncoding.DecodeString(value); err == nil {
				n.Auth[at] = "Basic " + base64.StdEncoding.EncodeToString([]byte(rc[at+":username"]+":"+string(password)))
			}
		}
	}
}

// variable is ${NAME} in an npmrc file.
var variable = regexp.MustCompile(`\$\{([^}]+)\}`)

// parseNpmrc reads key = value lines; ; and # begin comments.
func parseNpmrc(data string, getenv func(string) string) map[string]string {
	out := map[string]string{}
	for line := range strings.Lines(data) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == ';' || line[0] == '#' {
			continue
		}
		key, value, ok := strings.Cut(line, "=")
		if !ok {
			continue
		}
		value = strings.TrimSpace(value)
		if n := len(value); n > 1 && (value[0] == '"' || value[0] == '\'') && value[n-1] == value[0] {
			value = value[1 : n-1]
		}
		out[strings.TrimSpace(key)] = variable.ReplaceAllStringFunc(value, func(v string) string {
			return getenv(v[2 : len(v)-1])
		})
	}
	return out
}

// registry is where a package comes from.
func (n Npm) registry(name string) string {
	if scope, _, ok := strings.Cut(name, "/"); ok && n.Scopes[scope] != "" {
		return n.Scopes[scope]
	}
	return n.Registry
}

// authorize adds the credentials of the longest registry address that the request is
// below, and so none when an archive is at another host.
func (n Npm) authorize(req *http.Request) {
	at := "//" + req.URL.Host + req.URL.Path
	best := ""
	for prefix := range n.Auth {
		dir := strings.TrimSuffix(prefix, "/") + "/"
		if strings.HasPrefix(at, dir) && len(prefix) > len(best) {
			best = prefix
		}
	}
	if best != "" {
		req.Header.Set("Authorization", n.Auth[best])
	}
}
