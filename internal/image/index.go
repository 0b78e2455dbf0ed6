package image

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// IndexFile is the name of the list in a folder of archives.
const IndexFile = "index.json"

// Index lists the archives of a folder, and what should be there but cannot be had.
type Index struct {
	Images  []Entry   `json:"images"`
	Missing []Missing `json:"missing,omitempty"`
}

// Entry is one image of a folder.
type Entry struct {
	// Name is the image's short name, such as "fabric-peer".
	Name string `json:"name"`
	// Ref is the full name under which runtimes know it once it is loaded.
	Ref string `json:"ref"`
	// Archive is the file, relative to the folder.
	Archive string `json:"archive"`
	// Digest is the manifest's.
	Digest string `json:"digest"`
	// Source says where it came from, for people.
	Source string `json:"source"`
	// Simulated says that it stands in for one of Fabric's nodes.
	Simulated bool `json:"simulated,omitempty"`
	// OnDemand says that it is loaded only where somebody asks for it: it is large, and most networks do without it.
	OnDemand bool `json:"onDemand,omitempty"`
	// MadeFrom identifies what an image was made from that takes long to make, so that it is not made for nothing.
	MadeFrom string `json:"madeFrom,omitempty"`
}

// Missing is an image that could not be had, and the sentence that says why.
type Missing struct {
	Name   string `json:"name"`
	Reason string `json:"reason"`
	// OnDemand says that most networks do without it.
	OnDemand bool `json:"onDemand,omitempty"`
}

// MissingError says which images are not there and why.
type MissingError struct{ Missing []Missing }

// Error is one sentence for each image.
func (e *MissingError) Error() string {
	sentences := make([]string, 0, len(e.Missing))
	for _, m := range e.Missing {
		sentences = append(sentences, fmt.Sprintf("image %s is missing: %s", m.Name, m.Reason))
	}
	return strings.Join(sentences, "; ")
}

// ReadIndex reads the list of a folder.
func ReadIndex(folder string) (*Index, error) {
	content, err := os.ReadFile(filepath.Join(folder, IndexFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read list of images: there is none in %q: \"make images\" makes it: %w", folder, err)
	}
	if err != nil {
		return nil, fmt.Errorf("read list of images: %w", err)
	}
	index := new(Index)
	if err := json.Unmarshal(content, index); err != nil {
		return nil, fmt.Errorf("read list of images in %q: %w", folder, err)
	}
	return index, nil
}

// WriteIndex writes the list of a folder, sorted by name.
func WriteIndex(folder string, index *Index) error {
	slices.SortFunc(index.Images, func(a, b Entry) int { return strings.Compare(a.Name, b.Name) })
	slices.SortFunc(index.Missing, func(a, b Missing) int { return strings.Compare(a.Name, b.Name) })
	content, err := json.MarshalIndent(index, "", "  ")
	if err != nil {
		return fmt.Errorf("encode list of images: %w", err)
	}
	file := filepath.Join(folder, IndexFile)
	if err := os.WriteFile(file+".new", append(content, '\n'), 0o644); err != nil {
		return fmt.Errorf("write list of images: %w", err)
	}
	if err := os.Rename(file+".new", file); err != nil {
		return fmt.Errorf("write list of images: %w", err)
	}
	return nil
}

// Required are the images that every network needs. When one of them is missing, the error is a [MissingError].
func (i *Index) Required() ([]Entry, error) {
	var found []Entry
	for _, e := range i.Images {
		if !e.OnDemand {
			found = append(found, e)
		}
	}
	missing := slices.DeleteFunc(slices.Clone(i.Missing), func(m Missing) bool { return m.OnDemand })
	if len(missing) > 0 {
		return found, &MissingError{Missing: missing}
	}
	return found, nil
}

// Find returns the named entries, all of them when no name is given. When one is
// not there, the error is a [MissingError].
func (i *Index) Find(names ...string) ([]Entry, error) {
	if len(names) == 0 {
		return i.Images, nil
	}
	var found []Entry
	var missing []Missing
	for _, name := range names {
		if at := slices.IndexFunc(i.Images, func(e Entry) bool { return e.Name == name }); at >= 0 {
			found = append(found, i.Images[at])
			continue
		}
		m := Missing{Name: name, Reason: "\"make images\" does not know it"}
		if at := slices.IndexFunc(i.Missing, func(m Missing) bool { return m.Name == name }); at >= 0 {
			m = i.Missing[at]
		}
		missing = append(missing, m)
	}
	if missing != nil {
		return found, &MissingError{Missing: missing}
	}
	return found, nil
}
