package archive

import (
	"archive/tar"
	"archive/zip"
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"io/fs"
	"path"
	"strings"
)

// Normalize writes what is in a person's archive as Pack would write its files: the same source gives the same bytes
// whichever way it came. It takes tar, tar.gz, zip and git bundles, of which it takes the tree of HEAD. A folder at the
// top that holds everything is taken off. The files are held in memory, within limits.
func Normalize(ctx context.Context, r io.Reader, w io.Writer, limits Limits) (*Source, error) {
	raw := newSource(ctx, r, 2*limits.ArchiveBytes)
	buffered := bufio.NewReader(raw)
	// A short archive fails later, with the words of its form.
	start, err := buffered.Peek(len(bundleV2))
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	c := &collection{names: newTree(limits)}
	switch {
	case len(start) == 0:
		return nil, refuse("", "the archive is empty")
	case bytes.HasPrefix(start, []byte("\x1f\x8b")):
		err = c.gzip(ctx, buffered, raw)
	case bytes.HasPrefix(start, []byte("PK")):
		err = c.zip(ctx, buffered)
	case bytes.HasPrefix(start, []byte("# v")):
		err = c.bundle(ctx, buffered)
	default:
		err = c.tar(newSource(ctx, buffered, rawBound(limits)))
	}
	if err != nil {
		return nil, first(raw.err, err)
	}
	files, err := c.source()
	if err != nil {
		return nil, err
	}
	return pack(ctx, files, w, limits)
}

// rawBound leaves room for what is left out.
func rawBound(limits Limits) int64 { return 4 * unpackedBound(limits) }

// collection is what was found in a person's archive.
type collection struct {
	names *tree
	files []file
	// refused holds entries that are refused unless they are left out, as only the whole archive tells.
	refused []file
	reasons map[string]string
}

// add takes a file that is not left out by its name.
func (c *collection) add(name string, executable bool, bytes int64, content io.Reader) error {
	if (patterns{}).outside(name) {
		return checkName(name)
	}
	if err := c.names.file(name, bytes); err != nil {
		return err
	}
	data := make([]byte, bytes)
	if _, err := io.ReadFull(content, data); err != nil {
		return err
	}
	c.files = append(c.files, memory(name, data, executable))
	return nil
}

// outside is fitPath but for the IgnoreFile, whose patterns are wanted yet.
func (p patterns) outside(name string) bool {
	return path.Base(name) != IgnoreFile && p.fitPath(name)
}

func (c *collection) refuse(name, reason string) error {
	if (patterns{}).outside(name) {
		return checkName(name)
	}
	if c.reasons == nil {
		c.reasons = map[string]string{}
	}
	if err := c.names.file(name, 0); err != nil {
		return err
	}
	c.reasons[name] = reason
	c.refused = append(c.refused, file{name: name})
	return nil
}

// source are the files that are packed.
func (c *collection) source() ([]file, error) {
	top := c.top()
	var text []byte
	for _, f := range c.files {
		if f.name == top+IgnoreFile {
			content, err := f.open()
			if err != nil {
				return nil, err
			}
			if text, err = io.ReadAll(content); err != nil {
				return nil, err
			}
		}
	}
	ignore, err := parseIgnore(text)
	if err != nil {
		return nil, err
	}
	for _, f := range c.refused {
		if name := strings.TrimPrefix(f.name, top); !ignore.fitPath(name) {
			return nil, refuse(name, "%s", c.reasons[f.name])
		}
	}
	var files []file
	for _, f := range c.files {
		if f.name = strings.TrimPrefix(f.name, top); !ignore.fitPath(f.name) {
			files = append(files, f)
		}
	}
	return files, nil
}

// top is the folder that holds everything, with a slash; empty if there is none.
func (c *collection) top() string {
	var top string
	for i, f := range append(c.files[:len(c.files):len(c.files)], c.refused...) {
		folder, _, found := strings.Cut(f.name, "/")
		if !found || i > 0 && folder != top {
			return ""
		}
		top = folder
	}
	if top == "" {
		return ""
	}
	return top + "/"
}

func (c *collection) gzip(ctx context.Context, r *bufio.Reader, raw *source) error {
	unzipped, err := gzip.NewReader(r)
	if err != nil {
		return raw.broken("gzip file", err)
	}
	plain := newSource(ctx, unzipped, rawBound(c.names.limits))
	if err := c.tar(plain); err != nil {
		return err
	}
	// The end is where the checksum is looked at.
	if _, err := io.Copy(io.Discard, plain); err != nil {
		return form(plain, err)
	}
	return nil
}

func (c *collection) tar(plain *source) error {
	archive := tar.NewReader(plain)
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return form(plain, err)
		}
		// "tar c ." writes names that start with "./".
		name := strings.TrimSuffix(strings.TrimPrefix(header.Name, "./"), "/")
		switch header.Typeflag {
		case tar.TypeXGlobalHeader:
			// "git archive" notes the commit there.
		case tar.TypeDir:
			if name != "" && name != "." {
				err = checkName(name)
			}
		case tar.TypeReg:
			err = c.add(name, header.Mode&0o111 != 0, header.Size, archive)
		default:
			err = c.refuse(name, kindOf(header.Typeflag))
		}
		if err != nil {
			return refusedOr(err, func() error { return form(plain, err) })
		}
	}
}

func refusedOr(err error, other func() error) error {
	var refused *RefusedError
	if errors.As(err, &refused) {
		return refused
	}
	return other()
}

func (c *collection) zip(ctx context.Context, r io.Reader) error {
	data, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	archive, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	// What is wrong with a path is said by checkName.
	if err != nil && !errors.Is(err, zip.ErrInsecurePath) {
		return refuse("", "this is no whole zip archive: %v; make the archive again", err)
	}
	for _, f := range archive.File {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := c.zipped(f); err != nil {
			return refusedOr(err, func() error {
				return refuse(f.Name, "cannot be read from the zip archive: %v; make the archive again", err)
			})
		}
	}
	return nil
}

func (c *collection) zipped(f *zip.File) error {
	if strings.HasSuffix(f.Name, "/") {
		return checkName(strings.TrimSuffix(f.Name, "/"))
	}
	if f.Mode()&fs.ModeType != 0 {
		reason := specialRefused
		if f.Mode()&fs.ModeSymlink != 0 {
			reason = linkRefused
		}
		return c.refuse(f.Name, reason)
	}
	if f.Flags&1 != 0 {
		return refuse(f.Name, "is encrypted: make the archive without a password")
	}
	if f.UncompressedSize64 > uint64(max(c.names.limits.FileBytes, 0)) {
		return refuse(f.Name, "is larger than %s: leave it out", size(c.names.limits.FileBytes))
	}
	content, err := f.Open()
	if err != nil {
		return err
	}
	defer content.Close()
	if err := c.add(f.Name, f.Mode()&0o111 != 0, int64(f.UncompressedSize64), content); err != nil { //nolint:gosec // checked above
		return err
	}
	// The end is where the checksum is looked at.
	if n, err := io.Copy(io.Discard, io.LimitReader(content, 1)); err != nil || n > 0 {
		return errors.Join(err, errors.New("its size is not what the archive says"))
	}
	return nil
}
