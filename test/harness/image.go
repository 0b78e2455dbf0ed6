package harness

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"heddle.dev/heddle/internal/image"
	"heddle.dev/heddle/internal/lab"
)

// LoadImage puts an optional image of out/images on the lab's nodes.
func (c *Cluster) LoadImage(ctx context.Context, name string) error {
	if c.Site == nil { // a cluster of somebody's own pulls it
		return nil
	}
	index, err := image.ReadIndex(c.Path("out", "images"))
	if err != nil {
		return err
	}
	entries, err := index.Find(name)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	c.progress("image %s: %s", entries[0].Ref, entries[0].Source)
	return c.Site.Load(ctx, c.Path("out", "images", entries[0].Archive))
}

// LoadProgram compiles the main package of a folder, makes an image with it and puts that on the lab's nodes.
func (c *Cluster) LoadProgram(ctx context.Context, folder, ref string) error {
	if c.Site == nil {
		return fmt.Errorf("%w: loading an image needs a lab", ErrUnavailable)
	}
	tmp, err := os.MkdirTemp("", "heddle-e2e-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	program := filepath.Join(tmp, filepath.Base(folder))
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", program, ".") //nolint:gosec // our own source
	build.Dir = c.Path(folder)                                                                             // which may have a module of its own
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("compile %q: %w\n%s", folder, err, out)
	}
	spec, err := image.ProgramSpec(program)
	if err != nil {
		return err
	}
	img, err := image.Build(spec)
	if err != nil {
		return fmt.Errorf("make image %q: %w", ref, err)
	}
	archive := filepath.Join(tmp, "image.tar")
	if err := image.WriteArchiveFile(archive, image.Named{Ref: ref, Image: img}); err != nil {
		return fmt.Errorf("make image %q: %w", ref, err)
	}
	return c.Site.Load(ctx, archive)
}

// InstallBuilds adds what builds contracts from source to the installation: images with toolchains, and the registry.
func (c *Cluster) InstallBuilds(ctx context.Context) error {
	for _, name := range []string{"heddle-registry", "heddle-build-go", "heddle-build-node"} {
		if err := c.LoadImage(ctx, name); err != nil {
			return err
		}
	}
	args := []string{"install", "--builds"}
	if c.Lab != nil {
		args = append(args, "--module-proxy", lab.ModulesURL, "--module-proxy-cidr", lab.ModulesCIDR())
	}
	if out, err := c.Heddle(ctx, args...); err != nil {
		return fmt.Errorf("install builds: %w\n%s", err, out)
	}
	return nil
}
