package e2e

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/test/harness"
)

const twenty = 20 * time.Minute

// badSource is something that heddle chaincode deploy has to refuse, with words for the person who asked.
type badSource struct {
	// files of the folder; empty: what args say is deployed.
	files map[string]string
	// args beside the usual ones. NAME stands for the contract's name, DIR for the folder.
	args []string
	// channel that it goes to, unless it is demo.
	channel string
	words   []string
	// status: the Chaincode is there and says the same; else there is none.
	status bool
}

const (
	noImage = "registry.example/none@sha256:1111111111111111111111111111111111111111111111111111111111111111"
	goMod   = "module example.com/bad\n\ngo 1.26\n"
	goMain  = "package main\n\nfunc main() {}\n"
	// emptyLock fits a package.json without dependencies.
	emptyLock = `{"name": "bad", "version": "1.0.0", "lockfileVersion": 3, "requires": true, "packages": {"": {"name": "bad", "version": "1.0.0"}}}`
)

func withImage(args ...string) []string { return append([]string{"--image", noImage}, args...) }

// packageFile is a package.json with these scripts.
func packageFile(scripts string) string {
	return `{"name": "bad", "version": "1.0.0", "main": "dist/index.js", "scripts": {` + scripts + `}}`
}

var badSources = map[string]badSource{
	"does not compile":          {files: map[string]string{"go.mod": goMod, "main.go": "package main\n\nfunc main() { return 1 }\n"}, words: []string{"main.go:3", "too many return values"}},
	"no function main":          {files: map[string]string{"go.mod": goMod, "main.go": "package main\n"}, words: []string{"Package main has no function main"}},
	"no package main":           {files: map[string]string{"go.mod": goMod, "bad.go": "package bad\n"}, words: []string{`package is "bad", not main`}},
	"two packages":              {files: map[string]string{"go.mod": goMod, "main.go": goMain, "bad.go": "package bad\n"}, words: []string{"several packages"}},
	"nothing in it":             {files: map[string]string{"README": "x"}, words: []string{"tell the contract's language", "go.mod"}},
	"empty folder":              {files: map[string]string{}, args: []string{"DIR"}, words: []string{"no files"}},
	"another language":          {files: map[string]string{"go.mod": goMod, "main.go": goMain}, args: []string{"--language", "JavaScript"}, words: []string{"package.json", "is its language Go rather than JavaScript"}},
	"no such language":          {files: map[string]string{"go.mod": goMod, "main.go": goMain}, args: []string{"--language", "Cobol"}, words: []string{"Cobol", "Go"}},
	"no go.sum":                 {files: map[string]string{"go.mod": goMod + "\nrequire github.com/google/go-cmp v0.7.0\n", "main.go": "package main\n\nimport _ \"github.com/google/go-cmp/cmp\"\n\nfunc main() {}\n"}, words: []string{"go.sum does not list every module", "go mod tidy"}},
	"cgo":                       {files: map[string]string{"go.mod": goMod, "main.go": "package main\n\n// int f(void);\nimport \"C\"\n\nfunc main() { C.f() }\n"}, words: []string{"cgo is off"}},
	"module that is nowhere":    {files: map[string]string{"go.mod": goMod + "\nrequire example.com/nowhere v1.0.0\n", "go.sum": "example.com/nowhere v1.0.0 h1:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\nexample.com/nowhere v1.0.0/go.mod h1:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n", "main.go": "package main\n\nimport _ \"example.com/nowhere\"\n\nfunc main() {}\n"}, words: []string{"A module could not be had", "nowhere"}},
	"newer Go":                  {files: map[string]string{"go.mod": "module example.com/bad\n\ngo 1.99\n", "main.go": goMain}, words: []string{"asks for a newer Go"}},
	"broken package.json":       {files: map[string]string{"package.json": "{", "package-lock.json": emptyLock}, words: []string{"package.json is broken"}},
	"no start script":           {files: map[string]string{"package.json": packageFile(""), "package-lock.json": emptyLock}, words: []string{"no start script"}},
	"start script with a shell": {files: map[string]string{"package.json": packageFile(`"start": "node dist/index.js && reboot"`), "package-lock.json": emptyLock}, words: []string{"cannot be run without a shell"}},
	"lock that does not fit":    {files: map[string]string{"package.json": `{"name": "bad", "version": "1.0.0", "main": "a.js", "scripts": {"start": "node a.js"}, "dependencies": {"left": "1.0.0"}}`, "package-lock.json": emptyLock, "a.js": ""}, words: []string{"package-lock.json"}},
	"no build script":           {files: map[string]string{"package.json": packageFile(`"start": "node dist/index.js"`), "package-lock.json": emptyLock, "tsconfig.json": "{}"}, words: []string{"no build script"}},
	"build script that fails":   {files: map[string]string{"package.json": packageFile(`"start": "node dist/index.js", "build": "echo words of the script; exit 3"`), "package-lock.json": emptyLock, "tsconfig.json": "{}"}, words: []string{"words of the script", "npm run failed"}},
	"program for another world": {files: map[string]string{"chaincode": "\x7fELF no program"}, words: []string{"chaincode"}},
	"broken index":              {files: map[string]string{"go.mod": goMod, "main.go": goMain, "META-INF/statedb/couchdb/indexes/a.json": "{"}, words: []string{"a.json"}},
	"path that leads out":       {files: map[string]string{"go.mod": goMod, "main.go": goMain}, args: []string{"--path", "../up"}, words: []string{`folder "../up"`, "no files"}},
	"path that is not there":    {files: map[string]string{"go.mod": goMod, "main.go": goMain}, args: []string{"--path", "sub"}, words: []string{`folder "sub"`, "no files"}},
	"archive that is none":      {files: map[string]string{"source.tar.gz": "no archive"}, args: []string{"DIR/source.tar.gz"}, words: []string{"read source"}},
	"no such folder":            {files: map[string]string{}, args: []string{"DIR/none"}, words: []string{"read source", "no such file"}},
	"broken collections":        {args: withImage("--collections", "DIR/collections.json"), files: map[string]string{"collections.json": `[{"name": "prices"`}, words: []string{"spec.collections", "parse collections"}, status: true},
	"collections with a typo":   {args: withImage("--collections", "DIR/collections.json"), files: map[string]string{"collections.json": `[{"name": "prices", "policy": "OR('BankAMSP.member')", "blokToLive": 1}]`}, words: []string{"spec.collections", "blokToLive"}, status: true},
	"collections of strangers":  {args: withImage("--collections", "DIR/collections.json"), files: map[string]string{"collections.json": `[{"name": "prices", "policy": "OR('Nobody.member')", "maxPeerCount": 1}]`}, words: []string{`collection "prices"`, `"Nobody"`, "BankAMSP, BankBMSP"}, status: true},
	"malformed policy":          {args: withImage("--policy", "AND('BankAMSP.peer'"), words: []string{"spec.endorsementPolicy"}, status: true},
	"impossible policy":         {args: withImage("--policy", "OutOf(3, 'BankAMSP.peer', 'BankBMSP.peer')"), words: []string{"spec.endorsementPolicy"}, status: true},
	"policy of strangers":       {args: withImage("--policy", "OR('BankAMSP.peer', 'Nobody.peer')"), words: []string{"spec.endorsementPolicy", `"Nobody"`, "BankAMSP, BankBMSP"}, status: true},
	"name in use":               {args: withImage("--name", "as_set"), words: []string{"stands for contract", "as-set", "choose another --name"}},
	"name with a slash":         {args: withImage("--name", "../etc"), words: []string{"chaincodeName"}},
	"name that is too long":     {args: withImage("--name", strings.Repeat("n", 100)), words: []string{"chaincodeName"}},
	"name of other letters":     {args: withImage("--name", "überweisung"), words: []string{"chaincodeName"}},
	"name of Fabric's own":      {args: withImage("--name", "lscc"), words: []string{"spec.chaincodeName", `"lscc"`, "Fabric's own"}, status: true},
	"no name":                   {args: withImage("--name", ""), words: []string{"--name is needed"}},
	"image by tag":              {args: []string{"--image", "registry.example/none:latest", "--runtime", "Peer"}, words: []string{"digest"}},
	"no such channel":           {args: withImage(), channel: "nowhere", words: []string{`no Channel "nowhere"`}},
	"unreachable channel":       {args: withImage("--timeout", "5s"), channel: "stuck", words: []string{"stuck"}, status: true},
}

// TestBadSource: whatever is wrong with what somebody deploys, the command ends with a sentence that says what, and
// nothing half-made is left: no pod at work, and no object but such as say the same.
func TestBadSource(t *testing.T) {
	ctx, c, s := faultyLab(t, twenty, "bad-source")
	// Its object's name is that of as_set on the same channel; and a channel that never comes about.
	apply(ctx, t, c, strings.ReplaceAll(`
apiVersion: heddle.dev/v1alpha1
kind: Chaincode
metadata: {name: demo-as-set, namespace: NETWORK}
spec: {channel: demo, chaincodeName: as-set, image: "`+assetImage+`"}
---
apiVersion: heddle.dev/v1alpha1
kind: Channel
metadata: {name: stuck, namespace: NETWORK}
spec: {consenters: [orderer9-ord]}
`, "NETWORK", s.Name))
	t.Run("all", func(t *testing.T) {
		for i, name := range slices.Sorted(maps.Keys(badSources)) {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				badSources[name].check(ctx, t, c, s.Name, fmt.Sprintf("bad%d", i))
			})
		}
		t.Run("500 MB", func(t *testing.T) {
			folder := t.TempDir()
			must(t, os.WriteFile(filepath.Join(folder, "go.mod"), []byte(goMod), 0o600))
			must(t, os.WriteFile(filepath.Join(folder, "large"), nil, 0o600))
			must(t, os.Truncate(filepath.Join(folder, "large"), 500<<20))
			out, err := c.Heddle(ctx, "chaincode", "deploy", folder, "--channel", demoChannel, "-n", s.Name)
			if err == nil {
				t.Error("500 MB were taken")
			}
			wantWords(t, out, []string{`"large"`, "100 MiB"})
		})
	})
	noBuildsAtWork(ctx, t, c, s.Name)
	neighbour(ctx, t, c, s)
}

func (b badSource) check(ctx context.Context, t *testing.T, c *harness.Cluster, ns, name string) {
	t.Helper()
	folder := filepath.Join(t.TempDir(), "source")
	must(t, os.Mkdir(folder, 0o755))
	for path, content := range b.files {
		must(t, os.MkdirAll(filepath.Dir(filepath.Join(folder, path)), 0o755))
		must(t, os.WriteFile(filepath.Join(folder, path), []byte(content), 0o755))
	}
	channel := demoChannel
	if b.channel != "" {
		channel = b.channel
	}
	args := []string{"chaincode", "deploy", "--channel", channel, "-n", ns, "--timeout", "5m"}
	if i := slices.Index(b.args, "--name"); i >= 0 {
		name = b.args[i+1]
	} else {
		args = append(args, "--name", name)
	}
	names := strings.NewReplacer("DIR", folder, "NAME", name)
	source := len(b.files) > 0
	for _, a := range b.args {
		source = source && a != "--image" && !strings.HasPrefix(a, "DIR/source")
		args = append(args, names.Replace(a))
	}
	if source {
		args = append(args, folder)
	}
	out, err := c.Heddle(ctx, args...)
	if err == nil {
		t.Errorf("it was taken:\n%s", out)
	}
	progress("%s: %s", t.Name(), lastLines(out))
	wantWords(t, out, b.words)
	cc := standsFor(ctx, t, c, ns, channel, name)
	switch {
	case !b.status && cc != nil:
		t.Errorf("a Chaincode is left: %+v", cc.Status.Conditions)
	case b.status && cc == nil:
		t.Error("there is no Chaincode that says what is wrong")
	case b.status:
		if r := meta.FindStatusCondition(cc.Status.Conditions, v1alpha1.ConditionReady); r == nil || !strings.Contains(r.Message, b.words[0]) {
			t.Errorf("the Chaincode does not say %q: %+v", b.words[0], cc.Status.Conditions)
		}
		must(t, c.Remove(ctx, cc))
	}
}

// standsFor is the Chaincode of a contract on a channel, whatever its name; nil if there is none.
func standsFor(ctx context.Context, t *testing.T, c *harness.Cluster, ns, channel, name string) *v1alpha1.Chaincode {
	t.Helper()
	var list v1alpha1.ChaincodeList
	must(t, c.List(ctx, &list, client.InNamespace(ns)))
	for i := range list.Items {
		if cc := &list.Items[i]; cc.Spec.Channel == channel && cc.Spec.ChaincodeName == name {
			return cc
		}
	}
	return nil
}

func lastLines(out string) string {
	lines := strings.Split(strings.TrimSpace(out), "\n")
	return strings.Join(lines[max(0, len(lines)-2):], " / ")
}
