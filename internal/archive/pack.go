package archive

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
)

// Pack writes the folder's files as an archive. Names in leftOut and what the folder's IgnoreFile names stay behind;
// links and devices are refused, and so are sources beyond limits. Folders are there by their files only.
func Pack(ctx context.Context, root *os.Root, w io.Writer, limits Limits) (*Source, error) {
	tree := root.FS()
	ignore, err := readIgnore(tree)
	if err != nil {
		return nil, err
	}
	files, err := list(ctx, tree, ignore)
	if err != nil {
		return nil, err
	}
	for i, f := range files {
		files[i].open = func() (io.ReadCloser, error) { return tree.Open(f.name) }
	}
	return pack(ctx, files, w, limits)
}

// Stamp changes when a file that Pack would take comes, goes or is written: by names, sizes and times, not by content.
func Stamp(ctx context.Context, root *os.Root) (string, error) {
	tree := root.FS()
	ignore, err := readIgnore(tree)
	if err != nil {
		return "", err
	}
	sum := sha256.New()
	err = walk(ctx, tree, ignore, func(name string, d fs.DirEntry) error {
		info, err := d.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil // gone while we looked
		}
		if err == nil {
			_, err = fmt.Fprintf(sum, "%q %d %d %o\n", name, info.Size(), info.ModTime().UnixNano(), info.Mode())
		}
		return err
	})
	return hex.EncodeToString(sum.Sum(nil)), err
}

func readIgnore(tree fs.FS) (patterns, error) {
	file, err := tree.Open(IgnoreFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", IgnoreFile, err)
	}
	defer func() { _ = file.Close() }()
	text, err := io.ReadAll(io.LimitReader(file, maxIgnore+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", IgnoreFile, err)
	}
	return parseIgnore(text)
}

// file is one that goes into an archive.
type file struct {
	name       string
	size       int64
	executable bool
	open       func() (io.ReadCloser, error)
}

func list(ctx context.Context, tree fs.FS, ignore patterns) ([]file, error) {
	var files []file
	err := walk(ctx, tree, ignore, func(name string, d fs.DirEntry) error {
		f, err := found(name, d)
		files = append(files, f)
		return err
	})
	if err == nil {
		return files, nil
	}
	return nil, refusedOr(err, func() error { return fmt.Errorf("read source folder: %w", err) })
}

// walk visits what belongs to a source, folders apart.
func walk(ctx context.Context, tree fs.FS, ignore patterns, visit func(name string, d fs.DirEntry) error) error {
	return fs.WalkDir(tree, ".", func(name string, d fs.DirEntry, err error) error {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil || name == "." {
			return err
		}
		left := leftOut(name) || ignore.fit(name, d.IsDir()) || name == IgnoreFile
		switch {
		case left && d.IsDir():
			return fs.SkipDir
		case left || d.IsDir():
			return nil
		}
		return visit(name, d)
	})
}

func found(name string, d fs.DirEntry) (file, error) {
	switch kind := d.Type(); {
	case kind&fs.ModeSymlink != 0:
		return file{}, refuse(name, linkRefused+", or name it in "+IgnoreFile)
	case !kind.IsRegular():
		return file{}, refuse(name, specialRefused)
	}
	info, err := d.Info()
	if err != nil {
		return file{}, err
	}
	return file{name: name, size: info.Size(), executable: info.Mode()&0o111 != 0}, nil
}

// pack writes files in the one form.
func pack(ctx context.Context, files []file, w io.Writer, limits Limits) (*Source, error) {
	if len(files) == 0 {
		return nil, refuse("", "the source has no files: name the folder that holds the contract")
	}
	slices.SortFunc(files, func(a, b file) int { return strings.Compare(a.name, b.name) })
	names := newTree(limits)
	for _, f := range files {
		if err := names.file(f.name, f.size); err != nil {
			return nil, err
		}
	}
	sum := sha256.New()
	out := &bounded{w: io.MultiWriter(w, sum), left: limits.ArchiveBytes, bound: limits.ArchiveBytes}
	// Compressed bytes would differ between releases of Go.
	zip, err := gzip.NewWriterLevel(out, gzip.NoCompression)
	if err != nil {
		return nil, fmt.Errorf("pack source: %w", err)
	}
	archive := tar.NewWriter(zip)
	entries := make([]Entry, 0, len(files))
	for _, f := range files {
		entry, err := f.write(ctx, archive)
		if err != nil {
			return nil, first(out.err, err)
		}
		entries = append(entries, entry)
	}
	if err := errors.Join(archive.Close(), zip.Close()); err != nil {
		return nil, first(out.err, fmt.Errorf("pack source: %w", err))
	}
	return &Source{Digest: digest(sum), Size: limits.ArchiveBytes - out.left, Entries: entries}, nil
}

func first(a, b error) error {
	if a != nil {
		return a
	}
	return b
}

// write gives the file no time and no owner.
func (f file) write(ctx context.Context, w *tar.Writer) (Entry, error) {
	content, err := f.open()
	if err != nil {
		return Entry{}, fmt.Errorf("pack file %q: %w", f.name, err)
	}
	defer content.Close()
	mode := plainMode
	if f.executable {
		mode = programMode
	}
	// The format is USTAR where the name fits it, and PAX elsewhere.
	header := &tar.Header{Typeflag: tar.TypeReg, Name: f.name, Mode: int64(mode), Size: f.size}
	if err := w.WriteHeader(header); err != nil {
		return Entry{}, fmt.Errorf("pack file %q: %w", f.name, err)
	}
	entry, all, err := open(header, newSource(ctx, content, f.size))
	if err != nil {
		return Entry{}, f.changed(err)
	}
	n, err := io.Copy(w, all)
	if err != nil || n != f.size {
		return Entry{}, f.changed(err)
	}
	return entry, nil
}

// changed says what it means that a file has not the size that it had.
func (f file) changed(err error) error {
	var refused *RefusedError
	if err == nil || errors.As(err, &refused) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("pack file %q: it changed while it was read; try again", f.name)
	}
	return fmt.Errorf("pack file %q: %w", f.name, err)
}

// bounded writes no more than an archive may have.
type bounded struct {
	w           io.Writer
	left, bound int64
	err         error
}

func (b *bounded) Write(p []byte) (int, error) {
	if b.err == nil && int64(len(p)) > b.left {
		b.err = refuse("", "the archive is larger than %s: leave out what the build does not need, for example by %s", size(b.bound), IgnoreFile)
	}
	if b.err != nil {
		return 0, b.err
	}
	n, err := b.w.Write(p)
	b.left -= int64(n)
	if err != nil {
		b.err = fmt.Errorf("write archive: %w", err)
		return n, b.err
	}
	return n, nil
}

// memory is a file whose content is at hand.
func memory(name string, data []byte, executable bool) file {
	return file{
		name: path.Clean(name), size: int64(len(data)), executable: executable,
		open: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data)), nil },
	}
}
