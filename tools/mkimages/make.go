package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"heddle.dev/heddle/internal/image"
)

// patience is how long a registry may take to say that it has an image.
const patience = 10 * time.Second

// pullLimit bounds a pull from a registry that answers.
const pullLimit = 10 * time.Minute

type options struct {
	out, bin, fabricBin string
	simulatedBin        string
	version             string
	fabricVersion       string
	caVersion           string
	couchDBVersion      string
	couchsim            string
	strict              bool
}

// product is one image: how it is called, and how its description comes about.
type product struct {
	name       string
	repository string
	tag        string
	source     string
	spec       func() (image.Spec, error)
}

// run makes every image that can be made. One that cannot be had is listed with
// its reason and is no failure unless strict: most of the project's tests need no
// Fabric nodes.
func (o *options) run(ctx context.Context, log io.Writer) error {
	if err := os.MkdirAll(o.out, 0o755); err != nil {
		return fmt.Errorf("make folder of images: %w", err)
	}
	// The first time there is none.
	before, _ := image.ReadIndex(o.out)
	index := &image.Index{}
	for _, p := range o.ours() {
		entry, err := o.make(p)
		if errors.Is(err, fs.ErrNotExist) {
			index.Missing = append(index.Missing, image.Missing{Name: p.name, Reason: fmt.Sprintf("its program is not built: %v", err)})
			continue
		}
		if err != nil {
			return err
		}
		index.Images = append(index.Images, *entry)
	}
	if err := o.fabric(ctx, index); err != nil {
		return err
	}
	if err := o.couchDB(ctx, index, before); err != nil {
		return err
	}
	if err := image.WriteIndex(o.out, index); err != nil {
		return err
	}
	for _, e := range index.Images {
		if _, err := fmt.Fprintf(log, "%-16s %s %s (%s)\n", e.Name, e.Ref, e.Digest, e.Source); err != nil {
			return err
		}
	}
	if index.Missing == nil {
		return nil
	}
	missing := &image.MissingError{Missing: index.Missing}
	if o.strict {
		return missing
	}
	_, err := fmt.Fprintf(log, "%v\n", missing)
	return err
}

// ours are the images of programs that are built from source here.
func (o *options) ours() []product {
	program := func(name string, ports ...string) func() (image.Spec, error) {
		return func() (image.Spec, error) { return image.ProgramSpec(filepath.Join(o.bin, name), ports...) }
	}
	return []product{
		{"heddle-operator", image.OperatorRepository, o.version, "built", program("heddle-operator")},
		{"heddle-builder", image.BuilderRepository, o.version, "built", program("heddle-builder")},
		{"asset-go", image.AssetRepository, o.version, "built", program("asset-go", "9999/tcp")},
		{"testbox", image.TestboxRepository, o.version, "built", program("testbox", "8080/tcp")},
		{"fabric-ca", image.CARepository, o.caVersion, "built", func() (image.Spec, error) {
			return image.CASpec(filepath.Join(o.bin, "fabric-ca-server"), filepath.Join(o.bin, "fabric-ca-client"), o.caVersion)
		}},
	}
}

// fabric packs the peer and the orderer from release programs, or pulls them, or packs simulated ones.
func (o *options) fabric(ctx context.Context, index *image.Index) error {
	for _, n := range []node{
		{"fabric-peer", "peer", image.PeerRepository, image.Release.PeerSpec},
		{"fabric-orderer", "orderer", image.OrdererRepository, image.Release.OrdererSpec},
	} {
		entry, err := o.packed(ctx, n, o.fabricBin)
		if err != nil {
			return err
		}
		var reason string
		if entry == nil {
			entry, reason = o.pulled(ctx, n)
		}
		if entry == nil {
			if entry, err = o.packed(ctx, n, o.simulatedBin); err != nil {
				return err
			}
		}
		if entry == nil {
			index.Missing = append(index.Missing, image.Missing{Name: n.name, Reason: reason})
			continue
		}
		index.Images = append(index.Images, *entry)
	}
	return nil
}

// node is one of Fabric's two.
type node struct {
	name, program, repository string
	spec                      func(image.Release) (image.Spec, error)
}

// packed makes a node's image from a folder of programs; nil if there is none.
func (o *options) packed(ctx context.Context, n node, bin string) (*image.Entry, error) {
	release, found, err := release(ctx, bin, n.program)
	if err != nil || !found {
		return nil, err
	}
	source := "packed from " + bin
	if release.Simulated {
		source = "SIMULATED by fabsim"
	}
	entry, err := o.make(product{n.name, n.repository, release.Version, source, func() (image.Spec, error) { return n.spec(release) }})
	if err != nil {
		return nil, err
	}
	entry.Simulated = release.Simulated
	return entry, nil
}

// pulled gets a node's image from its registry; nil with the reason if it cannot be had.
func (o *options) pulled(ctx context.Context, n node) (*image.Entry, string) {
	entry, err := o.pull(ctx, n.name, n.repository+":"+o.fabricVersion)
	if err == nil {
		return entry, ""
	}
	return nil, fmt.Sprintf("FABRIC_BIN (%q) has no %s program, and the image cannot be pulled: %v; "+
		"put Fabric's release programs there with their config folder beside it, or give this machine a way to the registry",
		o.fabricBin, n.program, err)
}

// release asks a program for its version; found is false when there is no such program.
func release(ctx context.Context, bin, program string) (r image.Release, found bool, err error) {
	if bin == "" {
		return image.Release{}, false, nil
	}
	file := filepath.Join(bin, program)
	if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) {
		return image.Release{}, false, nil
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	command := exec.CommandContext(ctx, file, "version")
	command.Env = []string{"FABRIC_CFG_PATH=" + filepath.Join(filepath.Dir(filepath.Clean(bin)), "config")}
	output, err := command.Output()
	if err != nil {
		return image.Release{}, false, fmt.Errorf("ask %q for its version: %w", file, err)
	}
	version, err := image.ParseVersion(string(output))
	if err != nil {
		return image.Release{}, false, fmt.Errorf("ask %q for its version: %w", file, err)
	}
	return image.Release{Bin: bin, Version: version, Simulated: image.SaysSimulated(string(output))}, true, nil
}

func (o *options) make(p product) (*image.Entry, error) {
	spec, err := p.spec()
	if err != nil {
		return nil, err
	}
	img, err := image.Build(spec)
	if err != nil {
		return nil, fmt.Errorf("make %s: %w", p.name, err)
	}
	return o.write(p.name, p.source, image.Named{Ref: p.repository + ":" + p.tag, Image: img})
}

func (o *options) pull(ctx context.Context, name, ref string) (*image.Entry, error) {
	if err := image.Reachable(ctx, ref, patience); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, pullLimit)
	defer cancel()
	n, err := image.Pull(ctx, ref)
	if err != nil {
		return nil, err
	}
	return o.write(name, "pulled", n)
}

// write leaves an archive alone that holds this very image already, so that what
// watches its time sees a change only when there is one.
func (o *options) write(name, source string, n image.Named) (*image.Entry, error) {
	digest, err := n.Image.Digest()
	if err != nil {
		return nil, fmt.Errorf("make %s: %w", name, err)
	}
	entry := &image.Entry{Name: name, Ref: image.FullRef(n.Ref), Archive: name + ".tar", Digest: digest.String(), Source: source}
	file := filepath.Join(o.out, entry.Archive)
	have, err := image.InspectFile(file)
	if err == nil && len(have) == 1 && have[0].Ref == entry.Ref && have[0].Digest == entry.Digest {
		return entry, nil
	}
	return entry, image.WriteArchiveFile(file, n)
}
