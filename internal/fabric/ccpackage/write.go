package ccpackage

import (
	"archive/tar"
	"bytes"
	"cmp"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
)

// The package types of this platform.
const (
	// TypeCCAAS is a contract that runs as a service; the peer connects to it.
	TypeCCAAS = "ccaas"
	// TypeK8s is a contract that the peer launches as a pod.
	TypeK8s = "k8s"
)

const (
	metadataFile   = "metadata.json"
	codeFile       = "code.tar.gz"
	connectionFile = "connection.json"
	imageFile      = "image.json"
	metaFolder     = "META-INF/"
	fileMode       = 0o644
)

var labelPattern = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.+-]*$`)

// maxLabel keeps the package's file name on a peer within what file systems
// take.
const maxLabel = 100

// Connection tells a peer where a ccaas contract listens.
type Connection struct {
	// Address is host:port. It may hold the peer's own template expressions.
	Address string `json:"address"`
	// DialTimeout such as "10s".
	DialTimeout string `json:"dial_timeout"`
	// TLSRequired and what follows secure the connection, in PEM.
	TLSRequired        bool   `json:"tls_required"`
	ClientAuthRequired bool   `json:"client_auth_required,omitempty"`
	ClientKey          string `json:"client_key,omitempty"`
	ClientCert         string `json:"client_cert,omitempty"`
	RootCert           string `json:"root_cert,omitempty"`
}

// Image names the container image of a k8s contract.
type Image struct {
	// Name without tag.
	Name string `json:"name"`
	// Digest such as sha256:….
	Digest string `json:"digest"`
}

// File is a file below META-INF, such as a CouchDB index.
type File struct {
	// Path from META-INF/ on, with slashes.
	Path string
	Data []byte
}

// CCAAS writes the package of a contract that runs as a service.
func CCAAS(label string, connection Connection, meta ...File) ([]byte, error) {
	if connection.Address == "" {
		return nil, fmt.Errorf("write package %q: the contract's address is empty", label)
	}
	return write(label, TypeCCAAS, connectionFile, connection, meta)
}

// K8s writes the package of a contract that the peer launches.
func K8s(label string, image Image, meta ...File) ([]byte, error) {
	if image.Name == "" || !strings.HasPrefix(image.Digest, "sha256:") {
		return nil, fmt.Errorf("write package %q: the image needs a name and a sha256 digest", label)
	}
	return write(label, TypeK8s, imageFile, image, meta)
}

// ID is what a package is known by: its label and the hash of its bytes. The
// label is read from the package.
func ID(raw []byte) (string, error) {
	p, err := Read(raw)
	if err != nil {
		return "", err
	}
	return p.ID, nil
}

func packageID(label string, raw []byte) string {
	sum := sha256.Sum256(raw)
	return label + ":" + hex.EncodeToString(sum[:])
}

func write(label, kind, name string, content any, meta []File) ([]byte, error) {
	if err := ValidateLabel(label); err != nil {
		return nil, err
	}
	text, err := json.Marshal(content)
	if err != nil {
		return nil, fmt.Errorf("write package %q: %w", label, err)
	}
	files := []File{{Path: name, Data: text}}
	for _, file := range meta {
		if !strings.HasPrefix(file.Path, metaFolder) || path.Clean(file.Path) != file.Path {
			return nil, fmt.Errorf("write package %q: file %q does not lie below %s", label, file.Path, metaFolder)
		}
		files = append(files, file)
	}
	// The peer's external builders find META-INF inside the code archive.
	code, err := archive(files)
	if err != nil {
		return nil, fmt.Errorf("write package %q: %w", label, err)
	}
	head, err := json.Marshal(metadata{Type: kind, Label: label})
	if err != nil {
		return nil, fmt.Errorf("write package %q: %w", label, err)
	}
	raw, err := archive([]File{{Path: metadataFile, Data: head}, {Path: codeFile, Data: code}})
	if err != nil {
		return nil, fmt.Errorf("write package %q: %w", label, err)
	}
	return raw, nil
}

type metadata struct {
	Type  string `json:"type"`
	Label string `json:"label"`
	Path  string `json:"path,omitempty"`
}

// ValidateLabel checks a package label against Fabric's rules.
func ValidateLabel(label string) error {
	if len(label) > maxLabel || !labelPattern.MatchString(label) {
		return fmt.Errorf("check package label %q: it has to start with a letter or digit, to consist of letters, digits, "+
			"'_', '.', '+', '-', and to have at most %d characters", label, maxLabel)
	}
	return nil
}

// archive writes a tar.gz without anything that varies: no times, no owners, a
// fixed order, and no compression, whose output differs between releases of Go.
func archive(files []File) ([]byte, error) {
	files = slices.Clone(files)
	slices.SortStableFunc(files, func(a, b File) int { return cmp.Compare(order(a), order(b)) })
	var out bytes.Buffer
	zip, err := gzip.NewWriterLevel(&out, gzip.NoCompression)
	if err != nil {
		return nil, err
	}
	writer := tar.NewWriter(zip)
	for i, file := range files {
		if i > 0 && files[i-1].Path == file.Path {
			return nil, fmt.Errorf("file %q is there twice", file.Path)
		}
		header := &tar.Header{Format: tar.FormatUSTAR, Typeflag: tar.TypeReg, Name: file.Path, Mode: fileMode, Size: int64(len(file.Data))}
		if err := writer.WriteHeader(header); err != nil {
			return nil, err
		}
		if _, err := writer.Write(file.Data); err != nil {
			return nil, err
		}
	}
	if err := writer.Close(); err != nil {
		return nil, err
	}
	if err := zip.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// order puts metadata.json first, for readers that stop there.
func order(f File) string {
	if f.Path == metadataFile {
		return ""
	}
	return f.Path
}
