package image

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
)

// Bounds limit what is taken from a folder.
type Bounds struct {
	// Files is the largest number of files and links.
	Files int
	// Bytes is the largest size of all files together.
	Bytes int64
}

// Tree lists the files below a folder of root as files of an image below at. Links stay links and must not lead out of
// the folder; what is neither file, link nor folder is refused. skip, if given, says what to leave out; its names are
// relative to root.
func Tree(root *os.Root, folder, at string, bounds Bounds, skip func(name string, folder bool) bool) ([]File, error) {
	t := tree{root: root, folder: folder, at: at, left: bounds, skip: skip}
	err := fs.WalkDir(root.FS(), folder, t.visit)
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", folder, err)
	}
	return t.files, nil
}

type tree struct {
	root       *os.Root
	folder, at string
	left       Bounds
	skip       func(name string, folder bool) bool
	files      []File
}

func (t *tree) visit(name string, entry fs.DirEntry, err error) error {
	switch {
	case err != nil:
		return err
	case t.skip != nil && t.skip(name, entry.IsDir()):
		if entry.IsDir() {
			return fs.SkipDir
		}
		return nil
	case entry.IsDir():
		return nil
	}
	if t.left.Files--; t.left.Files < 0 {
		return errors.New("there are too many files")
	}
	relative := name
	if t.folder != "." {
		relative = strings.TrimPrefix(strings.TrimPrefix(name, t.folder), "/")
	}
	file := File{Path: path.Join(t.at, relative)}
	if entry.Type() == fs.ModeSymlink {
		return t.link(file, name, relative)
	}
	info, err := entry.Info()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s is neither a file, a link nor a folder", name)
	}
	if t.left.Bytes -= info.Size(); t.left.Bytes < 0 {
		return errors.New("the files are too large together")
	}
	file.Size, file.Executable = info.Size(), info.Mode()&0o111 != 0
	file.Open = func() (io.ReadCloser, error) { return t.root.Open(name) }
	t.files = append(t.files, file)
	return nil
}

func (t *tree) link(file File, name, relative string) error {
	target, err := t.root.Readlink(name)
	if err != nil {
		return err
	}
	inside := path.Join(path.Dir(relative), target)
	if path.IsAbs(target) || inside == ".." || strings.HasPrefix(inside, "../") {
		return fmt.Errorf("the link %s leads out of the folder, to %s", name, target)
	}
	file.Link = target
	t.files = append(t.files, file)
	return nil
}
