package export

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
)

// Write puts the files below dir. Existing files are refused unless replace is set. When it cannot finish, or ctx ends,
// it takes away what it had made.
func Write(ctx context.Context, dir string, files map[string]File, replace bool) error {
	made, err := makeDir(dir)
	if err != nil {
		return err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fmt.Errorf("open folder: %w", err)
	}
	defer root.Close()
	w := &writer{root: root, replace: replace}
	err = w.check(files)
	if err == nil {
		err = w.all(ctx, files)
	}
	if err != nil {
		w.undo()
		if made {
			// Only an empty folder goes.
			_ = os.Remove(dir)
		}
		return fmt.Errorf("write to %s: %w", dir, err)
	}
	return nil
}

func makeDir(dir string) (bool, error) {
	if _, err := os.Stat(dir); err == nil {
		return false, nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return false, fmt.Errorf("make folder: %w", err)
	}
	return true, nil
}

// writer remembers what it made.
type writer struct {
	root    *os.Root
	replace bool
	files   []string
	dirs    []string
}

// check refuses to touch what is there, before anything is written.
func (w *writer) check(files map[string]File) error {
	if w.replace {
		return nil
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if _, err := w.root.Lstat(name); err == nil {
			return fmt.Errorf("%s exists already: choose an empty folder, or replace files with --force", name)
		}
	}
	return nil
}

func (w *writer) all(ctx context.Context, files map[string]File) error {
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := w.folder(path.Dir(name)); err != nil {
			return err
		}
		if err := w.file(name, files[name]); err != nil {
			return err
		}
	}
	return nil
}

// folder makes a folder and its parents, one by one, to know which were made.
func (w *writer) folder(name string) error {
	if name == "." {
		return nil
	}
	if err := w.folder(path.Dir(name)); err != nil {
		return err
	}
	err := w.root.Mkdir(name, 0o755)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err == nil {
		w.dirs = append(w.dirs, name)
	}
	return err
}

func (w *writer) file(name string, f File) error {
	mode := fs.FileMode(0o644)
	if f.Private {
		mode = 0o600
	}
	flags := os.O_WRONLY | os.O_CREATE | os.O_EXCL
	if w.replace {
		// A new file, so that the mode is ours also where the old one was readable by all.
		if err := w.root.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	out, err := w.root.OpenFile(name, flags, mode)
	if err != nil {
		return err
	}
	w.files = append(w.files, name)
	_, err = out.Write(f.Data)
	return errors.Join(err, out.Close())
}

// undo takes away what was made, the last first. What cannot be removed stays: the error that led here is reported.
func (w *writer) undo() {
	for _, name := range slices.Backward(w.files) {
		_ = w.root.Remove(name)
	}
	for _, name := range slices.Backward(w.dirs) {
		_ = w.root.Remove(name)
	}
}
