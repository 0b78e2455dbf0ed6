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
	"slices"
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
	nginx               bool
	strict              bool
	onDemand            bool
	goroot              string
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
	index, err := o.kept()
	if err != nil {
		return err
	}
	// The first time there is none.
	before, _ := image.ReadIndex(o.out)
	made, err := o.makeAll(ctx, before)
	if err != nil {
		return err
	}
	index.Images, index.Missing = append(index.Images, made.Images...), append(index.Missing, made.Missing...)
	if err := image.WriteIndex(o.out, index); err != nil {
		return err
	}
	for _, e := range made.Images {
		if _, err := fmt.Fprintf(log, "%-16s %s %s (%s)\n", e.Name, e.Ref, e.Digest, e.Source); err != nil {
			return err
		}
	}
	if made.Missing == nil {
		return nil
	}
	missing := &image.MissingError{Missing: made.Missing}
	if o.strict {
		return missing
	}
	_, err = fmt.Fprintf(log, "%v\n", missing)
	return err
}

// kept is what an earlier run of the other kind left.
func (o *options) kept() (*image.Index, error) {
	if _, err := os.Stat(filepath.Join(o.out, image.IndexFile)); errors.Is(err, fs.ErrNotExist) {
		return &image.Index{}, nil
	}
	index, err := image.ReadIndex(o.out)
	if err != nil {
		return nil, err
	}
	builds := map[string]bool{}
	for _, p := range o.builds() {
		builds[p.name] = true
	}
	index.Images = slices.DeleteFunc(index.Images, func(e image.Entry) bool { return builds[e.Name] == o.onDemand })
	index.Missing = slices.DeleteFunc(index.Missing, func(m image.Missing) bool { return builds[m.Name] == o.onDemand })
	return index, nil
}

// makeAll makes the images of this run.
func (o *options) makeAll(ctx context.Context, before *image.Index) (*image.Index, error) {
	index, products := &image.Index{}, o.ours()
	if o.onDemand {
		products = o.builds()
	}
	for _, p := range products {
		entry, err := o.make(p)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, exec.ErrNotFound) {
			reason := fmt.Sprintf("its program is not built: %v", err)
			if o.onDemand {
				reason = err.Error()
			}
			index.Missing = append(index.Missing, image.Missing{Name: p.name, Reason: reason, OnDemand: o.onDemand})
			continue
		}
		if err != nil {
			return nil, err
		}
		entry.OnDemand = o.onDemand
		index.Images = append(index.Images, *entry)
	}
	if o.onDemand {
		return index, nil
	}
	if err := o.fabric(ctx, index); err != nil {
		return nil, err
	}
	if err := o.links(index); err != nil {
		return nil, err
	}
	return index, o.couchDB(ctx, index, before)
}

// builds are the images that builds of contracts need: the registry, and those they run in, with toolchains of this machine.
func (o *options) builds() []product {
	program := filepath.Join(o.bin, "heddle-build")
	return []product{
		{"heddle-registry", image.RegistryRepository, o.version, "built", func() (image.Spec, error) {
			return image.ProgramSpec(filepath.Join(o.bin, "heddle-registry"), "5000/tcp")
		}},
		{"heddle-build-go", image.BuildGoRepository, o.version, "built, with this machine's Go", func() (image.Spec, error) {
			return image.BuildGoSpec(program, o.goroot)
		}},
		{"heddle-build-node", image.BuildNodeRepository, o.version, "built, with this machine's Node.js", func() (image.Spec, error) {
			tools, err := image.FindNodeTools(exec.LookPath)
			if err != nil {
				return image.Spec{}, err
			}
			return image.BuildNodeSpec(program, tools)
		}},
	}
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

// links packs the nginx of gateways and links. Sites without partners do without it, so it is loaded on demand.
func (o *options) links(index *image.Index) error {
	if !o.nginx {
		return nil
	}
	const name = "heddle-nginx"
	entry, err := o.make(product{name, image.NginxRepository, o.version, "packed from Debian's nginx", func() (image.Spec, error) {
		tools, err := image.FindNginx(filepath.Join(o.bin, "heddle-link"))
		if err != nil {
			return image.Spec{}, err
		}
		return image.NginxSpec(tools, o.version)
	}})
	if errors.Is(err, fs.ErrNotExist) {
		index.Missing = append(index.Missing, image.Missing{Name: name, Reason: err.Error(), OnDemand: true})
		return nil
	}
	if err != nil {
		return err
	}
	entry.OnDemand = true
	index.Images = append(index.Images, *entry)
	return nil
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
