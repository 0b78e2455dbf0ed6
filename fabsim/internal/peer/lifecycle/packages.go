package lifecycle

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// Package is a package of a contract, opened.
type Package struct {
	// Type and Label of the metadata; Metadata as it stands.
	Type, Label string
	Metadata    []byte
	// Code is the code archive.
	Code []byte
}

const (
	metadataFile = "metadata.json"
	codeFile     = "code.tar.gz"
	// maxUnpacked bounds what a package may grow to.
	maxUnpacked = 512 << 20
)

// ParsePackage opens a package: a compressed archive of metadata and code.
func ParsePackage(raw []byte) (*Package, error) {
	unzipped, err := gzip.NewReader(bytes.NewReader(raw))
	if err != nil {
		return nil, fmt.Errorf("error reading as gzip stream: %w", err)
	}
	p := &Package{}
	archive := tar.NewReader(io.LimitReader(unzipped, maxUnpacked))
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return p, p.check()
		}
		if err != nil {
			return nil, fmt.Errorf("error inspecting next tar header: %w", err)
		}
		if header.Typeflag != tar.TypeReg {
			return nil, fmt.Errorf("tar entry %s is not a regular file, type %v", header.Name, header.Typeflag)
		}
		content, err := io.ReadAll(archive)
		if err != nil {
			return nil, fmt.Errorf("could not read %s from tar: %w", header.Name, err)
		}
		switch header.Name {
		case metadataFile:
			p.Metadata = content
		case codeFile:
			p.Code = content
		}
	}
}

func (p *Package) check() error {
	if p.Code == nil {
		return errors.New("did not find a code package inside the package")
	}
	if p.Metadata == nil {
		return fmt.Errorf("did not find any package metadata (missing %s)", metadataFile)
	}
	var metadata struct {
		Type  string `json:"type"`
		Label string `json:"label"`
	}
	if err := json.Unmarshal(p.Metadata, &metadata); err != nil {
		return fmt.Errorf("could not unmarshal %s as json: %w", metadataFile, err)
	}
	p.Type, p.Label = metadata.Type, metadata.Label
	if !regexp.MustCompile(`^[[:alnum:]][[:alnum:]_.+-]*$`).MatchString(p.Label) {
		return fmt.Errorf("invalid label '%s'. Label must be non-empty, can only consist of alphanumerics, symbols from '.+-_', "+
			"and can only begin with alphanumerics", p.Label)
	}
	return nil
}

// PackageID is the ID of a package: its label and the hash of its bytes.
func PackageID(label string, raw []byte) string {
	return fmt.Sprintf("%s:%x", label, sha256.Sum256(raw))
}

// Packages are those that are installed, one file each.
type Packages struct{ dir string }

// OpenPackages makes the folder if need be.
func OpenPackages(dir string) (*Packages, error) {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, fmt.Errorf("make folder of packages: %w", err)
	}
	return &Packages{dir: dir}, nil
}

func (p *Packages) file(id string) (string, error) {
	name := strings.Replace(id, ":", ".", 1) + ".tar.gz"
	if !filepath.IsLocal(name) || strings.ContainsRune(name, filepath.Separator) {
		return "", NotInstalledError{id}
	}
	return filepath.Join(p.dir, name), nil
}

// NotInstalledError says that there is no such package.
type NotInstalledError struct{ id string }

// Error has Fabric's words.
func (e NotInstalledError) Error() string {
	return fmt.Sprintf("chaincode install package '%s' not found", e.id)
}

// Save keeps a package, on disk before it returns.
func (p *Packages) Save(id string, raw []byte) error {
	name, err := p.file(id)
	if err != nil {
		return err
	}
	if _, err := os.Stat(name); err == nil {
		return nil
	}
	file, err := os.CreateTemp(p.dir, "new-*")
	if err != nil {
		return fmt.Errorf("error writing chaincode install package to %s: %w", name, err)
	}
	defer func() { _ = os.Remove(file.Name()) }() // it is gone already when all went well
	_, err = file.Write(raw)
	err = errors.Join(err, file.Sync(), file.Close())
	if err == nil {
		err = os.Rename(file.Name(), name)
	}
	if err != nil {
		return fmt.Errorf("error writing chaincode install package to %s: %w", name, err)
	}
	return nil
}

// Load reads a package.
func (p *Packages) Load(id string) ([]byte, error) {
	name, err := p.file(id)
	if err != nil {
		return nil, err
	}
	raw, err := os.ReadFile(name)
	if errors.Is(err, os.ErrNotExist) {
		return nil, NotInstalledError{id}
	}
	if err != nil {
		return nil, fmt.Errorf("error reading chaincode install package at %s: %w", name, err)
	}
	return raw, nil
}

// Delete forgets a package.
func (p *Packages) Delete(id string) error {
	name, err := p.file(id)
	if err != nil {
		return err
	}
	if err := os.Remove(name); err != nil {
		return fmt.Errorf("delete package: %w", err)
	}
	return nil
}

// List is the IDs of all packages, in order.
func (p *Packages) List() ([]string, error) {
	files, err := os.ReadDir(p.dir)
	if err != nil {
		return nil, fmt.Errorf("list packages: %w", err)
	}
	pattern := regexp.MustCompile(`^(.+)[.]([0-9a-f]{64})[.]tar[.]gz$`)
	var out []string
	for _, file := range files {
		if match := pattern.FindStringSubmatch(file.Name()); match != nil {
			out = append(out, match[1]+":"+match[2])
		}
	}
	slices.Sort(out)
	return out, nil
}
