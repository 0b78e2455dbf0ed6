package ccpackage

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
)

// Bounds of what is read: packages come from people.
const (
	maxPackage  = 100 << 20
	maxUnpacked = 200 << 20
	maxFiles    = 10_000
)

// Package is a contract package as read.
type Package struct {
	// ID is the label and the hash.
	ID string
	// Label and Type from its metadata.
	Label, Type string
	// Files of its code archive, in their order.
	Files []File
}

// Read unpacks a contract package of any type, within bounds.
func Read(raw []byte) (*Package, error) {
	if len(raw) > maxPackage {
		return nil, fmt.Errorf("read package: %d bytes are more than %d", len(raw), maxPackage)
	}
	outer, err := unpack(raw)
	if err != nil {
		return nil, fmt.Errorf("read package: %w", err)
	}
	var head metadata
	var code []byte
	found := map[string]bool{}
	for _, file := range outer {
		found[file.Path] = true
		switch file.Path {
		case metadataFile:
			if err := json.Unmarshal(file.Data, &head); err != nil {
				return nil, fmt.Errorf("read package: %s: %w", metadataFile, err)
			}
		case codeFile:
			code = file.Data
		}
	}
	for _, needed := range []string{metadataFile, codeFile} {
		if !found[needed] {
			return nil, fmt.Errorf("read package: there is no %s", needed)
		}
	}
	if err := ValidateLabel(head.Label); err != nil {
		return nil, fmt.Errorf("read package: %w", err)
	}
	files, err := unpack(code)
	if err != nil {
		return nil, fmt.Errorf("read package: %s: %w", codeFile, err)
	}
	return &Package{ID: packageID(head.Label, raw), Label: head.Label, Type: head.Type, Files: files}, nil
}

// Image is the image of a k8s package.
func (p *Package) Image() (Image, error) {
	var image Image
	if err := p.decode(TypeK8s, imageFile, &image); err != nil {
		return Image{}, err
	}
	return image, nil
}

// Connection is where a ccaas package's contract listens.
func (p *Package) Connection() (Connection, error) {
	var connection Connection
	if err := p.decode(TypeCCAAS, connectionFile, &connection); err != nil {
		return Connection{}, err
	}
	return connection, nil
}

// Meta are the files below META-INF.
func (p *Package) Meta() []File {
	var out []File
	for _, file := range p.Files {
		if strings.HasPrefix(file.Path, metaFolder) {
			out = append(out, file)
		}
	}
	return out
}

// ReadMeta reads a META-INF folder from a tar archive, as a build leaves it, within the same bounds.
func ReadMeta(raw []byte) ([]File, error) {
	files, err := unpackTar(bytes.NewReader(raw))
	if err != nil {
		return nil, fmt.Errorf("read META-INF: %w", err)
	}
	for _, file := range files {
		if !strings.HasPrefix(file.Path, metaFolder) {
			return nil, fmt.Errorf("read META-INF: file %q lies elsewhere", file.Path)
		}
	}
	return files, nil
}

// CheckIndex refuses an index for CouchDB without fields. Peers look at indexes only when a definition is committed, where
// a broken one is a line in the log of each.
func CheckIndex(content []byte) error {
	var index struct {
		Index struct {
			Fields []json.RawMessage `json:"fields"`
		} `json:"index"`
	}
	if err := json.Unmarshal(content, &index); err != nil {
		return err
	}
	if len(index.Index.Fields) == 0 {
		return errors.New(`"index" lists no "fields"`)
	}
	return nil
}

func (p *Package) decode(kind, name string, into any) error {
	if p.Type != kind {
		return fmt.Errorf("read package %q: its type is %q and not %q", p.Label, p.Type, kind)
	}
	for _, file := range p.Files {
		if file.Path == name {
			if err := json.Unmarshal(file.Data, into); err != nil {
				return fmt.Errorf("read package %q: %s: %w", p.Label, name, err)
			}
			return nil
		}
	}
	return fmt.Errorf("read package %q: there is no %s", p.Label, name)
}

// unpack reads a tar.gz of plain files.
func unpack(raw []byte) ([]File, error) {
	zip, err := gzip.NewReader(bytes.NewReader(raw))
	if err != nil {
		return nil, err
	}
	return unpackTar(zip)
}

func unpackTar(from io.Reader) ([]File, error) {
	reader := tar.NewReader(from)
	var files []File
	left := int64(maxUnpacked)
	for {
		header, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return files, nil
		}
		if err != nil {
			return nil, err
		}
		switch {
		case header.Typeflag == tar.TypeDir:
			continue
		case header.Typeflag != tar.TypeReg:
			return nil, fmt.Errorf("file %q is neither a file nor a folder", header.Name)
		case len(files) == maxFiles:
			return nil, fmt.Errorf("there are more than %d files", maxFiles)
		case header.Size > left:
			return nil, fmt.Errorf("the files are more than %d bytes", maxUnpacked)
		}
		name := path.Clean(strings.TrimPrefix(header.Name, "./"))
		if path.IsAbs(name) || name == ".." || strings.HasPrefix(name, "../") {
			return nil, fmt.Errorf("file %q leads out of the package", header.Name)
		}
		data, err := io.ReadAll(io.LimitReader(reader, left+1))
		if err != nil {
			return nil, err
		}
		if left -= int64(len(data)); left < 0 {
			return nil, fmt.Errorf("the files are more than %d bytes", maxUnpacked)
		}
		files = append(files, File{Path: name, Data: data})
	}
}
