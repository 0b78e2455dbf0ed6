package samples

import (
	"context"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"heddle.dev/heddle/test/bare"
	"heddle.dev/heddle/test/npm"
)

const clientTime = 2 * time.Minute

// salts are drawn anew by each run of a client; so are bookmarks by some state databases.
var salts = regexp.MustCompile(`[0-9a-f]{32}`)

// clients are the projects of the samples' clients, ready to run.
type clients struct{ js, ts string }

func buildClients(t *testing.T) clients {
	t.Helper()
	return clients{
		js: npm.Build(t, filepath.Join(folder, "clients", "js")),
		ts: npm.Build(t, filepath.Join(folder, "clients", "ts")),
	}
}

// run runs the client of a sample with as many users as it takes, and returns what it says.
func (c clients) run(ctx context.Context, t *testing.T, language, sample string, users []user) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, clientTime)
	defer cancel()
	var command []string
	switch language {
	case "go":
		command = []string{bare.BuildProgram(t, "samples/clients/go/"+sample)}
	case "js":
		command = []string{"node", filepath.Join(c.js, sample+".js")}
	case "ts":
		command = []string{"node", filepath.Join(c.ts, "dist", sample+".js")}
	}
	command = append(command, "--channel", channel, "--contract", sample+"-"+language, "--id", "c1", users[0].folder)
	if sample != "asset" && sample != "catalog" {
		command = append(command, users[1].folder)
	}
	program := exec.CommandContext(ctx, command[0], command[1:]...)
	var out, problems strings.Builder
	program.Stdout, program.Stderr = &out, &problems
	if err := program.Run(); err != nil {
		t.Errorf("client of %s in %s: %v\n%s%s", sample, language, err, out.String(), problems.String())
	}
	return salts.ReplaceAllString(out.String(), "SALT")
}
