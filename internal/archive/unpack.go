package archive

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
)

const (
	plainMode   fs.FileMode = 0o644
	programMode fs.FileMode = 0o755
	folderMode  fs.FileMode = 0o755
)

// Check reads an archive as Unpack does and writes nothing.
func Check(ctx context.Context, r io.Reader, limits Limits) (*Source, error) {
	return read(ctx, r, limits, func(Entry, io.Reader) error { return nil })
}

// Unpack writes an archive's files below root, which has to be empty. The archive has to be a tar.gz of plain files and
// folders within limits: anything else is a RefusedError. What was written before an error stays for the caller to
// remove.
func Unpack(ctx context.Context, r io.Reader, root *os.Root, limits Limits) (*Source, error) {
	made := map[string]bool{".": true}
	return read(ctx, r, limits, func(e Entry, content io.Reader) error {
		if err := mkdirs(root, path.Dir(e.Name), made); err != nil {
			return fmt.Errorf("unpack file %q: %w", e.Name, err)
		}
		mode := plainMode
		if e.Executable {
			mode = programMode
		}
		return write(root, e.Name, mode, content)
	})
}

func write(root *os.Root, name string, mode fs.FileMode, content io.Reader) error {
	// A file that is there already, or a link, is not written through.
	file, err := root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode)
	if err != nil {
		return fmt.Errorf("unpack file %q: %w", name, err)
	}
	_, err = io.Copy(file, content)
	// The process' mask must not decide about modes.
	err = errors.Join(err, file.Chmod(mode), file.Close())
	if err != nil {
		return fmt.Errorf("unpack file %q: %w", name, err)
	}
	return nil
}

func mkdirs(root *os.Root, name string, made map[string]bool) error {
	if made[name] {
		return nil
	}
	if err := mkdirs(root, path.Dir(name), made); err != nil {
		return err
	}
	if err := root.Mkdir(name, folderMode); err != nil {
		return err
	}
	made[name] = true
	// Through the open folder: by name it would be the system call fchmodat2, which sandboxes with older rules refuse.
	folder, err := root.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(folder.Chmod(folderMode), folder.Close())
}

// read goes through a tar.gz to its very end. The content that visit is given ends where the file does, and what visit
// leaves of it is read and checked all the same.
func read(ctx context.Context, r io.Reader, limits Limits, visit func(Entry, io.Reader) error) (*Source, error) {
	sum := sha256.New()
	raw := newSource(ctx, io.TeeReader(r, sum), limits.ArchiveBytes)
	buffered := bufio.NewReader(raw)
	unzipped, err := gzip.NewReader(buffered)
	if err != nil {
		return nil, raw.broken("gzip file", err)
	}
	// Other programs would read a second member as more of the same file.
	unzipped.Multistream(false)
	plain := newSource(ctx, unzipped, unpackedBound(limits))
	entries, err := readTar(plain, limits, visit)
	if err == nil {
		err = readEnd(plain)
	}
	if err != nil {
		if raw.err != nil {
			return nil, raw.err
		}
		return nil, err
	}
	if _, err := buffered.ReadByte(); !errors.Is(err, io.EOF) {
		if raw.err != nil {
			return nil, raw.err
		}
		return nil, refuse("", "there is something behind the archive's end: make the archive again")
	}
	return &Source{Digest: digest(sum), Size: limits.ArchiveBytes - raw.left, Entries: entries}, nil
}

func digest(sum hash.Hash) string { return "sha256:" + hex.EncodeToString(sum.Sum(nil)) }

// unpackedBound is what a tar of files within limits has at most: contents, and for each file its headers and padding.
func unpackedBound(limits Limits) int64 {
	const headers, end = 8 << 10, 1 << 20
	return limits.TotalBytes + int64(limits.Files)*headers + end
}

func readTar(plain *source, limits Limits, visit func(Entry, io.Reader) error) ([]Entry, error) {
	names, archive := newTree(limits), tar.NewReader(plain)
	var entries []Entry
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return entries, nil
		}
		if err != nil {
			return nil, form(plain, err)
		}
		switch header.Typeflag {
		case tar.TypeDir:
			err = names.folder(strings.TrimSuffix(header.Name, "/"))
		case tar.TypeReg:
			err = names.file(header.Name, header.Size)
		default:
			err = refuse(header.Name, "%s", kindOf(header.Typeflag))
		}
		if err != nil {
			return nil, err
		}
		if header.Typeflag == tar.TypeDir {
			continue
		}
		entry, content, err := open(header, archive)
		if err != nil {
			return nil, form(plain, err)
		}
		noted := &noting{r: content}
		err = visit(entry, noted)
		if err == nil {
			_, err = io.Copy(io.Discard, noted)
		}
		if noted.err != nil {
			return nil, form(plain, noted.err)
		}
		if err != nil {
			return nil, err
		}
		entries = append(entries, entry)
	}
}

// noting keeps an error of reading, which the reader may mix with its own.
type noting struct {
	r   io.Reader
	err error
}

func (n *noting) Read(p []byte) (int, error) {
	count, err := n.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		n.err = err
	}
	return count, err
}

// open looks at a file's first bytes.
func open(header *tar.Header, content io.Reader) (Entry, io.Reader, error) {
	const elf = "\x7fELF"
	start := make([]byte, len(elf))
	n, err := io.ReadFull(content, start)
	if err != nil && (!errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) || int64(n) < header.Size) {
		return Entry{}, nil, err
	}
	entry := Entry{Name: header.Name, Size: header.Size, Executable: header.Mode&0o111 != 0, ELF: string(start) == elf}
	return entry, io.MultiReader(bytes.NewReader(start[:n]), content), nil
}

// form says what an error of reading the tar means: the bound of its content, or a broken gzip or tar.
func form(plain *source, err error) error {
	var refused *RefusedError
	if errors.As(plain.err, &refused) {
		return refuse("", "the files together are larger than what is taken: leave out what the build does not need, for example by %s", IgnoreFile)
	}
	if plain.err != nil && plain.done() != nil {
		return plain.done()
	}
	return refuse("", "this is no whole tar archive: %v; make the archive again", err)
}

// readEnd reads what is behind the tar's end: zeros only, and the checksum of gzip.
func readEnd(plain *source) error {
	buffer := make([]byte, 32<<10)
	for {
		n, err := plain.Read(buffer)
		if len(bytes.Trim(buffer[:n], "\x00")) > 0 {
			return refuse("", "there is something behind the archive's end: make the archive again")
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return form(plain, err)
		}
	}
}

func kindOf(flag byte) string {
	switch flag {
	case tar.TypeSymlink:
		return linkRefused
	case tar.TypeLink:
		return "is a hard link: put a copy of the file in its place"
	case tar.TypeChar, tar.TypeBlock, tar.TypeFifo:
		return specialRefused
	}
	return "is neither a file nor a folder: leave it out"
}

const (
	linkRefused    = "is a symbolic link: put the file itself in its place"
	specialRefused = "is a device, a socket or a pipe: leave it out"
)
