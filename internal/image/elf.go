package image

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// libraryFolders is where Linux distributions keep shared libraries. A machine
// with others can name them in the argument of [Libraries].
func libraryFolders() []string {
	return []string{
		"/lib64", "/usr/lib64", "/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu",
		"/lib/aarch64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/lib", "/usr/lib", "/usr/local/lib",
	}
}

// Libraries returns what a program needs beside itself to run in an otherwise
// empty image: its loader and shared libraries, each at the path where the loader
// looks for it. A static program needs nothing.
func Libraries(program []byte, folders ...string) ([]File, error) {
	parsed, err := elf.NewFile(bytes.NewReader(program))
	if err != nil {
		return nil, fmt.Errorf("read program: it is no Linux program: %w", err)
	}
	loader, err := loaderOf(parsed)
	if err != nil || loader == "" {
		return nil, err
	}
	queue, err := parsed.ImportedLibraries()
	if err != nil {
		return nil, fmt.Errorf("read program: %w", err)
	}
	content, err := os.ReadFile(loader)
	if err != nil {
		return nil, fmt.Errorf("find loader: %w", err)
	}
	found := map[string]File{filepath.Base(loader): {Path: loader, Content: content, Executable: true}}
	return gather(found, queue, folders)
}

// ModuleLibraries returns the shared libraries that a module needs which a program loads while it runs, without the
// loader, which the program has.
func ModuleLibraries(module []byte, folders ...string) ([]File, error) {
	parsed, err := elf.NewFile(bytes.NewReader(module))
	if err != nil {
		return nil, fmt.Errorf("read module: it is no Linux library: %w", err)
	}
	queue, err := parsed.ImportedLibraries()
	if err != nil {
		return nil, fmt.Errorf("read module: %w", err)
	}
	return gather(map[string]File{}, queue, folders)
}

// gather adds the libraries of a queue, and those that they need, to what was found.
func gather(found map[string]File, queue, folders []string) ([]File, error) {
	folders = append(slices.Clone(folders), libraryFolders()...)
	for len(queue) > 0 {
		name := queue[0]
		queue = queue[1:]
		if _, ok := found[name]; ok {
			continue
		}
		library, needs, err := findLibrary(name, folders)
		if err != nil {
			return nil, err
		}
		found[name] = library
		queue = append(queue, needs...)
	}
	out := make([]File, 0, len(found))
	for _, f := range found {
		out = append(out, f)
	}
	slices.SortFunc(out, func(a, b File) int { return strings.Compare(a.Path, b.Path) })
	return out, nil
}

// loaderOf returns the path of the program's loader, or nothing for a static one.
func loaderOf(program *elf.File) (string, error) {
	for _, segment := range program.Progs {
		if segment.Type != elf.PT_INTERP {
			continue
		}
		if segment.Filesz > 4096 {
			return "", errors.New("read program: the path of its loader is too long")
		}
		raw := make([]byte, segment.Filesz)
		if _, err := segment.ReadAt(raw, 0); err != nil {
			return "", fmt.Errorf("read program: %w", err)
		}
		return string(bytes.TrimRight(raw, "\x00")), nil
	}
	return "", nil
}

// findLibrary keeps the folder a library is in: the loader comes from the same
// machine and looks there.
func findLibrary(name string, folders []string) (library File, needs []string, err error) {
	for _, folder := range folders {
		file := filepath.Join(folder, filepath.Base(name))
		content, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		parsed, err := elf.NewFile(bytes.NewReader(content))
		if err != nil {
			continue // a linker script of that name
		}
		needs, err := parsed.ImportedLibraries()
		if err != nil {
			return File{}, nil, fmt.Errorf("read library %q: %w", file, err)
		}
		return File{Path: file, Content: content, Executable: true}, needs, nil
	}
	return File{}, nil, fmt.Errorf("find library %q: it is in none of %v: install it, or give a statically linked program", name, folders)
}
