package runtime

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"time"

	pb "github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"

	"heddle.dev/heddle/fabsim/internal/node"
)

// connection is where a contract's own server is.
type connection struct {
	Address            string `json:"address"`
	Domain             string `json:"domain"`
	DialTimeout        any    `json:"dial_timeout"`
	TLSRequired        bool   `json:"tls_required"`
	ClientAuthRequired bool   `json:"client_auth_required"`
	ClientKey          string `json:"client_key"`
	ClientCert         string `json:"client_cert"`
	RootCert           string `json:"root_cert"`
}

// server reads where the contract's server is; nil if the contract is to be
// started and will dial.
func (b *built) server() (*connection, error) {
	name := filepath.Join(b.dir, "release", "chaincode", "server", "connection.json")
	raw, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil //nolint:nilnil // most contracts have no server
	}
	if err != nil {
		return nil, fmt.Errorf("could not read '%s' for chaincode info: %w", name, err)
	}
	c := &connection{}
	if err := json.Unmarshal(raw, c); err != nil {
		return nil, fmt.Errorf("malformed chaincode info at '%s': %w", name, err)
	}
	if c.Address == "" {
		return nil, errors.New("chaincode address not provided")
	}
	return c, nil
}

func (c *connection) timeout() (time.Duration, error) {
	switch value := c.DialTimeout.(type) {
	case nil:
		return 3 * time.Second, nil
	case float64:
		return time.Duration(value), nil
	case string:
		timeout, err := time.ParseDuration(value)
		if err != nil {
			return 0, fmt.Errorf("invalid duration: %w", err)
		}
		if timeout == 0 {
			timeout = 3 * time.Second
		}
		return timeout, nil
	default:
		return 0, errors.New("invalid duration")
	}
}

func (c *connection) credentials() (credentials.TransportCredentials, error) {
	if !c.TLSRequired {
		return insecure.NewCredentials(), nil
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: x509.NewCertPool()}
	if c.RootCert == "" {
		return nil, errors.New("chaincode tls root cert not provided")
	}
	if !config.RootCAs.AppendCertsFromPEM([]byte(c.RootCert)) {
		return nil, errors.New("error adding root certificate: no certificate in it")
	}
	if c.ClientAuthRequired {
		if c.ClientKey == "" {
			return nil, errors.New("chaincode tls key not provided")
		}
		if c.ClientCert == "" {
			return nil, errors.New("chaincode tls cert not provided")
		}
		pair, err := tls.X509KeyPair([]byte(c.ClientCert), []byte(c.ClientKey))
		if err != nil {
			return nil, fmt.Errorf("failed to load client certificate: %w", err)
		}
		config.Certificates, config.ServerName = []tls.Certificate{pair}, c.Domain
	}
	return credentials.NewTLS(config), nil
}

// connect dials the contract's server and serves it until the stream ends.
func (r *Runtime) connect(ctx context.Context, id string, c *connection) error {
	creds, err := c.credentials()
	if err != nil {
		return err
	}
	timeout, err := c.timeout()
	if err != nil {
		return err
	}
	conn, err := grpc.NewClient("passthrough:///"+c.Address, grpc.WithTransportCredentials(creds),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(node.MaxMessageSize), grpc.MaxCallSendMsgSize(node.MaxMessageSize)))
	if err != nil {
		return fmt.Errorf("error cannot create connection for %s: error creating grpc connection to %s: %w", id, c.Address, err)
	}
	defer conn.Close()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	late := time.AfterFunc(timeout, func() { cancel(errors.New("context deadline exceeded")) })
	stream, err := pb.NewChaincodeClient(conn).Connect(ctx, grpc.WaitForReady(true))
	if err != nil {
		return fmt.Errorf("error cannot create connection for %s: error creating grpc connection to %s: %w", id, c.Address, errors.Join(context.Cause(ctx), err))
	}
	if !late.Stop() {
		return fmt.Errorf("error cannot create connection for %s: error creating grpc connection to %s: %w", id, c.Address, context.Cause(ctx))
	}
	if err := r.serve(stream, id); err != nil {
		return fmt.Errorf("error handling chaincode stream for %s: %w", id, err)
	}
	return nil
}

// launchFile is what a builder's run is told.
type launchFile struct {
	ID         string `json:"chaincode_id"`
	Address    string `json:"peer_address"`
	ClientCert string `json:"client_cert"`
	ClientKey  string `json:"client_key"`
	RootCert   string `json:"root_cert"`
	MSPID      string `json:"mspid"`
}

// run starts the contract with the builder and waits for its end.
func (b *built) run(ctx context.Context, r *Runtime, id string) (int, error) {
	told := launchFile{ID: id, Address: r.o.Address, MSPID: r.o.MSPID}
	if err := r.identities.issue(id, &told); err != nil {
		return 0, err
	}
	raw, err := json.Marshal(told) //nolint:gosec // the key is the contract's own, in a file that it alone is shown
	if err != nil {
		return 0, fmt.Errorf("could not marshal run config: %w", err)
	}
	dir, err := os.MkdirTemp("", "fabsim-run-*")
	if err != nil {
		return 0, fmt.Errorf("could not create temp run dir: %w", err)
	}
	defer func() { _ = os.RemoveAll(dir) }() // the key in it is of no use once the contract has ended
	if err := os.WriteFile(filepath.Join(dir, "chaincode.json"), raw, 0o600); err != nil {
		return 0, fmt.Errorf("could not write run config: %w", err)
	}
	command := r.command(ctx, b.builder, "run", filepath.Join(b.dir, "bld"), dir)
	lines := &lineLog{write: func(line string) { r.o.Log.Infof("Contract %s: %s", id, line) }}
	command.Stdout, command.Stderr = lines, lines
	if err := command.Run(); err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			return exit.ExitCode(), nil
		}
		return 0, fmt.Errorf("builder '%s' run failed to start: %w", b.builder.Name, err)
	}
	return 0, nil
}

// lineLog cuts output into lines.
type lineLog struct {
	write func(string)
	rest  string
}

func (l *lineLog) Write(p []byte) (int, error) {
	lines := strings.Split(l.rest+string(p), "\n")
	l.rest = lines[len(lines)-1]
	for _, line := range lines[:len(lines)-1] {
		l.write(line)
	}
	return len(p), nil
}

// Indexes are the indexes that a package brings, by collection ("" is public)
// and file name, as the builder released them or as the sources have them. What
// was built may be gone: a peer need not keep it longer than it runs. A package
// that is not installed, or does not build, brings none.
func (r *Runtime) Indexes(ctx context.Context, id string) (map[string]map[string][]byte, error) {
	if _, err := r.build(ctx, id); err != nil {
		r.o.Log.Debugf("Package %s brings no indexes: %s", id, err)
	}
	for _, base := range []string{"release", "bld/META-INF"} {
		out, err := indexesBelow(filepath.Join(r.dir(id), base, "statedb", "couchdb"))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("read indexes of %s: %w", id, err)
		}
		if len(out) > 0 {
			return out, nil
		}
	}
	return map[string]map[string][]byte{}, nil
}

func indexesBelow(dir string) (map[string]map[string][]byte, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err //nolint:wrapcheck // the caller says whose
	}
	defer root.Close()
	out := map[string]map[string][]byte{}
	err = fs.WalkDir(root.FS(), ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		collection, ok := indexed(name)
		if !ok {
			return nil
		}
		content, err := fs.ReadFile(root.FS(), name)
		if err != nil {
			return err //nolint:wrapcheck // the caller says whose
		}
		if out[collection] == nil {
			out[collection] = map[string][]byte{}
		}
		out[collection][path.Base(name)] = content
		return nil
	})
	return out, err
}

// indexed tells which collection the index in a file is for, if it is one.
func indexed(name string) (string, bool) {
	parts := strings.Split(name, "/")
	switch {
	case path.Ext(name) != ".json":
		return "", false
	case len(parts) == 2 && parts[0] == "indexes":
		return "", true
	case len(parts) == 4 && parts[0] == "collections" && parts[2] == "indexes":
		return parts[1], true
	}
	return "", false
}
