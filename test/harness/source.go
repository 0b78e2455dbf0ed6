package harness

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/archive"
	"heddle.dev/heddle/internal/fabric/admin"
)

// Pack makes the archive of a folder as heddle does, and names its digest.
func Pack(ctx context.Context, folder string) (content []byte, digest string, err error) {
	root, err := os.OpenRoot(folder)
	if err != nil {
		return nil, "", fmt.Errorf("pack %q: %w", folder, err)
	}
	defer root.Close()
	var out bytes.Buffer
	packed, err := archive.Pack(ctx, root, &out, archive.DefaultLimits())
	if err != nil {
		return nil, "", fmt.Errorf("pack %q: %w", folder, err)
	}
	return out.Bytes(), packed.Digest, nil
}

// Upload sends a source for a ChaincodeBuild through the API server's proxy, as heddle does, and returns the answer's
// code and what the registry says of a refusal.
func (c *Cluster) Upload(ctx context.Context, namespace, build string, content io.Reader, length int64) (code int, says string, err error) {
	httpClient, err := rest.HTTPClientFor(c.Config)
	if err != nil {
		return 0, "", fmt.Errorf("upload: %w", err)
	}
	url := fmt.Sprintf("%s/api/v1/namespaces/%s/services/https:registry:5000/proxy/upload/%s/%s",
		strings.TrimSuffix(c.Config.Host, "/"), SystemNamespace, namespace, build)
	request, err := http.NewRequestWithContext(ctx, http.MethodPut, url, content)
	if err != nil {
		return 0, "", fmt.Errorf("upload: %w", err)
	}
	request.ContentLength = length
	response, err := httpClient.Do(request)
	if err != nil {
		return 0, "", fmt.Errorf("upload: %w", err)
	}
	defer response.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	if err != nil {
		return response.StatusCode, "", fmt.Errorf("upload: read answer: %w", err)
	}
	var answer struct {
		Error string `json:"error"`
	}
	if json.Unmarshal(raw, &answer) != nil {
		return response.StatusCode, string(raw), nil
	}
	return response.StatusCode, answer.Error, nil
}

// Build makes a ChaincodeBuild of a folder, uploads it, and waits until it is Ready. It returns the image by digest.
func (c *Cluster) Build(ctx context.Context, namespace, name, folder string, language v1alpha1.Language) (string, error) {
	content, digest, err := Pack(ctx, folder)
	if err != nil {
		return "", err
	}
	b := &v1alpha1.ChaincodeBuild{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	b.Spec.Language, b.Spec.Source = language, v1alpha1.ChaincodeSource{Digest: digest, SizeBytes: int64(len(content))}
	if err := c.Create(ctx, b); err != nil {
		return "", fmt.Errorf("create build %q: %w", name, err)
	}
	code, says, err := c.Upload(ctx, namespace, name, bytes.NewReader(content), int64(len(content)))
	if err != nil {
		return "", err
	}
	if code >= http.StatusMultipleChoices {
		return "", fmt.Errorf("upload for build %q: %d: %s", name, code, says)
	}
	if err := c.WaitReady(ctx, b); err != nil {
		return "", err
	}
	return b.Status.Image.Name + "@" + b.Status.Image.Digest, nil
}

// Definition is what a peer knows of a contract.
type Definition struct {
	// Installed tells whether the peer has the package, Approved whether its organization has approved the sequence.
	Installed, Approved bool
	// Sequence and Version of the committed definition; 0 where there is none.
	Sequence int64
	Version  string
}

// Definition asks a peer for a contract: for a package, and for the approval of a sequence.
func (c *Cluster) Definition(ctx context.Context, network, peer, channel, contract, packageID string, sequence int64) (Definition, error) {
	var p v1alpha1.Peer
	if err := c.Get(ctx, client.ObjectKey{Namespace: network, Name: peer}, &p); err != nil {
		return Definition{}, fmt.Errorf("read peer %q: %w", peer, err)
	}
	a, closePeer, err := c.peerAdmin(ctx, &p)
	if err != nil {
		return Definition{}, err
	}
	defer closePeer()
	return definitionOf(ctx, a, channel, contract, packageID, sequence)
}

func definitionOf(ctx context.Context, a *admin.Peer, channel, contract, packageID string, sequence int64) (Definition, error) {
	var out Definition
	packages, err := a.Installed(ctx)
	if err != nil {
		return out, err
	}
	for _, i := range packages {
		out.Installed = out.Installed || i.PackageID == packageID
	}
	if committed, err := a.Committed(ctx, channel, contract); err == nil {
		out.Sequence, out.Version = committed.Sequence, committed.Version
	}
	approved, err := a.Approved(ctx, channel, contract, sequence)
	out.Approved = err == nil && approved.PackageID == packageID
	return out, nil
}
