package image

import (
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
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
	for _, f := range clientFiles {
		if !slices.ContainsFunc(files, func(have File) bool { return have.Path == f.Path }) {
			files = append(files, f)
		}
	}
	return Spec{
		Files:   files,
		Folders: []string{"/etc/hyperledger/fabric-ca-server"},
		Env:     []string{"FABRIC_CA_HOME=/etc/hyperledger/fabric-ca-server", "FABRIC_CA_VER=" + version},
		Command: []string{"fabric-ca-server", "start"},
		User:    fabricUser,
		Ports:   []string{"7054/tcp"},
		Labels:  map[string]string{"org.opencontainers.image.version": version},
	}, nil
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
