// Package couch gives peers of tests a server of CouchDB's protocol: the stand-in that the lab has too. CouchDB itself
// is in no package registry that tests can count on.
package couch

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"heddle.dev/heddle/internal/fabric/nodeenv"
	"heddle.dev/heddle/test/npm"
)

// password of the servers.
const password = "of-a-test"

// Program is a server that can be started.
type Program struct{ file, folder string }

// Prepare builds the server and fetches what it needs. root is the folder of this module. It skips the test where Node,
// npm or the packages cannot be had.
func Prepare(tb testing.TB, root string) Program {
	tb.Helper()
	p := Program{folder: npm.Prepare(tb, filepath.Join(root, "couchsim", "server")), file: filepath.Join(tb.TempDir(), "couchsim")}
	if out, err := exec.Command("go", "build", "-o", p.file, "heddle.dev/heddle/couchsim").CombinedOutput(); err != nil {
		tb.Fatalf("%v\n%s", err, out)
	}
	return p
}

// Start runs a fresh server and returns the settings of a peer that uses it.
func (p Program) Start(tb testing.TB) []nodeenv.Var {
	tb.Helper()
	return []nodeenv.Var{
		{Name: "CORE_LEDGER_STATE_STATEDATABASE", Value: "CouchDB"},
		{Name: "CORE_LEDGER_STATE_COUCHDBCONFIG_COUCHDBADDRESS", Value: p.start(tb)},
		{Name: nodeenv.CouchDBUsername, Value: "heddle"},
		{Name: nodeenv.CouchDBPassword, Value: password},
	}
}

// start returns the address: it is the last word of the line in which the stand-in tells it.
func (p Program) start(tb testing.TB) string {
	tb.Helper()
	data, settings := tb.TempDir(), tb.TempDir()
	free := []byte("[chttpd]\nbind_address = 127.0.0.1\nport = 0\n")
	if err := os.WriteFile(filepath.Join(settings, "free.ini"), free, 0o600); err != nil {
		tb.Fatal(err)
	}
	command := exec.Command(p.file, "-server", filepath.Join(p.folder, "server.js"), "-data", data, "-settings", settings)
	command.Env = append(os.Environ(), "COUCHDB_USER=heddle", "COUCHDB_PASSWORD="+password)
	out, err := command.StderrPipe()
	if err == nil {
		err = command.Start()
	}
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		_ = command.Process.Signal(os.Interrupt) // gone is as good
		_ = command.Wait()
	})
	said := bufio.NewReader(out)
	for {
		line, err := said.ReadString('\n')
		if err != nil {
			tb.Fatal(err)
		}
		if before, address, found := strings.Cut(line, " listens on "); found && strings.Contains(before, "STAND-IN") {
			go func() { _, _ = io.Copy(os.Stderr, said) }()
			return strings.TrimSpace(address)
		}
	}
}
