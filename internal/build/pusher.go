package build

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// pusher writes into the image's repository.
type pusher struct {
	repository name.Repository
	key        authn.Authenticator
	transport  http.RoundTripper
	options    []remote.Option
}

func newPusher(ctx context.Context, o PushOptions) (*pusher, error) {
	host, err := o.host()
	if err != nil {
		return nil, err
	}
	_, repository, found := strings.Cut(o.Image, "/")
	if !found {
		return nil, fmt.Errorf("read name of image: %q is not of the form HOST:PORT/NS/BUILD", o.Image)
	}
	parsed, err := name.NewRepository(host+"/"+repository, name.StrictValidation)
	if err != nil {
		return nil, fmt.Errorf("read name of image: %w", err)
	}
	trusted, err := o.transport()
	if err != nil {
		return nil, err
	}
	key, err := readKey(o.KeyDir)
	if err != nil {
		return nil, err
	}
	backoff := remote.Backoff{Duration: 250 * time.Millisecond, Factor: 2, Jitter: 0.1, Steps: 5}
	return &pusher{parsed, key, trusted, []remote.Option{
		remote.WithContext(ctx), remote.WithTransport(trusted), remote.WithAuth(key), remote.WithRetryBackoff(backoff), remote.WithJobs(2),
	}}, nil
}

func (p *pusher) image(img v1.Image) (*v1.Descriptor, error) {
	digest, err := img.Digest()
	if err != nil {
		return nil, fmt.Errorf("push image: %w", err)
	}
	if err := remote.Write(p.repository.Digest(digest.String()), img, p.options...); err != nil {
		return nil, fmt.Errorf("push image: %w", err)
	}
	size, err := img.Size()
	if err != nil {
		return nil, fmt.Errorf("push image: %w", err)
	}
	return &v1.Descriptor{MediaType: types.OCIManifestSchema1, Digest: digest, Size: size}, nil
}

// artifact pushes a blob with a manifest, without which a registry would throw it away, and returns the blob's digest.
func (p *pusher) artifact(ctx context.Context, content []byte, mediaType string, subject *v1.Descriptor) (string, error) {
	layer := static.NewLayer(bytes.Clone(content), types.MediaType(mediaType))
	img := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.MediaType(mediaType))
	img, err := mutate.AppendLayers(img, layer)
	if err != nil {
		return "", fmt.Errorf("push %s: %w", mediaType, err)
	}
	if subject != nil {
		if about, ok := mutate.Subject(img, *subject).(v1.Image); ok {
			img = about
		}
	}
	config, err := img.RawConfigFile()
	if err != nil {
		return "", fmt.Errorf("push %s: %w", mediaType, err)
	}
	for _, blob := range []v1.Layer{layer, static.NewLayer(config, types.MediaType(mediaType))} {
		if err := remote.WriteLayer(p.repository, blob, p.options...); err != nil {
			return "", fmt.Errorf("push %s: %w", mediaType, err)
		}
	}
	if err := p.manifest(ctx, img); err != nil {
		return "", fmt.Errorf("push %s: %w", mediaType, err)
	}
	digest, err := layer.Digest()
	if err != nil {
		return "", fmt.Errorf("push %s: %w", mediaType, err)
	}
	return digest.String(), nil
}

// manifest puts a manifest under its digest. The library's own call would ask for the list of what is about an image, and
// keep one in a tag where the registry has none: ours shows no lists and takes no other tags.
func (p *pusher) manifest(ctx context.Context, img v1.Image) error {
	raw, err := img.RawManifest()
	if err != nil {
		return err
	}
	digest, err := img.Digest()
	if err != nil {
		return err
	}
	registry := p.repository.Registry
	authorized, err := transport.NewWithContext(ctx, registry, p.key, p.transport, []string{p.repository.Scope(transport.PushScope)})
	if err != nil {
		return err
	}
	address := "https://" + registry.RegistryStr() + "/v2/" + p.repository.RepositoryStr() + "/manifests/" + digest.String()
	request, err := http.NewRequestWithContext(ctx, http.MethodPut, address, bytes.NewReader(raw))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", string(types.OCIManifestSchema1))
	response, err := (&http.Client{Transport: authorized}).Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(response.Body, 1<<20))
	return transport.CheckError(response, http.StatusOK, http.StatusCreated, http.StatusAccepted)
}
