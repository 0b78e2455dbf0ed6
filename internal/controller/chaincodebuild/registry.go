package chaincodebuild

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"heddle.dev/heddle/internal/specs"
)

const (
	blobTimeout = 10 * time.Second
	maxBlob     = 2 << 20
)

// Blobs reads what builds left beside images: small things, by digest.
type Blobs struct {
	// Reader reads the registry's certificate.
	Reader client.Reader
	// System is the namespace of that.
	System string
}

// Get returns the blob with that digest in the repository of an image, named with its registry.
func (b Blobs) Get(ctx context.Context, image, digest string) ([]byte, error) {
	registry, repository, ok := strings.Cut(image, "/")
	if !ok {
		return nil, fmt.Errorf("read blob of image %q: the name has no registry", image)
	}
	var ca corev1.ConfigMap
	if err := b.Reader.Get(ctx, client.ObjectKey{Namespace: b.System, Name: specs.RegistryCAConfigMap}, &ca); err != nil {
		return nil, fmt.Errorf("read the registry's certificate: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM([]byte(ca.Data[specs.KeyRegistryCA])) {
		return nil, errors.New("read the registry's certificate: there is none in the ConfigMap")
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS13}}
	defer transport.CloseIdleConnections()
	ctx, cancel := context.WithTimeout(ctx, blobTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+registry+"/v2/"+repository+"/blobs/"+digest, nil)
	if err != nil {
		return nil, fmt.Errorf("read blob %s: %w", digest, err)
	}
	answer, err := (&http.Client{Transport: transport}).Do(request)
	if err != nil {
		return nil, fmt.Errorf("read blob %s: %w", digest, err)
	}
	defer func() { _ = answer.Body.Close() }()
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("read blob %s: the registry answers %s", digest, answer.Status)
	}
	raw, err := io.ReadAll(io.LimitReader(answer.Body, maxBlob+1))
	if err != nil {
		return nil, fmt.Errorf("read blob %s: %w", digest, err)
	}
	if len(raw) > maxBlob {
		return nil, fmt.Errorf("read blob %s: it is longer than %d bytes", digest, maxBlob)
	}
	if sum := sha256.Sum256(raw); "sha256:"+hex.EncodeToString(sum[:]) != digest {
		return nil, fmt.Errorf("read blob %s: the registry gives other bytes", digest)
	}
	return raw, nil
}
