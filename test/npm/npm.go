// Package npm runs scripts of Node with packages from npm, for tests that need programs nobody here wrote.
package npm

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// installTime bounds the fetching of packages.
const installTime = 5 * time.Minute

// Prepare copies the files of a folder, a package.json among them, into a temporary one and fetches the packages that
// they need, unless somebody has done so with npm install in that folder. It skips the test where Node, npm or the
// packages cannot be had.
func Prepare(tb testing.TB, folder string) string {
	tb.Helper()
	needPrograms(tb)
	dir := tb.TempDir()
	files, err := filepath.Glob(filepath.Join(folder, "*.*"))
	if err != nil {
		tb.Fatal(err)
	}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, filepath.Base(f)), text, 0o600)
		}
		if err != nil {
			tb.Fatal(err)
		}
	}
	modules, err := filepath.Abs(filepath.Join(folder, "node_modules"))
	if err != nil {
		tb.Fatal(err)
	}
	if _, err := os.Stat(modules); !errors.Is(err, fs.ErrNotExist) {
		if err := os.Symlink(modules, filepath.Join(dir, "node_modules")); err != nil {
			tb.Fatal(err)
		}
		return dir
	}
	ctx, cancel := context.WithTimeout(tb.Context(), installTime)
	defer cancel()
	install := exec.CommandContext(ctx, "npm", "install", "--no-audit", "--no-fund", "--no-package-lock", "--ignore-scripts", "--loglevel=error")
	install.Dir = dir
	if text, err := install.CombinedOutput(); err != nil {
		tb.Skipf("needs packages of npm: %v\n%s", err, text)
	}
	return dir
}

// Build copies a project with its folders into a temporary one and makes it ready to run as its lock file says: with
// "npm ci", and "npm run build" where it has such a script. It skips the test where Node, npm or the packages cannot be had.
func Build(tb testing.TB, folder string) string {
	tb.Helper()
	needPrograms(tb)
	dir := tb.TempDir()
	if err := copyProject(folder, dir); err != nil {
		tb.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "package.json"))
	if err != nil {
		tb.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(tb.Context(), installTime)
	defer cancel()
	command := func(args ...string) ([]byte, error) {
		c := exec.CommandContext(ctx, "npm", args...)
		c.Dir = dir
		return c.CombinedOutput()
	}
	install := []string{"ci", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"}
	compiled := strings.Contains(string(text), `"build":`)
	if !compiled {
		install = append(install, "--omit=dev")
	}
	if out, err := command(install...); err != nil {
		tb.Skipf("needs packages of npm: %v\n%s", err, out)
	}
	if compiled {
		if out, err := command("run", "build"); err != nil {
			tb.Fatalf("build %s: %v\n%s", folder, err, out)
		}
	}
	return dir
}

// copyProject leaves out what npm and compilers made.
func copyProject(from, to string) error {
	return filepath.WalkDir(from, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && (entry.Name() == "node_modules" || entry.Name() == "dist") {
			return fs.SkipDir
		}
		name, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		if entry.IsDir() {
			return os.MkdirAll(filepath.Join(to, name), 0o700)
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, name), text, 0o600)
	})
}

func needPrograms(tb testing.TB) {
	tb.Helper()
	for _, program := range []string{"node", "npm"} {
		if _, err := exec.LookPath(program); err != nil {
			tb.Skipf("needs %s: %v", program, err)
		}
	}
}
