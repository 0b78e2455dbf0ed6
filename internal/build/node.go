package build

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
)

const (
	packageJSON  = "package.json"
	packageLimit = 1 << 20
	modules      = "node_modules"
	shimProgram  = "fabric-chaincode-node"
	// launcher brings the platform's arguments into the form that Fabric's library for Node reads; it is in the base layer.
	launcher = "/usr/local/share/heddle/launch.cjs"
)

// nodePackage is what matters of a package.json.
type nodePackage struct {
	Main    string            `json:"main"`
	Scripts map[string]string `json:"scripts"`
	// start is the start script, taken apart: a file that node runs, and its arguments.
	start []string
}

func hasLock(c *compilation) bool {
	return isFile(c.root, "package-lock.json") || isFile(c.root, "npm-shrinkwrap.json")
}
func hasNoLock(c *compilation) bool { return !hasLock(c) }

// checkNode reads the package.json: what is wrong with it is known before anything is downloaded.
func checkNode(c *compilation) error {
	raw, err := readFile(c.root, packageJSON, packageLimit)
	if err != nil {
		return faulty("The package.json cannot be read: %v", err)
	}
	pkg := &nodePackage{}
	if err := json.Unmarshal(raw, pkg); err != nil {
		return faulty("The package.json is broken: %v", err)
	}
	script := pkg.Scripts["start"]
	if script == "" {
		return faulty(`The package.json has no start script: add "scripts": {"start": "fabric-chaincode-node start"}`)
	}
	if pkg.start, err = parseStart(script); err != nil {
		return err
	}
	if pkg.usesShim() && pkg.Main == "" {
		return faulty(`The package.json has no "main": %s loads the contract from there`, shimProgram)
	}
	c.node = pkg
	return nil
}

func checkTypeScript(c *compilation) error {
	if err := checkNode(c); err != nil {
		return err
	}
	if c.node.Scripts["build"] == "" {
		return faulty(`The package.json has no build script: add "scripts": {"build": "tsc"}, or build it as JavaScript`)
	}
	return nil
}

func (p *nodePackage) usesShim() bool { return strings.HasPrefix(p.start[0], modules+"/.bin/") }

// parseStart takes a start script apart. There is no npm and no shell where the contract runs.
func parseStart(script string) ([]string, error) {
	fault := faulty(`The start script %q cannot be run without a shell: it must be "fabric-chaincode-node start …" or "node FILE …", with plain arguments`,
		clip(script, 200))
	words := strings.Fields(script)
	if strings.ContainsAny(script, "&|;<>$`\\\"'(){}*?[]~#\n") || len(words) < 2 || len(words) > 50 {
		return nil, fault
	}
	switch words[0] {
	case shimProgram:
		if words[1] != "start" {
			return nil, fault
		}
		return append([]string{modules + "/.bin/" + shimProgram}, words[1:]...), nil
	case "node":
		if strings.HasPrefix(words[1], "-") || !filepath.IsLocal(words[1]) {
			return nil, fault
		}
		return append([]string{path.Clean(words[1])}, words[2:]...), nil
	}
	return nil, fault
}

// collectNode makes two layers: dependencies, which change seldom, and the contract.
func collectNode(c *compilation) error {
	if err := c.checkStart(); err != nil {
		return err
	}
	dependencies := path.Join(layerFolder, "0", appPath)
	app := path.Join(layerFolder, "1", appPath)
	for _, folder := range []string{dependencies, app} {
		if err := c.out.MkdirAll(folder, 0o755); err != nil {
			return fmt.Errorf("make layer: %w", err)
		}
	}
	entries, err := fs.ReadDir(c.root.FS(), ".")
	if err != nil {
		return fmt.Errorf("list contract: %w", err)
	}
	for _, e := range entries {
		to := app
		switch e.Name() {
		case ".git", ".npmrc":
			continue
		case modules:
			to = dependencies
		}
		target := filepath.Join(c.Out, filepath.FromSlash(to), e.Name())
		if err := os.Rename(filepath.Join(c.dir, e.Name()), target); err != nil {
			return fmt.Errorf("move contract into layer: %w", err)
		}
	}
	c.result.Base, c.result.WorkingDir = "node", "/"+appPath
	c.result.Entrypoint = append([]string{"/usr/bin/node", "--require", launcher}, c.node.start...)
	return nil
}

// checkStart makes sure that what the start script names is there once everything is built.
func (c *compilation) checkStart() error {
	file := c.node.start[0]
	if c.node.usesShim() {
		if !isFile(c.root, file) {
			return faulty(`The start script uses %s, which no dependency provides: add "fabric-shim" to "dependencies"`, shimProgram)
		}
		file = path.Clean(c.node.Main)
	}
	for _, name := range []string{file, file + ".js", file + ".cjs", path.Join(file, "index.js")} {
		if filepath.IsLocal(name) && isFile(c.root, name) {
			return nil
		}
	}
	if c.Language == "JavaScript" && c.node.Scripts["build"] != "" {
		return faulty("There is no %s in the contract, but a build script: is its language TypeScript?", file)
	}
	return faulty("There is no %s after the build, which the package.json names as what starts", file)
}

func hasPom(c *compilation) bool { return isFile(c.root, "pom.xml") }

// collectJava takes the one archive that holds all.
func collectJava(c *compilation) error {
	const jar = "chaincode.jar"
	for _, name := range []string{"target/" + jar, "build/libs/" + jar} {
		if !isFile(c.root, name) {
			continue
		}
		folder := path.Join(layerFolder, "0", appPath)
		if err := c.out.MkdirAll(folder, 0o755); err != nil {
			return fmt.Errorf("make layer: %w", err)
		}
		if err := os.Rename(filepath.Join(c.dir, filepath.FromSlash(name)), filepath.Join(c.Out, filepath.FromSlash(folder), jar)); err != nil {
			return fmt.Errorf("move contract into layer: %w", err)
		}
		c.result.Base, c.result.WorkingDir = "java", "/"+appPath
		c.result.Entrypoint = []string{"java", "-jar", "/" + appPath + "/" + jar}
		return nil
	}
	return faulty("The build left no %s in target or build/libs: make it one archive with all dependencies", jar)
}
