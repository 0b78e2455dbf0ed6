package build

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"heddle.dev/heddle/internal/image"
	"heddle.dev/heddle/internal/specs"
)

// PushOptions say where an image goes.
type PushOptions struct {
	Registry
	// Out is what compile left.
	Out string
	// Image is the image's name, HOST:PORT/NS/BUILD. Nodes may know the registry by another name than Registry.URL has.
	Image string
	// KeyDir holds username and password.
	KeyDir string
	// Share holds base layers.
	Share string
	// SourceDigest, Language and Path are what the ChaincodeBuild says, for the provenance.
	SourceDigest, Language, Path string
	// Result is the file that the build's result is written to.
	Result string
	// Output is told what was pushed.
	Output io.Writer
}

// contractUser owns the contract's process where its pod says nothing else.
const contractUser = "1000:1000"

// Media types of what stands beside an image.
const (
	mediaSBOM       = "application/spdx+json"
	mediaProvenance = "application/vnd.in-toto+json"
	mediaMeta       = "application/vnd.heddle.build.meta.v1.tar"
	mediaLog        = "application/vnd.heddle.build.log.v1"
)

// errNoImage says that the build made no image; why is in its result.
var errNoImage = errors.New("the build made no image")

// Push makes the image of what compile left, pushes it with what stands beside it, and writes the build's result.
func Push(ctx context.Context, o PushOptions) error {
	result := &specs.BuildResult{}
	err := o.push(ctx, result)
	var fault *sourceError
	switch {
	case errors.As(err, &fault):
		result.Failure, err = fault.sentence, errNoImage
	case err != nil && result.Failure == "":
		result.Failure = clip("The platform could not finish the build: "+err.Error(), failureLimit)
	}
	if result.Failure != "" {
		result = &specs.BuildResult{Log: result.Log, Failure: result.Failure}
	}
	return errors.Join(err, writeBuildResult(o.Result, result))
}

func (o PushOptions) push(ctx context.Context, result *specs.BuildResult) error {
	p, err := newPusher(ctx, o)
	if err != nil {
		return err
	}
	out, err := os.OpenRoot(o.Out)
	if err != nil {
		return fmt.Errorf("open folder of results: %w", err)
	}
	defer out.Close()
	// The log first: it is wanted most when the rest fails.
	log, err := readFile(out, logFile, 2*logLimit)
	if err != nil {
		return fmt.Errorf("read log: %w", err)
	}
	if result.Log, err = p.artifact(ctx, log, mediaLog, nil); err != nil {
		return err
	}
	compiled, err := readResult(out)
	if err != nil {
		return err
	}
	if compiled.Failure != "" {
		result.Failure = clip(printable([]byte(compiled.Failure)), failureLimit)
		return errNoImage
	}
	began := time.Now()
	img, base, err := o.assemble(out, compiled)
	if err != nil {
		return err
	}
	if _, err := img.Digest(); err != nil { // which packs every layer
		return fmt.Errorf("assemble image: %w", err)
	}
	fmt.Fprintf(o.Output, "assembled the image in %.2f s\n", time.Since(began).Seconds())
	subject, err := p.image(img)
	if err != nil {
		return err
	}
	result.Name, result.Digest = o.Image, subject.Digest.String()
	if err := o.beside(ctx, p, out, compiled, subject, base, result); err != nil {
		return err
	}
	fmt.Fprintf(o.Output, "pushed %s@%s\n", result.Name, result.Digest)
	return nil
}

// beside pushes what stands beside the image.
func (o PushOptions) beside(ctx context.Context, p *pusher, out *os.Root, compiled *Compiled, subject *v1.Descriptor, base string, result *specs.BuildResult) error {
	parts, err := components(out, compiled)
	if err != nil {
		return err
	}
	list, err := bill(o.Image, result.Digest, parts)
	if err != nil {
		return err
	}
	if result.SBOM, err = p.artifact(ctx, list, mediaSBOM, subject); err != nil {
		return err
	}
	statement, err := o.provenance(compiled, result.Digest, base)
	if err != nil {
		return err
	}
	if result.Provenance, err = p.artifact(ctx, statement, mediaProvenance, subject); err != nil {
		return err
	}
	indexes, err := readIndexes(out)
	if err != nil {
		return err
	}
	meta, err := packIndexes(indexes)
	if err != nil || meta == nil {
		return err
	}
	result.Meta, err = p.artifact(ctx, meta, mediaMeta, subject)
	return err
}

// assemble makes the image: the base, a layer for each folder that compile left, and what every image has.
func (o PushOptions) assemble(out *os.Root, compiled *Compiled) (img v1.Image, base string, err error) {
	spec := image.Spec{Entrypoint: compiled.Entrypoint, WorkingDir: compiled.WorkingDir, User: contractUser}
	if compiled.Base != "" {
		layer, digest, err := o.baseLayer(compiled.Base)
		if err != nil {
			return nil, "", err
		}
		spec.Below, base = append(spec.Below, layer), digest
	}
	entries, err := fs.ReadDir(out.FS(), layerFolder)
	if err != nil {
		return nil, "", fmt.Errorf("list layers: %w", err)
	}
	for i, e := range entries {
		files, err := image.Tree(out, path.Join(layerFolder, e.Name()), "/", image.Bounds{Files: 200_000, Bytes: 1 << 30}, nil)
		if err != nil {
			return nil, "", faulty("The contract cannot be packed: %v", err)
		}
		if i == len(entries)-1 {
			spec.Files = files
			break
		}
		if len(files) == 0 {
			continue
		}
		layer, err := image.NewLayer(files)
		if err != nil {
			return nil, "", fmt.Errorf("make layer: %w", err)
		}
		spec.Below = append(spec.Below, layer)
	}
	if len(spec.Files) == 0 || len(entries) > 4 {
		return nil, "", faulty("The build left nothing to run")
	}
	img, err = image.Build(spec)
	return img, base, err
}

// baseLayer is a layer that stands ready in this image, with its digest beside it.
func (o PushOptions) baseLayer(base string) (v1.Layer, string, error) {
	if base != "node" && base != "java" {
		return nil, "", fmt.Errorf("find base layer: there is none named %q", base)
	}
	file := filepath.Join(o.Share, base+"-base.tar")
	info, err := os.Stat(file)
	if err != nil {
		return nil, "", fmt.Errorf("find base layer: %w", err)
	}
	digest, err := readSmall(file+".digest", 100)
	if err != nil {
		return nil, "", fmt.Errorf("find base layer: %w", err)
	}
	known := strings.TrimSpace(string(digest))
	layer, err := image.StoredLayer(func() (io.ReadCloser, error) { return os.Open(file) }, info.Size(), known)
	return layer, known, err
}
