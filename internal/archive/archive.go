// Package archive turns a contract's source into one form of archive, and back into files. The form is a tar.gz whose
// bytes depend on names, contents and executable bits only, so that a digest names a source. What arrives is hostile
// until it is checked. The package knows files and bytes; who may upload what is decided above it.
package archive

import (
	"context"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"
)

// Limits bound what is taken. A bound of 0 refuses everything, so start from DefaultLimits.
type Limits struct {
	// Files that an archive may have; it may have as many folders.
	Files int
	// Depth is the number of parts that a path may have.
	Depth int
	// FileBytes is the size of the largest file.
	FileBytes int64
	// TotalBytes is the size of all files together.
	TotalBytes int64
	// ArchiveBytes is the size of the archive itself.
	ArchiveBytes int64
}

// DefaultLimits are those that the registry holds uploads to.
func DefaultLimits() Limits {
	return Limits{Files: 10_000, Depth: 32, FileBytes: 100 << 20, TotalBytes: 200 << 20, ArchiveBytes: 100 << 20}
}

// Entry is a file of a source.
type Entry struct {
	// Name is its path, with slashes.
	Name string
	// Size in bytes.
	Size int64
	// Executable says that its mode is 0755 and not 0644.
	Executable bool
	// ELF says that it starts as a Linux program does.
	ELF bool
}

// Source is what is known of an archive that was read or written to its end.
type Source struct {
	// Digest of the archive, as sha256:….
	Digest string
	// Size of the archive in bytes.
	Size int64
	// Entries are its files, in the archive's order.
	Entries []Entry
}

// RefusedError says why a source is not taken. Its text is meant for the person who made the source; every other error
// of this package is one of reading, writing or the end of ctx.
type RefusedError struct {
	// Name of the file that is refused; empty when it is the archive as a whole.
	Name string
	// Why it is, and what to do.
	Why string
}

func (e *RefusedError) Error() string {
	if e.Name == "" {
		return e.Why
	}
	return fmt.Sprintf("file %q %s", e.Name, e.Why)
}

func refuse(name, format string, args ...any) error {
	const most = 300
	if len(name) > most {
		end := most
		for end > 0 && !utf8.RuneStart(name[end]) {
			end--
		}
		name = name[:end] + "…"
	}
	return &RefusedError{Name: name, Why: fmt.Sprintf(format, args...)}
}

// source reads until ctx ends or the bound is reached. It keeps the error of what it reads from, to tell it from one of
// the archive's form.
type source struct {
	done  func() error
	r     io.Reader
	left  int64
	bound int64
	err   error
}

func newSource(ctx context.Context, r io.Reader, bound int64) *source {
	return &source{done: ctx.Err, r: r, left: bound, bound: bound}
}

func (s *source) Read(p []byte) (int, error) {
	if s.err == nil {
		s.err = s.done()
	}
	if s.err != nil {
		return 0, s.err
	}
	// One byte more than the bound tells an archive of exactly that size from a larger one.
	if int64(len(p)) > s.left+1 {
		p = p[:s.left+1]
	}
	n, err := s.r.Read(p)
	s.left -= int64(n)
	if s.left < 0 {
		s.err = refuse("", "the archive is larger than %s: leave out what the build does not need, for example by %s", size(s.bound), IgnoreFile)
		return 0, s.err
	}
	if err != nil && !errors.Is(err, io.EOF) {
		s.err = fmt.Errorf("read archive: %w", err)
		return n, s.err
	}
	return n, err
}

// broken says what an error of a decoder means: the source's own, or a form that is wrong.
func (s *source) broken(kind string, err error) error {
	if s.err != nil {
		return s.err
	}
	return refuse("", "this is no whole %s: %v; make the archive again", kind, err)
}

// size writes a bound as people do.
func size(n int64) string {
	switch {
	case n >= 1<<20 && n%(1<<20) == 0:
		return fmt.Sprintf("%d MiB", n>>20)
	case n >= 1<<10 && n%(1<<10) == 0:
		return fmt.Sprintf("%d KiB", n>>10)
	}
	return fmt.Sprintf("%d bytes", n)
}
