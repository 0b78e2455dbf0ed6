// Package builder is the peer's external builder: the program that a peer asks
// whether it knows a contract package (detect), to prepare it (build), to hand out
// what the peer needs of it (release) and to run it (run), as a pod.
//
// Each type of package is a [kind] in a file of its own. The peer is the only
// caller; it passes folders that hold what somebody uploaded, so every path below
// them goes through os.Root and every read is bounded.
package builder

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// kind is what the builder knows about one type of package.
type kind interface {
	// label is the type as it stands in metadata.json.
	label() string
	// build checks the source of a package and writes what release needs.
	build(source, output *os.Root) error
	// release writes what the peer reads.
	release(output, release *os.Root) error
}

// kinds lists every type this builder serves. It is the only external builder of
// a peer, so a type that is missing here is not served at all.
func kinds() []kind {
	return []kind{ccaas{}, k8s{}}
}

type verb struct {
	name  string
	usage []string // names of the arguments
	run   func(ctx context.Context, args []string, log io.Writer) error
}

// needed counts the arguments that must be given: names of others are in brackets.
func (v verb) needed() int {
	return len(slices.DeleteFunc(slices.Clone(v.usage), func(name string) bool { return strings.HasPrefix(name, "[") }))
}

func verbs() []verb {
	return []verb{
		{"detect", []string{"SOURCE", "METADATA"}, detect},
		{"build", []string{"SOURCE", "METADATA", "OUTPUT"}, build},
		{"release", []string{"OUTPUT", "RELEASE"}, release},
		{"run", []string{"OUTPUT", "METADATA"}, run},
		{"install", []string{"DIR", "[FOLDER]"}, install},
	}
}

// Run does what the program was called for: the verb is the name it was called by
// (the peer calls bin/detect and so on) or, under any other name, its first
// argument. What it says goes to log, which is the peer's log.
func Run(ctx context.Context, args []string, log io.Writer) error {
	if len(args) == 0 {
		return errors.New(usage())
	}
	name, rest := filepath.Base(args[0]), args[1:]
	if _, ok := find(name); !ok {
		if len(rest) == 0 {
			return errors.New(usage())
		}
		name, rest = rest[0], rest[1:]
	}
	v, ok := find(name)
	if !ok {
		return fmt.Errorf("unknown verb %q: %s", name, usage())
	}
	if len(rest) > len(v.usage) || len(rest) < v.needed() {
		return fmt.Errorf("%s takes %s, got %d arguments", v.name, strings.Join(v.usage, " "), len(rest))
	}
	return v.run(ctx, rest, log)
}

func find(name string) (verb, bool) {
	all := verbs()
	i := slices.IndexFunc(all, func(v verb) bool { return v.name == name })
	if i < 0 {
		return verb{}, false
	}
	return all[i], true
}

func usage() string {
	lines := make([]string, 0, len(verbs()))
	for _, v := range verbs() {
		lines = append(lines, v.name+" "+strings.Join(v.usage, " "))
	}
	return "usage: heddle-builder " + strings.Join(lines, " | ")
}

// detect succeeds when one of the kinds knows the package; the peer takes any
// failure for a no.
func detect(_ context.Context, args []string, _ io.Writer) error {
	metadata, err := os.OpenRoot(args[1])
	if err != nil {
		return fmt.Errorf("open metadata: %w", err)
	}
	defer func() { _ = metadata.Close() }()
	_, err = kindOf(metadata)
	return err
}

func build(_ context.Context, args []string, log io.Writer) error {
	source, metadata, output, err := open3(args)
	if err != nil {
		return err
	}
	defer closeAll(source, metadata, output)
	k, err := kindOf(metadata)
	if err != nil {
		return err
	}
	// The peer does not show the metadata to release again.
	if err := copyFile(metadata, output, metadataFile, metadataLimit); err != nil {
		return err
	}
	if err := copyIndexes(source, output); err != nil {
		return err
	}
	if err := k.build(source, output); err != nil {
		return fmt.Errorf("build %s package: %w", k.label(), err)
	}
	_, err = fmt.Fprintf(log, "heddle-builder: built a package of type %s\n", k.label())
	return err
}

func release(_ context.Context, args []string, log io.Writer) error {
	output, err := os.OpenRoot(args[0])
	if err != nil {
		return fmt.Errorf("open output: %w", err)
	}
	defer closeAll(output)
	target, err := os.OpenRoot(args[1])
	if err != nil {
		return fmt.Errorf("open release: %w", err)
	}
	defer closeAll(target)
	k, err := kindOf(output)
	if err != nil {
		return err
	}
	if err := releaseIndexes(output, target); err != nil {
		return err
	}
	if err := k.release(output, target); err != nil {
		return fmt.Errorf("release %s package: %w", k.label(), err)
	}
	_, err = fmt.Fprintf(log, "heddle-builder: released a package of type %s\n", k.label())
	return err
}

func open3(paths []string) (source, metadata, output *os.Root, err error) {
	roots := make([]*os.Root, 0, len(paths))
	for i, path := range paths {
		root, err := os.OpenRoot(path)
		if err != nil {
			closeAll(roots...)
			return nil, nil, nil, fmt.Errorf("open %s: %w", []string{"source", "metadata", "output"}[i], err)
		}
		roots = append(roots, root)
	}
	return roots[0], roots[1], roots[2], nil
}

// closeAll drops folders that were only looked into or whose files are closed.
func closeAll(roots ...*os.Root) {
	for _, root := range roots {
		_ = root.Close()
	}
}
