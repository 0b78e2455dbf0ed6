package archive

import (
	"path"
	"slices"
	"strings"
)

// IgnoreFile in a source's root has a line for each pattern of what is left out.
const IgnoreFile = ".heddleignore"

// maxIgnore bounds an IgnoreFile.
const maxIgnore = 64 << 10

// leftOut is never part of a source: what version control and editors keep, and modules that a build fetches itself.
func leftOut(name string) bool {
	switch base := path.Base(name); base {
	case ".git", ".hg", ".svn", ".bzr", "CVS", "node_modules", ".idea", ".vscode", ".vs", ".DS_Store", "__MACOSX", "Thumbs.db":
		return true
	default:
		return strings.HasSuffix(base, "~") || strings.HasPrefix(base, ".#") ||
			strings.HasPrefix(base, ".") && (strings.HasSuffix(base, ".swp") || strings.HasSuffix(base, ".swo"))
	}
}

// patterns are the lines of an IgnoreFile.
type patterns []pattern

type pattern struct {
	glob   string
	rooted bool
	folder bool
}

// parseIgnore reads lines as path.Match knows them. One without a slash fits names at any depth, one with a slash paths
// from the root; one that ends with a slash fits folders only. A line that starts with # is a comment.
func parseIgnore(text []byte) (patterns, error) {
	if len(text) > maxIgnore {
		return nil, refuse(IgnoreFile, "is larger than %s: shorten it", size(maxIgnore))
	}
	var all patterns
	for i, line := range strings.Split(string(text), "\n") {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		glob, folder := strings.CutSuffix(line, "/")
		_, badGlob := path.Match(glob, "")
		if strings.HasPrefix(line, "!") || strings.Contains(line, "**") || badGlob != nil || glob == "" {
			return nil, refuse(IgnoreFile, "has a line %d that is not understood (%q): patterns have *, ? and [a-z], no ! and no **", i+1, line)
		}
		rooted := strings.Contains(glob, "/")
		all = append(all, pattern{glob: strings.TrimPrefix(glob, "/"), rooted: rooted, folder: folder})
	}
	return all, nil
}

// fit says whether a pattern fits the path itself.
func (p patterns) fit(name string, folder bool) bool {
	return slices.ContainsFunc(p, func(p pattern) bool {
		if p.folder && !folder {
			return false
		}
		what := name
		if !p.rooted {
			what = path.Base(name)
		}
		matched, err := path.Match(p.glob, what)
		return err == nil && matched
	})
}

// fitPath says whether a file or a folder above it is left out, by its own name or by a pattern.
func (p patterns) fitPath(name string) bool {
	for i, c := range name {
		if c == '/' && (leftOut(name[:i]) || p.fit(name[:i], true)) {
			return true
		}
	}
	return leftOut(name) || p.fit(name, false) || name == IgnoreFile
}
