package bare

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"heddle.dev/heddle/internal/fabric/caclient"
	"heddle.dev/heddle/internal/pki"
)

const caProgram = "fabric-ca-server"

// CA is a running fabric-ca server.
type CA struct {
	*Process
	// Address of its API.
	Address string
	// Registrar and Secret of its first identity.
	Registrar, Secret string

	org *Org
}

// RequireCA skips a test on machines without a fabric-ca server.
func RequireCA(tb testing.TB) string {
	tb.Helper()
	if testing.Short() {
		tb.Skip("needs a real CA: not in -short")
	}
	var folders []string
	if bin := os.Getenv("FABRIC_BIN"); bin != "" {
		folders = append(folders, bin)
	}
	if root, err := moduleRoot(); err == nil {
		folders = append(folders, filepath.Join(root, "out", "bin"))
	}
	for _, folder := range folders {
		program := filepath.Join(folder, caProgram)
		if _, err := os.Stat(program); err == nil {
			return program
		}
	}
	tb.Skipf("needs %s in one of %v: run make images", caProgram, folders)
	return ""
}

// StartCA runs a fabric-ca server as the organisation's application authority,
// and waits until it answers. Kill ends it, also after an error.
func StartCA(ctx context.Context, program, dir string, org *Org) (*CA, error) {
	ports, err := freePorts(2)
	if err != nil {
		return nil, err
	}
	leaf, err := org.Issue("ca-"+org.Name, pki.RoleClient)
	if err != nil {
		return nil, err
	}
	if err := org.write(dir, leaf); err != nil {
		return nil, err
	}
	key, err := pki.EncodeKey(org.App.Key)
	if err != nil {
		return nil, err
	}
	cert := pki.EncodeCerts(org.App.Cert)
	for name, content := range map[string][]byte{"ca.key": key, "ca.crt": cert, "chain.crt": append(append([]byte{}, cert...), org.Material.CACerts[0]...)} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			return nil, fmt.Errorf("write files of the CA: %w", err)
		}
	}
	ca := &CA{
		Process: &Process{Name: caProgram, LogFile: filepath.Join(dir, "ca.log"), program: program},
		Address: host + ":" + ports[0], Registrar: "registrar", Secret: "secret", org: org,
	}
	ca.args = []string{
		"start", "-b", ca.Registrar + ":" + ca.Secret, "-H", dir, "--address", host, "-p", ports[0],
		"--ca.name", "app", "--ca.certfile", dir + "/ca.crt", "--ca.keyfile", dir + "/ca.key", "--ca.chainfile", dir + "/chain.crt",
		"--tls.enabled", "--tls.certfile", dir + "/tls/tls.crt", "--tls.keyfile", dir + "/tls/tls.key",
		"--operations.listenaddress", host + ":" + ports[1], "--csr.cn", org.App.Cert.Subject.CommonName,
	}
	if err := ca.start(); err != nil {
		return ca, err
	}
	client, err := ca.Client()
	if err != nil {
		return ca, err
	}
	defer client.Close()
	return ca, ca.wait(ctx, func() error {
		info, err := client.Info(ctx)
		if err == nil && info.Name != "app" {
			err = errors.New("the CA has another name: " + info.Name)
		}
		return err
	})
}

// Client of the CA.
func (c *CA) Client() (*caclient.Client, error) {
	return caclient.New(caclient.Options{Address: c.Address, Roots: c.org.TLSRoots()})
}
