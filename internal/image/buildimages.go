package image

import (
	_ "embed" // launch.cjs
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

//go:embed launch.cjs
var launch []byte

// Places in the images of builds, and in those of contracts for Node.
const (
	shareFolder = "/usr/local/share/heddle"
	launchPlace = shareFolder + "/launch.cjs"
	goFolder    = "/usr/local/go"
	nodeProgram = "/usr/bin/node"
	npmFolder   = "/usr/lib/node_modules/npm"
	trustFile   = "/etc/ssl/certs/ca-certificates.crt"
)

// toolBounds limit a toolchain: more is not what its folder was taken for.
func toolBounds() Bounds { return Bounds{Files: 100_000, Bytes: 2 << 30} }

// BuildGoSpec is the image that compiles contracts in Go: the toolchain of goroot in a layer of its own, and program
// (heddle-build) above it, so that a new program does not move the toolchain.
func BuildGoSpec(program, goroot string) (Spec, error) {
	root, err := os.OpenRoot(goroot)
	if err != nil {
		return Spec{}, fmt.Errorf("pack Go: %w", err)
	}
	files, err := Tree(root, ".", goFolder, toolBounds(), skipGo)
	if err != nil {
		return Spec{}, fmt.Errorf("pack Go: %w", err)
	}
	layer, err := NewLayer(files)
	if err != nil {
		return Spec{}, fmt.Errorf("pack Go: %w", err)
	}
	spec, err := buildSpec(program)
	spec.Below = []v1.Layer{layer}
	spec.Env = []string{"PATH=" + goFolder + "/bin:/usr/local/bin:/usr/bin:/bin", "GOROOT=" + goFolder}
	return spec, err
}

// skipGo leaves out what building a program without cgo does not read.
func skipGo(name string, folder bool) bool {
	tools := "pkg/tool/linux_" + runtime.GOARCH + "/"
	switch {
	case folder && slices.Contains([]string{"api", "doc", "misc", "test", "src/cmd", "lib/fips140", "lib/hg", "lib/wasm", "pkg/obj", "pkg/cache", ".git"}, name):
		return true
	case folder:
		return path.Base(name) == "testdata"
	case strings.HasPrefix(name, tools):
		return !slices.Contains([]string{"asm", "compile", "link"}, strings.TrimPrefix(name, tools))
	}
	return strings.HasSuffix(name, "_test.go") || name == "bin/gofmt" || strings.HasPrefix(name, "src/") && strings.HasSuffix(name, ".md")
}

// buildSpec is what images of builds have in common.
func buildSpec(program string) (Spec, error) {
	spec, err := ProgramSpec(program)
	if err != nil {
		return Spec{}, err
	}
	trust, err := os.ReadFile(trustFile)
	if err != nil {
		return Spec{}, fmt.Errorf("pack certificates: %w", err)
	}
	spec.Files = append(spec.Files, File{Path: trustFile, Content: trust})
	spec.User = fabricUser
	return spec, nil
}

// NodeTools are the programs of this machine that the image for Node is packed from.
type NodeTools struct {
	// Node is the program, NPM the folder of the npm package.
	Node, NPM string
	// Commands are what scripts of packages call: sh and env at least.
	Commands []string
}

// FindNodeTools looks them up.
func FindNodeTools(lookPath func(string) (string, error)) (NodeTools, error) {
	node, err := lookPath("node")
	if err != nil {
		return NodeTools{}, fmt.Errorf("find node: install Node.js (18 or newer): %w", err)
	}
	npm, err := lookPath("npm")
	if err != nil {
		return NodeTools{}, fmt.Errorf("find npm: install it beside Node.js: %w", err)
	}
	if npm, err = filepath.EvalSymlinks(npm); err != nil {
		return NodeTools{}, fmt.Errorf("find npm: %w", err)
	}
	tools := NodeTools{Node: node, NPM: filepath.Dir(filepath.Dir(npm))}
	var manifest struct {
		Name string `json:"name"`
	}
	content, err := os.ReadFile(filepath.Join(tools.NPM, "package.json"))
	if err == nil {
		err = json.Unmarshal(content, &manifest)
	}
	if err != nil || manifest.Name != "npm" {
		return NodeTools{}, fmt.Errorf("find npm: %s is not in npm's own package: install npm as Node.js brings it: %w", npm, errors.Join(err, fs.ErrNotExist))
	}
	for _, command := range []string{"sh", "env", "cat", "chmod", "cp", "echo", "ls", "mkdir", "mv", "rm", "sed", "test", "touch"} {
		file, err := lookPath(command)
		if err == nil {
			tools.Commands = append(tools.Commands, file)
			continue
		}
		if command == "sh" || command == "env" {
			return NodeTools{}, fmt.Errorf("find %s: %w", command, err)
		}
	}
	return tools, nil
}

// BuildNodeSpec is the image that builds contracts for Node: Node and npm in a layer of their own, the layer that
// contracts' images start with as a ready tar in another, and program (heddle-build) above them.
func BuildNodeSpec(program string, tools NodeTools) (Spec, error) {
	runtimeFiles, err := nodeFiles(tools.Node)
	if err != nil {
		return Spec{}, err
	}
	stored, err := nodeBase(runtimeFiles)
	if err != nil {
		return Spec{}, err
	}
	base, err := NewLayer(stored)
	if err != nil {
		return Spec{}, fmt.Errorf("pack base for Node: %w", err)
	}
	toolFiles, err := tools.files()
	if err != nil {
		return Spec{}, err
	}
	layer, err := NewLayer(unique(append(runtimeFiles, toolFiles...)))
	if err != nil {
		return Spec{}, fmt.Errorf("pack Node: %w", err)
	}
	spec, err := buildSpec(program)
	spec.Below = []v1.Layer{layer, base}
	// Node has certificates of its own; npm is to trust what the other image does.
	spec.Env = []string{"NODE_EXTRA_CA_CERTS=" + trustFile}
	return spec, err
}

// nodeFiles are what a contract for Node runs on.
func nodeFiles(node string) ([]File, error) {
	files, err := programFile(node, nodeProgram)
	if err != nil {
		return nil, err
	}
	return append(files, File{Path: launchPlace, Content: launch}), nil
}

// nodeBase is the tar of a layer with those files, and its digest beside it.
func nodeBase(files []File) ([]File, error) {
	ready, err := NewLayer(files)
	if err != nil {
		return nil, fmt.Errorf("pack base for Node: %w", err)
	}
	digest, err := ready.Digest()
	if err != nil {
		return nil, fmt.Errorf("pack base for Node: %w", err)
	}
	size, err := ready.Size()
	if err != nil {
		return nil, fmt.Errorf("pack base for Node: %w", err)
	}
	const name = shareFolder + "/node-base.tar"
	return []File{
		{Path: name, Size: size, Open: ready.Uncompressed},
		{Path: name + ".digest", Content: []byte(digest.String() + "\n")},
	}, nil
}

// files are npm, and the programs that scripts call, each at the place where scripts look for it.
func (t NodeTools) files() ([]File, error) {
	root, err := os.OpenRoot(t.NPM)
	if err != nil {
		return nil, fmt.Errorf("pack npm: %w", err)
	}
	files, err := Tree(root, ".", npmFolder, toolBounds(), func(name string, folder bool) bool {
		return folder && (name == "docs" || name == "man")
	})
	if err != nil {
		return nil, fmt.Errorf("pack npm: %w", err)
	}
	files = append(files,
		File{Path: "/usr/bin/npm", Link: "../lib/node_modules/npm/bin/npm-cli.js"},
		File{Path: "/usr/bin/npx", Link: "../lib/node_modules/npm/bin/npx-cli.js"},
	)
	for _, command := range t.Commands {
		place := "/usr/bin/" + filepath.Base(command)
		if filepath.Base(command) == "sh" {
			place = "/bin/sh"
		}
		needed, err := programFile(command, place)
		if err != nil {
			return nil, err
		}
		files = append(files, needed...)
	}
	return files, nil
}

// programFile is a program, which is not held in memory, and the libraries it needs.
func programFile(file, target string) ([]File, error) {
	files, err := program(file, target)
	if err != nil {
		return nil, err
	}
	for i, f := range files {
		if f.Path == target {
			files[i] = File{Path: target, Executable: true, Size: int64(len(f.Content)), Open: func() (io.ReadCloser, error) { return os.Open(file) }}
		}
	}
	return files, nil
}

// unique leaves each path in once: programs share libraries.
func unique(files []File) []File {
	seen := map[string]bool{}
	return slices.DeleteFunc(files, func(f File) bool {
		again := seen[f.Path]
		seen[f.Path] = true
		return again
	})
}
