package build

import (
	"errors"
	"fmt"
	"go/build"
	"io"
	"io/fs"
	"path"
	"path/filepath"
	"strings"
)

func hasVendor(c *compilation) bool { return isFile(c.root, "vendor/modules.txt") }

// checkGo looks for the main package: the go command's own words for a folder without one say little.
func checkGo(c *compilation) error {
	pkg, err := c.goPackage(".")
	var none *build.NoGoError
	var several *build.MultiplePackageError
	switch {
	case errors.As(err, &several):
		return faulty("Folder %q holds files of several packages, %s: a contract is one package main", path.Join(c.Path, "."), strings.Join(several.Packages, " and "))
	case err == nil && pkg.Name == "main" && len(pkg.GoFiles) > 0, err != nil && !errors.As(err, &none):
		return nil // what the compiler finds wrong it says better
	}
	what := "There is no Go file to build in this folder"
	if err == nil && len(pkg.GoFiles) > 0 {
		what = fmt.Sprintf("The folder's package is %q, not main", pkg.Name)
	}
	switch mains := c.mainFolders(); len(mains) {
	case 0:
		return faulty("%s: a contract has a package main (files that import \"C\" do not count: cgo is off)", what)
	case 1:
		return faulty("%s, but there is a package main in %s: give that folder as the build's path, with a go.mod in it, or move it", what, mains[0])
	default:
		return faulty("%s, but there are several in other folders: %s. A build has one: give its folder as the build's path", what, strings.Join(mains, ", "))
	}
}

// goPackage reads the package of a folder, through the source's root.
func (c *compilation) goPackage(folder string) (*build.Package, error) {
	within := func(name string) string {
		relative, err := filepath.Rel(c.dir, name)
		if err != nil {
			return name
		}
		return filepath.ToSlash(relative)
	}
	settings := build.Default
	settings.GOOS, settings.CgoEnabled = "linux", false
	settings.OpenFile = func(name string) (io.ReadCloser, error) { return c.root.Open(within(name)) }
	settings.IsDir = func(name string) bool {
		info, err := c.root.Stat(within(name))
		return err == nil && info.IsDir()
	}
	settings.ReadDir = func(name string) ([]fs.FileInfo, error) {
		entries, err := fs.ReadDir(c.root.FS(), within(name))
		var infos []fs.FileInfo
		for _, e := range entries {
			if info, err := e.Info(); err == nil && !e.IsDir() {
				infos = append(infos, info)
			}
		}
		return infos, err
	}
	return settings.ImportDir(filepath.Join(c.dir, folder), 0)
}

// mainFolders lists a few folders that hold a package main.
func (c *compilation) mainFolders() []string {
	var found []string
	_ = fs.WalkDir(c.root.FS(), ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || len(found) >= 5 {
			return fs.SkipAll
		}
		if !entry.IsDir() {
			return nil
		}
		if strings.Count(name, "/") > 2 || skipped(path.Base(name)) {
			return fs.SkipDir
		}
		if pkg, err := c.goPackage(name); err == nil && pkg.Name == "main" && len(pkg.GoFiles) > 0 {
			found = append(found, name)
		}
		return nil
	})
	return found
}

// collectProgram has nothing to move: the compiler wrote the program where it belongs.
func collectProgram(c *compilation) error {
	name := path.Join(layerFolder, "0", programPath)
	if !isFile(c.out, name) {
		return fmt.Errorf("find program: the compiler left none in %s", name)
	}
	return c.useProgram(name)
}

// useProgram makes a static program the image's.
func (c *compilation) useProgram(name string) error {
	if err := checkProgram(c.out, name); err != nil {
		return err
	}
	c.result.Entrypoint = []string{"/" + programPath}
	return nil
}
