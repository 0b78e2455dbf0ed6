package image

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// The users that images run as: nodes of Fabric as the stock images' documents
// have it, everything of ours as the customary nonroot.
const (
	fabricUser  = "1000:1000"
	nonrootUser = "65532:65532"
)

// ProgramSpec is an image that holds one program and runs it.
func ProgramSpec(file string, ports ...string) (Spec, error) {
	files, err := program(file, "/usr/local/bin/"+filepath.Base(file))
	if err != nil {
		return Spec{}, err
	}
	return Spec{
		Files:      files,
		Entrypoint: []string{"/usr/local/bin/" + filepath.Base(file)},
		User:       nonrootUser,
		Ports:      ports,
	}, nil
}

// program reads a program and the libraries it needs.
func program(file, target string) ([]File, error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read program: %w", err)
	}
	libraries, err := Libraries(content)
	if err != nil {
		return nil, fmt.Errorf("pack %q: %w", file, err)
	}
	return append(libraries, File{Path: target, Content: content, Executable: true}), nil
}

// Release is a folder of Fabric's programs with the configuration of its release
// archive beside it.
type Release struct {
	// Bin holds the programs, ../config their configuration.
	Bin string
	// Version is what the programs say of themselves, without the v.
	Version string
	// Simulated says that the programs are stand-ins for Fabric's (fabsim).
	Simulated bool
}

const (
	fabricConfig = "/etc/hyperledger/fabric"
	fabricState  = "/var/hyperledger"
)

// PeerSpec lays a peer out as the stock image does.
func (r Release) PeerSpec() (Spec, error) {
	spec, err := r.node("peer", "core.yaml")
	if err != nil {
		return Spec{}, err
	}
	spec.Command = []string{"peer", "node", "start"}
	spec.Ports = []string{"7051/tcp"}
	builders, err := r.stockBuilder()
	spec.Files = append(spec.Files, builders...)
	return spec, err
}

// OrdererSpec lays an orderer out as the stock image does.
func (r Release) OrdererSpec() (Spec, error) {
	config := []string{"orderer.yaml"}
	if !r.Simulated {
		config = append(config, "configtx.yaml")
	}
	spec, err := r.node("orderer", config...)
	if err != nil {
		return Spec{}, err
	}
	spec.Command = []string{"orderer", "start"}
	spec.Ports = []string{"7050/tcp"}
	return spec, nil
}

// node packs configuration by name: the release's config folder also holds a
// sample identity with a private key that everybody has.
func (r Release) node(name string, config ...string) (Spec, error) {
	files, err := program(filepath.Join(r.Bin, name), "/usr/local/bin/"+name)
	if err != nil {
		return Spec{}, err
	}
	for _, c := range config {
		source := filepath.Join(filepath.Dir(filepath.Clean(r.Bin)), "config", c)
		content, err := os.ReadFile(source)
		if errors.Is(err, os.ErrNotExist) {
			return Spec{}, fmt.Errorf("pack %s: %q is missing: put the config folder of Fabric's release archive beside its bin folder", name, source)
		}
		if err != nil {
			return Spec{}, fmt.Errorf("pack %s: %w", name, err)
		}
		files = append(files, File{Path: path.Join(fabricConfig, c), Content: content})
	}
	spec := Spec{
		Files:   files,
		Folders: []string{fabricState},
		Env:     []string{"FABRIC_CFG_PATH=" + fabricConfig, "FABRIC_VER=" + r.Version},
		User:    fabricUser,
		Volumes: []string{fabricConfig, fabricState},
		Labels:  r.labels(name),
	}
	if len(files) > len(config)+1 { // libraries came along
		// Without a C library's resolver modules the Go one is the only one that works.
		spec.Env = append(spec.Env, "GODEBUG=netdns=go")
	}
	return spec, nil
}

// labels tell an image of a simulated node apart from one of Fabric's.
func (r Release) labels(name string) map[string]string {
	title := "Hyperledger Fabric " + name
	if r.Simulated {
		title = "fabsim: SIMULATED Fabric " + name + ", for trying and testing"
	}
	return map[string]string{"org.opencontainers.image.version": r.Version, "org.opencontainers.image.title": title}
}

// stockBuilder packs the external builder of the release archive, when it is
// there: the stock core.yaml names it.
func (r Release) stockBuilder() ([]File, error) {
	folder := filepath.Join(filepath.Dir(filepath.Clean(r.Bin)), "builders", "ccaas", "bin")
	entries, err := os.ReadDir(folder)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("pack stock builder: %w", err)
	}
	var files []File
	for _, entry := range entries {
		content, err := os.ReadFile(filepath.Join(folder, entry.Name()))
		if err != nil {
			return nil, fmt.Errorf("pack stock builder: %w", err)
		}
		files = append(files, File{Path: path.Join("/opt/hyperledger/ccaas_builder/bin", entry.Name()), Content: content, Executable: true})
	}
	return files, nil
}

// CASpec is fabric-ca's server; the client travels along, as in the stock image.
func CASpec(server, client, version string) (Spec, error) {
	files, err := program(server, "/usr/local/bin/fabric-ca-server")
	if err != nil {
		return Spec{}, err
	}
	clientFiles, err := program(client, "/usr/local/bin/fabric-ca-client")
	if err != nil {
		return Spec{}, err
	}
	return Spec{
		Files:   merged(files, clientFiles),
		Folders: []string{"/etc/hyperledger/fabric-ca-server"},
		Env:     []string{"FABRIC_CA_HOME=/etc/hyperledger/fabric-ca-server", "FABRIC_CA_VER=" + version},
		Command: []string{"fabric-ca-server", "start"},
		User:    fabricUser,
		Ports:   []string{"7054/tcp"},
		Labels:  map[string]string{"org.opencontainers.image.version": version},
	}, nil
}

// couchDBUser is the user of CouchDB's stock image.
const couchDBUser = "5984:5984"

// CouchDBStandIn is what the stand-in for CouchDB is made of.
type CouchDBStandIn struct {
	// Program is couchsim.
	Program string
	// Server is the folder with PouchDB's server and the packages that it needs.
	Server string
	// Node runs that server; Shell is bash, which CouchDB's stock image has, for probes. Both are this machine's own.
	Node, Shell string
	// Version of CouchDB's image that it stands in for.
	Version string
}

// Spec lays it out as the stock image, as far as those who run CouchDB see it.
func (s CouchDBStandIn) Spec() (Spec, error) {
	var files []File
	for _, p := range []struct{ file, target string }{
		{s.Program, "/usr/local/bin/couchsim"}, {s.Node, "/usr/local/bin/node"}, {s.Shell, "/bin/bash"},
	} {
		more, err := program(p.file, p.target)
		if err != nil {
			return Spec{}, err
		}
		files = merged(files, more)
	}
	server, err := packages(s.Server, "/opt/couchsim")
	if err != nil {
		return Spec{}, fmt.Errorf("pack PouchDB's server: %w", err)
	}
	return Spec{
		Files:      append(files, server...),
		Folders:    []string{"/opt/couchdb/data", "/opt/couchdb/etc/default.d", "/opt/couchdb/etc/local.d"},
		Entrypoint: []string{"/usr/local/bin/couchsim"},
		User:       couchDBUser,
		Ports:      []string{"5984/tcp"},
		Volumes:    []string{"/opt/couchdb/data"},
		Labels: map[string]string{
			"org.opencontainers.image.version": s.Version,
			"org.opencontainers.image.title":   "couchsim: STAND-IN for CouchDB (PouchDB's server), for trying and testing",
		},
	}, nil
}

// MadeFrom identifies what the stand-in is made from, without a look at each of its thousands of files: the lock file
// has the hashes of the packages.
func (s CouchDBStandIn) MadeFrom() (string, error) {
	sum := sha256.New()
	for _, file := range []string{s.Program, filepath.Join(s.Server, "server.js"), filepath.Join(s.Server, "package-lock.json")} {
		content, err := os.ReadFile(file)
		if err != nil {
			return "", fmt.Errorf("read what the stand-in for CouchDB is made from: %w", err)
		}
		_, _ = fmt.Fprintf(sum, "%d\n", len(content)) // a hash takes everything
		_, _ = sum.Write(content)
	}
	for _, file := range []string{s.Node, s.Shell} {
		info, err := os.Stat(file)
		if err != nil {
			return "", fmt.Errorf("read what the stand-in for CouchDB is made from: %w", err)
		}
		_, _ = fmt.Fprintf(sum, "%s %d %s\n", file, info.Size(), info.ModTime().UTC())
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

// packages reads a folder with the packages of npm below it, without what nothing runs: sources of programs in C, programs
// for other machines, texts for people.
func packages(folder, target string) ([]File, error) {
	platform := "linux-" + map[string]string{"amd64": "x64", "arm64": "arm64"}[runtime.GOARCH]
	root, err := os.OpenRoot(folder)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	var files []File
	err = fs.WalkDir(root.FS(), ".", func(file string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			above := path.Base(path.Dir(file))
			if entry.Name() == ".bin" || above == "leveldown" && entry.Name() == "deps" || above == "pouchdb-fauxton" && entry.Name() == "www" ||
				above == "prebuilds" && entry.Name() != platform {
				return filepath.SkipDir
			}
			return nil
		}
		switch path.Ext(file) {
		case ".md", ".markdown", ".ts", ".map", ".cc", ".h":
			return nil
		}
		if !entry.Type().IsRegular() {
			return nil
		}
		content, err := root.ReadFile(file)
		files = append(files, File{Path: path.Join(target, file), Content: content})
		return err
	})
	return files, err
}

// merged adds files that are not there yet: programs share their libraries.
func merged(files, more []File) []File {
	for _, f := range more {
		if !slices.ContainsFunc(files, func(have File) bool { return have.Path == f.Path }) {
			files = append(files, f)
		}
	}
	return files
}

// SaysSimulated tells from what a program prints about itself whether it is a stand-in for Fabric's.
func SaysSimulated(output string) bool { return strings.Contains(output, "simulated node") }

// ParseVersion finds the version in what a program of Fabric prints about itself.
func ParseVersion(output string) (string, error) {
	for line := range strings.Lines(output) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), "Version:"); ok {
			value = strings.TrimPrefix(strings.TrimSpace(value), "v")
			if value != "" && !strings.ContainsAny(value, " :/@") {
				return value, nil
			}
		}
	}
	return "", errors.New("read version: the program prints none")
}
