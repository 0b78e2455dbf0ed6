package build

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"regexp"

	"heddle.dev/heddle/internal/fabric/ccpackage"
)

const (
	indexBytes = 1 << 20
	indexCount = 1000
)

// indexPlace is where a peer looks for indexes in a package.
func indexPlace() *regexp.Regexp {
	return regexp.MustCompile(`^META-INF/statedb/couchdb/(collections/[A-Za-z0-9_-]+/)?indexes/[A-Za-z0-9_.-]+\.json$`)
}

// indexFile is one index.
type indexFile struct {
	name    string
	content []byte
}

// readIndexes reads and checks the indexes in the META-INF folder below root. Its faults are the source's.
func readIndexes(root *os.Root) ([]indexFile, error) {
	const folder = metaFolder + "/statedb"
	if _, err := root.Lstat(folder); errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var found []indexFile
	left, place := int64(indexBytes), indexPlace()
	err := fs.WalkDir(root.FS(), folder, func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return fmt.Errorf("list indexes: %w", err)
		case entry.IsDir():
			return nil
		case !place.MatchString(name):
			return faulty("%s is no index: a peer looks for META-INF/statedb/couchdb/indexes/NAME.json, or …/couchdb/collections/COLLECTION/indexes/NAME.json", name)
		case len(found) == indexCount:
			return faulty("META-INF has more than %d indexes", indexCount)
		}
		content, err := readFile(root, name, left)
		if err != nil {
			return faulty("Index %s cannot be used: %v; all together may have %d bytes", name, err, indexBytes)
		}
		left -= int64(len(content))
		if err := ccpackage.CheckIndex(content); err != nil {
			return faulty("Index %s is broken: %v", name, err)
		}
		found = append(found, indexFile{name, content})
		return nil
	})
	return found, err
}

// keepIndexes copies the indexes to where push finds them, before any code of the author runs.
func (c *compilation) keepIndexes() error {
	indexes, err := readIndexes(c.root)
	if err != nil {
		return err
	}
	for _, i := range indexes {
		if err := c.out.MkdirAll(path.Dir(i.name), 0o755); err != nil {
			return fmt.Errorf("keep indexes: %w", err)
		}
		if err := c.out.WriteFile(i.name, i.content, 0o644); err != nil {
			return fmt.Errorf("keep indexes: %w", err)
		}
	}
	return nil
}

// packIndexes writes indexes as a tar that depends on them alone; nil if there are none.
func packIndexes(indexes []indexFile) ([]byte, error) {
	if len(indexes) == 0 {
		return nil, nil
	}
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, i := range indexes {
		header := &tar.Header{Typeflag: tar.TypeReg, Name: i.name, Mode: 0o644, Size: int64(len(i.content)), Format: tar.FormatPAX}
		if err := w.WriteHeader(header); err != nil {
			return nil, fmt.Errorf("pack indexes: %w", err)
		}
		if _, err := w.Write(i.content); err != nil {
			return nil, fmt.Errorf("pack indexes: %w", err)
		}
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("pack indexes: %w", err)
	}
	return out.Bytes(), nil
}
