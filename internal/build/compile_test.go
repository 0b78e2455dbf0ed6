package build

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const (
	goMod   = "module example.org/contract\n\ngo 1.21\n"
	goMain  = "package main\n\nfunc main() { println(\"contract\") }\n"
	index   = `{"index": {"fields": ["owner"]}, "name": "owner"}`
	indexes = "META-INF/statedb/couchdb/indexes/"
)

func TestCompileGo(t *testing.T) {
	w := newWorkspace(t, "Go").withGo(t)
	if err := os.CopyFS(w.Source, os.DirFS("../../samples/contracts/asset-go")); err != nil {
		t.Fatal(err)
	}
	got := w.compile(t)
	if !strings.HasPrefix(got.Toolchain, "go version go1.") {
		t.Errorf("toolchain is %q", got.Toolchain)
	}
	got.Toolchain = ""
	if diff := cmp.Diff(&Compiled{Recipe: "go/1", Entrypoint: []string{"/usr/local/bin/chaincode"}}, got); diff != "" {
		t.Errorf("result (-want +got):\n%s\n%s", diff, w.log.String())
	}
	// It runs: as a contract that nobody tells where its peer is.
	program := filepath.Join(w.Out, "layers", "0", "usr", "local", "bin", "chaincode")
	output, err := exec.CommandContext(t.Context(), program).CombinedOutput()
	if err == nil || !strings.Contains(string(output), "asset-go:") {
		t.Errorf("the contract says %q, %v", output, err)
	}
	kept, err := os.ReadFile(filepath.Join(w.Out, "META-INF", "statedb", "couchdb", "indexes", "owner.json"))
	if err != nil || !strings.Contains(string(kept), "owner") {
		t.Errorf("index: %q, %v", kept, err)
	}
	saved, err := os.ReadFile(filepath.Join(w.Out, "build.log"))
	if err != nil || string(saved) != w.log.String() || !strings.Contains(string(saved), "running go build") {
		t.Errorf("log %q, %v; printed was %q", saved, err, w.log.String())
	}
}

// TestCompileGoTwice builds in two places: the program says nothing of where.
func TestCompileGoTwice(t *testing.T) {
	var programs [2][]byte
	for i := range programs {
		w := newWorkspace(t, "Go").withGo(t)
		w.Path = "contracts/asset"
		write(t, w.Source, map[string]string{"contracts/asset/go.mod": goMod, "contracts/asset/main.go": goMain})
		if got := w.compile(t); got.Failure != "" {
			t.Fatal(got.Failure)
		}
		content, err := os.ReadFile(filepath.Join(w.Out, layerFolder, "0", programPath))
		if err != nil {
			t.Fatal(err)
		}
		programs[i] = content
	}
	if !bytes.Equal(programs[0], programs[1]) {
		t.Error("the same source gives two programs")
	}
}

// TestCompileGoVendor needs no module from anywhere.
func TestCompileGoVendor(t *testing.T) {
	w := newWorkspace(t, "Go").withGo(t)
	write(t, w.Source, map[string]string{
		"go.mod":                         goMod + "\nrequire example.org/dep v1.0.0\n",
		"main.go":                        "package main\n\nimport \"example.org/dep\"\n\nfunc main() { dep.Hello() }\n",
		"vendor/modules.txt":             "# example.org/dep v1.0.0\n## explicit; go 1.21\nexample.org/dep\n",
		"vendor/example.org/dep/dep.go":  "package dep\n\nfunc Hello() {}\n",
		"vendor/example.org/dep/LICENSE": "none",
	})
	if got := w.compile(t); got.Failure != "" {
		t.Error(got.Failure)
	}
}

// program builds a program of this machine's architecture, or of another.
func program(t *testing.T, arch string) string {
	t.Helper()
	w := newWorkspace(t, "Go").withGo(t)
	write(t, w.Source, map[string]string{"go.mod": goMod, "main.go": goMain})
	out := filepath.Join(w.Out, "p")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-ldflags=-s -w", "-o", out, ".")
	cmd.Dir = w.Source
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=", "GOARCH="+arch)
	if output, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, output)
	}
	content, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

func TestCompileBinary(t *testing.T) {
	content := program(t, runtime.GOARCH)
	w := newWorkspace(t, "Binary")
	write(t, w.Source, map[string]string{"chaincode": content})
	got := w.compile(t)
	if diff := cmp.Diff(&Compiled{Recipe: "binary/1", Entrypoint: []string{"/usr/local/bin/chaincode"}}, got); diff != "" {
		t.Errorf("result (-want +got):\n%s", diff)
	}
	copied, err := os.ReadFile(filepath.Join(w.Out, layerFolder, "0", programPath))
	if err != nil || string(copied) != content {
		t.Errorf("the copy has %d bytes of %d, %v", len(copied), len(content), err)
	}
}

// TestCompileFaulty has sources that cannot be built: each is a result, with a sentence that says what to do.
func TestCompileFaulty(t *testing.T) {
	shell, err := os.ReadFile("/bin/sh")
	if err != nil {
		t.Fatal(err)
	}
	pkg := func(fields string) string { return `{"name": "c", "version": "1.0.0"` + fields + `}` }
	const start = `, "main": "index.js", "scripts": {"start": "fabric-chaincode-node start"}`
	cases := map[string]struct {
		language, path string
		files          map[string]string
		want           []string
	}{
		"no go.mod":            {"Go", "", map[string]string{"main.go": goMain}, []string{"no go.mod in the source"}},
		"go.mod in a folder":   {"Go", "", map[string]string{"contract/go.mod": goMod, "contract/main.go": goMain}, []string{"in contract: give that folder"}},
		"no such folder":       {"Go", "contract", map[string]string{"go.mod": goMod}, []string{`no folder "contract"`}},
		"wrong language":       {"Go", "", map[string]string{"package.json": "{}"}, []string{"is its language JavaScript rather than Go?"}},
		"wrong language too":   {"TypeScript", "sub", map[string]string{"sub/go.mod": goMod}, []string{`folder "sub"`, "is its language Go"}},
		"does not compile":     {"Go", "", map[string]string{"go.mod": goMod, "main.go": "package main\n\nfunc main() { undefined() }\n"}, []string{"go build failed", "main.go:3:15: undefined: undefined"}},
		"is no Go":             {"Go", "", map[string]string{"go.mod": goMod, "main.go": "package main\n\nfunc {"}, []string{"main.go:3"}},
		"no function main":     {"Go", "", map[string]string{"go.mod": goMod, "main.go": "package main\n"}, []string{"no function main"}},
		"no main package":      {"Go", "", map[string]string{"go.mod": goMod, "c.go": "package contract\n"}, []string{`package is "contract", not main`}},
		"no Go file":           {"Go", "", map[string]string{"go.mod": goMod, "c_test.go": "package main\n"}, []string{"no Go file to build"}},
		"main elsewhere":       {"Go", "", map[string]string{"go.mod": goMod, "c.go": "package contract\n", "cmd/a/main.go": goMain}, []string{"a package main in cmd/a"}},
		"several mains":        {"Go", "", map[string]string{"go.mod": goMod, "cmd/a/main.go": goMain, "cmd/b/main.go": goMain}, []string{"several in other folders: cmd/a, cmd/b"}},
		"two packages":         {"Go", "", map[string]string{"go.mod": goMod, "main.go": goMain, "other.go": "package other\n"}, []string{"several packages, main and other"}},
		"two functions main":   {"Go", "", map[string]string{"go.mod": goMod, "a.go": goMain, "b.go": goMain}, []string{"main redeclared"}},
		"module not in go.mod": {"Go", "", map[string]string{"go.mod": goMod, "main.go": "package main\n\nimport _ \"example.org/none\"\n\nfunc main() {}\n"}, []string{"go mod tidy"}},
		"module not to be had": {"Go", "", map[string]string{"go.mod": goMod + "\nrequire example.org/none v1.0.0\n", "go.sum": "example.org/none v1.0.0 h1:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\nexample.org/none v1.0.0/go.mod h1:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n", "main.go": "package main\n\nimport _ \"example.org/none\"\n\nfunc main() {}\n"}, []string{"could not be had", "module lookup disabled"}},
		"newer Go":             {"Go", "", map[string]string{"go.mod": "module example.org/c\n\ngo 1.99\n", "main.go": goMain}, []string{"a newer Go"}},
		"broken index":         {"Go", "", map[string]string{"go.mod": goMod, "main.go": goMain, indexes + "a.json": "{"}, []string{"a.json is broken"}},
		"index without fields": {"Go", "", map[string]string{"go.mod": goMod, "main.go": goMain, indexes + "a.json": `{"index": {}}`}, []string{`lists no "fields"`}},
		"index elsewhere":      {"Go", "", map[string]string{"go.mod": goMod, "main.go": goMain, "META-INF/statedb/couchdb/a.json": index}, []string{"a.json is no index"}},
		"large indexes":        {"Go", "", map[string]string{"go.mod": goMod, "main.go": goMain, indexes + "a.json": index + strings.Repeat(" ", indexBytes)}, []string{"cannot be used"}},
		"no package.json":      {"JavaScript", "", map[string]string{"index.js": ""}, []string{"no package.json in the source"}},
		"broken package.json":  {"JavaScript", "", map[string]string{"package.json": "{"}, []string{"package.json is broken"}},
		"no start script":      {"JavaScript", "", map[string]string{"package.json": pkg("")}, []string{"no start script"}},
		"start of a shell":     {"JavaScript", "", map[string]string{"package.json": pkg(`, "scripts": {"start": "set -x && fabric-chaincode-node start"}`)}, []string{"without a shell"}},
		"start of node's own":  {"JavaScript", "", map[string]string{"package.json": pkg(`, "scripts": {"start": "node --eval 1"}`)}, []string{"without a shell"}},
		"start outside":        {"JavaScript", "", map[string]string{"package.json": pkg(`, "scripts": {"start": "node ../x.js"}`)}, []string{"without a shell"}},
		"start of npx":         {"JavaScript", "", map[string]string{"package.json": pkg(`, "scripts": {"start": "npx contract"}`)}, []string{"without a shell"}},
		"start of a server":    {"JavaScript", "", map[string]string{"package.json": pkg(`, "scripts": {"start": "fabric-chaincode-node server"}`)}, []string{"without a shell"}},
		"no main":              {"JavaScript", "", map[string]string{"package.json": pkg(`, "scripts": {"start": "fabric-chaincode-node start"}`)}, []string{`no "main"`}},
		"no build script":      {"TypeScript", "", map[string]string{"package.json": pkg(start)}, []string{"no build script"}},
		"no shim":              {"JavaScript", "", map[string]string{"package.json": pkg(start), "index.js": ""}, []string{"which no dependency provides"}},
		"start of no file":     {"JavaScript", "", map[string]string{"package.json": pkg(`, "scripts": {"start": "node index.js"}`)}, []string{"no index.js after the build"}},
		"TypeScript really":    {"JavaScript", "", map[string]string{"package.json": pkg(`, "scripts": {"start": "node dist/index.js", "build": "tsc"}`)}, []string{"is its language TypeScript?"}},
		"build fails":          {"TypeScript", "", map[string]string{"package.json": pkg(`, "scripts": {"start": "node index.js", "build": "echo wrong type; exit 2"}`)}, []string{"npm run failed", "wrong type"}},
		"package not had":      {"JavaScript", "", map[string]string{"package.json": pkg(`, "dependencies": {"heddle-none": "1.0.0"}, "scripts": {"start": "node index.js"}`)}, []string{"could not be had"}},
		"no program":           {"Binary", "", map[string]string{"README": ""}, []string{"no chaincode in the source"}},
		"no ELF":               {"Binary", "", map[string]string{"chaincode": "#!/bin/sh\n"}, []string{"no Linux program"}},
		"dynamic program":      {"Binary", "", map[string]string{"chaincode": string(shell)}, []string{"shared libraries"}},
		"no JDK":               {"Java", "", map[string]string{"pom.xml": "<project/>"}, []string{"an image with a JDK: set --build-image-java"}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorkspace(t, c.language)
			switch c.language {
			case "Go":
				w.withGo(t)
			case "Java":
				w.env["PATH"] = t.TempDir()
			case "JavaScript", "TypeScript":
				needNPM(t)
			}
			w.Path = c.path
			write(t, w.Source, c.files)
			got := w.compile(t)
			for _, part := range c.want {
				if !strings.Contains(got.Failure, part) {
					t.Errorf("failure %q does not say %q\n%s", got.Failure, part, w.log.String())
				}
			}
			if len(got.Failure) > failureLimit || got.Entrypoint != nil {
				t.Errorf("failure has %d bytes, entrypoint is %v", len(got.Failure), got.Entrypoint)
			}
		})
	}
}

// TestCompileOtherMachine has a program that runs, elsewhere.
func TestCompileOtherMachine(t *testing.T) {
	if testing.Short() {
		t.Skip("it compiles Go's library for another architecture")
	}
	other := map[string]string{"amd64": "arm64"}[runtime.GOARCH]
	if other == "" {
		other = "amd64"
	}
	content := program(t, other)
	w := newWorkspace(t, "Binary")
	write(t, w.Source, map[string]string{"chaincode": content})
	if got := w.compile(t); !strings.Contains(got.Failure, "the platform's machines are") {
		t.Errorf("failure is %q", got.Failure)
	}
}

// TestCompilePlatformFaults are errors rather than results: trying again elsewhere helps.
func TestCompilePlatformFaults(t *testing.T) {
	cases := map[string]func(*workspace){
		"unknown language": func(w *workspace) { w.Language = "Cobol" },
		"no source":        func(w *workspace) { w.Source += "/none" },
		"no tool":          func(w *workspace) { w.env["PATH"] = "/none" },
		"no folder":        func(w *workspace) { w.Out = filepath.Join(w.Source, "go.mod", "out") },
	}
	for name, change := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorkspace(t, "Go")
			write(t, w.Source, map[string]string{"go.mod": goMod, "main.go": goMain})
			change(w)
			if err := Compile(t.Context(), w.CompileOptions); err == nil {
				t.Error("no error")
			}
		})
	}
}

// script is a tool that stands in for a real one.
func (w *workspace) script(t *testing.T, name, text string) {
	t.Helper()
	tools := filepath.Join(w.Cache, "tools")
	write(t, tools, map[string]string{name + "!": "#!/bin/sh\n" + text})
	w.env["PATH"] = tools + ":/usr/bin:/bin"
}

func TestCompileStopped(t *testing.T) {
	w := newWorkspace(t, "Go")
	write(t, w.Source, map[string]string{"go.mod": goMod, "main.go": goMain})
	w.script(t, "go", `[ "$1" = version ] && exit; echo compiling; exec sleep 60`)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	if err := Compile(ctx, w.CompileOptions); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want the end of time", err)
	}
}

func TestCompileKilled(t *testing.T) {
	w := newWorkspace(t, "Go")
	write(t, w.Source, map[string]string{"go.mod": goMod, "main.go": goMain})
	w.script(t, "go", `[ "$1" = version ] && { echo warning >&2; echo go version 1; exit; }; kill -9 $$`)
	if got := w.compile(t); !strings.Contains(got.Failure, "more memory") || got.Toolchain != "go version 1" {
		t.Errorf("got %+v", got)
	}
}

// TestCompileEnv sees what a tool sees: the recipe's settings, the few that pass, and no secret of the pod.
func TestCompileEnv(t *testing.T) {
	t.Setenv("HEDDLE_SECRET", "seen")
	w := newWorkspace(t, "Go")
	w.env["GOFLAGS"] = "-mod=mod"
	write(t, w.Source, map[string]string{"go.mod": goMod, "main.go": goMain})
	w.script(t, "go", "[ \"$1\" = version ] && exit; env; pwd; exit 1")
	failure := w.compile(t).Failure
	for _, part := range []string{"GOPROXY=off\n", "GOFLAGS=\n", "CGO_ENABLED=0\n", "GOCACHE=" + w.Cache + "/go-build\n", "HOME=" + os.Getenv("TMPDIR") + "/home\n", w.Source} {
		if !strings.Contains(failure, part) {
			t.Errorf("%q is not in %s", part, failure)
		}
	}
	if strings.Contains(failure, "seen") {
		t.Error("a tool has the environment of the pod")
	}
}

func TestCompileJava(t *testing.T) {
	for tool, marker := range map[string]string{"mvn": "pom.xml", "gradle": "build.gradle.kts"} {
		for name, text := range map[string]string{"builds": "mkdir -p target build/libs; echo jar >target/chaincode.jar; echo jar >build/libs/chaincode.jar", "builds nothing": "true"} {
			t.Run(tool+" "+name, func(t *testing.T) {
				w := newWorkspace(t, "Java")
				write(t, w.Source, map[string]string{marker: ""})
				w.script(t, "javac", "echo javac 21")
				w.script(t, tool, text)
				got := w.compile(t)
				if name == "builds nothing" {
					if !strings.Contains(got.Failure, "chaincode.jar") {
						t.Errorf("failure is %q", got.Failure)
					}
					return
				}
				want := &Compiled{
					Recipe: "java/1", Toolchain: "javac 21", Base: "java", WorkingDir: "/opt/contract", Entrypoint: []string{"java", "-jar", "/opt/contract/chaincode.jar"},
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("result (-want +got):\n%s", diff)
				}
			})
		}
	}
}

// shim is what stands in for Fabric's library: a dependency in a folder of the source, with the program of that name.
func nodeSource(script string) map[string]string {
	return map[string]string{
		"package.json": `{"name": "c", "version": "1.2.3", "main": "dist/index.js", "dependencies": {"fabric-shim": "file:lib/shim"},
			"scripts": {"start": "fabric-chaincode-node start --module-path ."` + script + `}}`,
		"lib/shim/package.json": `{"name": "fabric-shim", "version": "2.5.8", "license": "Apache-2.0", "bin": {"fabric-chaincode-node": "cli.js"}}`,
		"lib/shim/cli.js!":      "#!/usr/bin/env node\nconsole.log(JSON.stringify(process.argv.slice(2)));\n",
		".npmrc":                "audit=false\n",
	}
}

func TestCompileNode(t *testing.T) {
	needNPM(t)
	for _, language := range []string{"JavaScript", "TypeScript"} {
		t.Run(language, func(t *testing.T) {
			w := newWorkspace(t, language)
			files := nodeSource("")
			files["dist/index.js"] = ""
			if language == "TypeScript" {
				files = nodeSource(`, "build": "mkdir dist && cp index.ts dist/index.js"`)
				files["index.ts"] = "exports.contracts = [];\n"
			}
			write(t, w.Source, files)
			got := w.compile(t)
			if !strings.HasPrefix(got.Toolchain, "node v") || !strings.Contains(got.Toolchain, "npm ") {
				t.Errorf("toolchain is %q", got.Toolchain)
			}
			got.Toolchain = ""
			want := &Compiled{
				Recipe: strings.ToLower(language) + "/1", Base: "node", WorkingDir: "/opt/contract",
				Entrypoint: []string{"/usr/bin/node", "--require", launcher, "node_modules/.bin/fabric-chaincode-node", "start", "--module-path", "."},
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Fatalf("result (-want +got):\n%s\n%s", diff, w.log.String())
			}
			if !strings.Contains(w.log.String(), "no package-lock.json") {
				t.Error("nothing says that the build cannot be repeated")
			}
			for _, file := range []string{"0/opt/contract/node_modules/.bin/fabric-chaincode-node", "1/opt/contract/dist/index.js", "1/opt/contract/package.json"} {
				if _, err := os.Lstat(filepath.Join(w.Out, layerFolder, file)); err != nil {
					t.Error(err)
				}
			}
			if _, err := os.Lstat(filepath.Join(w.Out, layerFolder, "1", appPath, ".npmrc")); err == nil {
				t.Error("the source's .npmrc, where tokens stand, is in the image")
			}
		})
	}
}

// TestCompileNodeScripts has a dependency whose install script must not run.
func TestCompileNodeScripts(t *testing.T) {
	needNPM(t)
	w := newWorkspace(t, "JavaScript")
	files := nodeSource("")
	files["dist/index.js"] = ""
	files["lib/shim/package.json"] = strings.Replace(files["lib/shim/package.json"], `"bin"`, `"scripts": {"install": "touch ../../installed"}, "bin"`, 1)
	write(t, w.Source, files)
	if got := w.compile(t); got.Failure != "" {
		t.Fatal(got.Failure)
	}
	if _, err := os.Lstat(filepath.Join(w.Out, layerFolder, "1", appPath, "installed")); err == nil {
		t.Error("a dependency's install script ran")
	}
}

func TestParseStart(t *testing.T) {
	for script, want := range map[string][]string{
		"fabric-chaincode-node start":                  {"node_modules/.bin/fabric-chaincode-node", "start"},
		" fabric-chaincode-node  start --a.b 1 -c=x_y": {"node_modules/.bin/fabric-chaincode-node", "start", "--a.b", "1", "-c=x_y"},
		"node dist/index.js":                           {"dist/index.js"},
		"node ./dist/../index.js a":                    {"index.js", "a"},
		"node /etc/passwd":                             nil,
		"node":                                         nil,
		"fabric-chaincode-node":                        nil,
		"node x.js; rm -r /":                           nil,
		"node $(x)":                                    nil,
		"sh x":                                         nil,
	} {
		got, err := parseStart(script)
		if diff := cmp.Diff(want, got); diff != "" || (err == nil) != (want != nil) {
			t.Errorf("%q (-want +got):\n%s%v", script, diff, err)
		}
	}
}

func FuzzParseStart(f *testing.F) {
	f.Add("fabric-chaincode-node start --peer.address x")
	f.Add("node ../x")
	f.Fuzz(func(t *testing.T, script string) {
		got, err := parseStart(script)
		if err == nil && (len(got) == 0 || !filepath.IsLocal(got[0])) {
			t.Errorf("%q starts %q", script, got)
		}
	})
}

func TestLogIsBounded(t *testing.T) {
	var file, also bytes.Buffer
	l := newLog(&file, &also)
	for i := range 300_000 {
		fmt.Fprintf(l, "this is line %d of the log of a tool\n", i)
	}
	l.close()
	if file.Len() > logLimit+4*failureLimit || !strings.Contains(file.String(), "the log was cut here") || !strings.HasSuffix(file.String(), "line 299999 of the log of a tool\n") {
		t.Errorf("the log has %d bytes and ends in %q", file.Len(), file.String()[file.Len()-100:])
	}
	quote := l.quote("It failed")
	if len(quote) > failureLimit || !strings.HasPrefix(quote, "It failed\nthis is line ") || !strings.HasSuffix(quote, "line 299999 of the log of a tool") {
		t.Errorf("quoted is %q", quote)
	}
	if got := printable([]byte("\x1b[31;1mred\x1b[0m\r\n\x00\xff\tx")); got != "red\n?\tx" {
		t.Errorf("printable is %q", got)
	}
	if got := clip("aé", 2); got != "a" {
		t.Errorf("clipped is %q", got)
	}
}
