// Package npm runs scripts of Node with packages from npm, for tests that need programs nobody here wrote.
package npm

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
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
	for _, program := range []string{"node", "npm"} {
		if _, err := exec.LookPath(program); err != nil {
			tb.Skipf("needs %s: %v", program, err)
		}
	}
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
