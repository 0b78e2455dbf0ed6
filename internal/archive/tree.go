package archive

import (
	"path"
	"strings"
	"unicode"
	"unicode/utf8"
)

// The longest names that file systems take.
const (
	maxPart = 255
	maxPath = 1024
)

// tree knows all names of a source so far, so that no two of them are one file on any file system.
type tree struct {
	limits         Limits
	nodes          map[string]node
	files, folders int
	bytes          int64
}

type node struct {
	name     string
	folder   bool
	explicit bool
}

func newTree(limits Limits) *tree {
	return &tree{limits: limits, nodes: map[string]node{}}
}

// file adds a file; everything about it but its content is checked.
func (t *tree) file(name string, bytes int64) error {
	if err := t.add(name, false); err != nil {
		return err
	}
	if bytes < 0 || bytes > t.limits.FileBytes {
		return refuse(name, "is larger than %s: leave it out", size(t.limits.FileBytes))
	}
	if t.bytes += bytes; t.bytes > t.limits.TotalBytes {
		return refuse("", "the files together are larger than %s: leave out what the build does not need, for example by %s", size(t.limits.TotalBytes), IgnoreFile)
	}
	return nil
}

// folder adds a folder that the archive names.
func (t *tree) folder(name string) error {
	return t.add(name, true)
}

func (t *tree) add(name string, folder bool) error {
	if err := checkName(name); err != nil {
		return err
	}
	if strings.Count(name, "/") >= t.limits.Depth {
		return refuse(name, "lies deeper than %d folders: move it up", t.limits.Depth-1)
	}
	for i, c := range name {
		if c == '/' {
			if err := t.put(name[:i], node{name: name[:i], folder: true}); err != nil {
				return err
			}
		}
	}
	return t.put(name, node{name: name, folder: folder, explicit: true})
}

func (t *tree) put(name string, n node) error {
	key := fold(name)
	old, found := t.nodes[key]
	switch {
	case found && old.folder != n.folder:
		return refuse(name, "is a file and a folder at once: rename one of them")
	case found && old.name != n.name:
		return refuse(name, "differs from %q in upper and lower case only: rename one of them", old.name)
	case found && old.explicit && n.explicit:
		return refuse(name, "is there twice: make the archive again")
	}
	if found {
		n.explicit = n.explicit || old.explicit
		t.nodes[key] = n
		return nil
	}
	count, what := &t.files, "files"
	if n.folder {
		count, what = &t.folders, "folders"
	}
	if *count++; *count > t.limits.Files {
		return refuse("", "there are more than %d %s: leave out what the build does not need, for example by %s", t.limits.Files, what, IgnoreFile)
	}
	t.nodes[key] = n
	return nil
}

// checkName refuses every name that could mean something else to another program.
func checkName(name string) error {
	switch {
	case name == "":
		return refuse("", "a file has no name: make the archive again")
	case !utf8.ValidString(name):
		return refuse(name, "has a name that is no UTF-8: rename it")
	case len(name) > maxPath:
		return refuse(name, "has a path of more than %d bytes: shorten it", maxPath)
	case strings.ContainsRune(name, '\\'):
		return refuse(name, "has a backslash in its name: rename it, or make the archive with slashes between folders")
	case strings.ContainsFunc(name, func(c rune) bool { return unicode.IsControl(c) || unicode.Is(unicode.Cf, c) }):
		return refuse(name, "has a character in its name that cannot be seen: rename it")
	case path.IsAbs(name):
		return refuse(name, "has an absolute path: make the archive with paths that start at its root")
	}
	for part := range strings.SplitSeq(name, "/") {
		switch {
		case part == "..":
			return refuse(name, "leads out of the archive: make the archive with paths that start at its root")
		case part == "" || part == ".":
			return refuse(name, "has a path with an empty part: make the archive again")
		case len(part) > maxPart:
			return refuse(name, "has a name of more than %d bytes: shorten it", maxPart)
		}
	}
	return nil
}

// fold maps letters to one of all that differ from it in case only.
func fold(name string) string {
	return strings.Map(func(c rune) rune {
		least := c
		for f := unicode.SimpleFold(c); f != c; f = unicode.SimpleFold(f) {
			least = min(least, f)
		}
		return least
	}, name)
}
