package image

import (
	"context"
	"fmt"
	"runtime"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// Reachable asks the registry for an image and gives up after the time given. It
// tells a machine without a way to the registry from one with a slow way.
func Reachable(ctx context.Context, ref string, patience time.Duration) error {
	parsed, err := name.ParseReference(ref)
	if err != nil {
		return fmt.Errorf("look up image: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if _, err := remote.Head(parsed, remote.WithContext(ctx), remote.WithAuthFromKeychain(authn.DefaultKeychain)); err != nil {
		return fmt.Errorf("look up image %q: %w", ref, err)
	}
	return nil
}

// Pull gets an image for this machine's architecture from its registry, with the
// credentials that docker login or podman login left for the user.
func Pull(ctx context.Context, ref string) (Named, error) {
	parsed, err := name.ParseReference(ref)
	if err != nil {
		return Named{}, fmt.Errorf("pull image: %w", err)
	}
	img, err := remote.Image(parsed,
		remote.WithContext(ctx),
		remote.WithAuthFromKeychain(authn.DefaultKeychain),
		remote.WithPlatform(v1.Platform{OS: "linux", Architecture: runtime.GOARCH}),
	)
	if err != nil {
		return Named{}, fmt.Errorf("pull image %q: %w", ref, err)
	}
	return Named{Ref: FullRef(ref), Image: img}, nil
}

// PullFile pulls an image into an archive file; layers are streamed, not kept in
// memory.
func PullFile(ctx context.Context, ref, file string) (Named, error) {
	n, err := Pull(ctx, ref)
	if err != nil {
		return Named{}, err
	}
	return n, WriteArchiveFile(file, n)
}
