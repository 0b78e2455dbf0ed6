package build

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/sirupsen/logrus" //nolint:depguard // distribution logs each request with it

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/archive"
	"heddle.dev/heddle/internal/registry"
)

func TestMain(m *testing.M) {
	logrus.SetOutput(io.Discard)
	os.Exit(m.Run())
}

// oneBuild is the only ChaincodeBuild there is.
type oneBuild struct{ build *v1alpha1.ChaincodeBuild }

func (o oneBuild) Get(context.Context, string, string) (*v1alpha1.ChaincodeBuild, error) {
	return o.build, nil
}

// TestWholeBuild goes from a folder to an image, with the registry that Heddle has: upload, fetch, compile, push.
func TestWholeBuild(t *testing.T) {
	w := newWorkspace(t, "Go").withGo(t)
	folder := t.TempDir()
	write(t, folder, map[string]string{"author/go.mod": goMod, "author/main.go": goMain, "author/" + indexes + "owner.json": index, "key/username": "trade/asset", "key/password": "secret"})
	author, err := os.OpenRoot(filepath.Join(folder, "author"))
	if err != nil {
		t.Fatal(err)
	}
	defer author.Close()
	var content bytes.Buffer
	source, err := archive.Pack(t.Context(), author, &content, archive.DefaultLimits())
	if err != nil {
		t.Fatal(err)
	}
	build := &v1alpha1.ChaincodeBuild{}
	build.Namespace, build.Name = "trade", "asset"
	build.Spec.Source = v1alpha1.ChaincodeSource{Digest: source.Digest, SizeBytes: source.Size}
	sum := sha256.Sum256([]byte("secret"))
	build.Status.PushKeyHash = hex.EncodeToString(sum[:])
	handler, err := registry.New(t.Context(), registry.Options{Dir: t.TempDir(), Builds: oneBuild{build}, Log: logr.Discard()})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewTLSServer(handler)
	t.Cleanup(server.Close)
	write(t, folder, map[string]string{"ca.crt": string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))})
	where := Registry{URL: server.URL, CA: filepath.Join(folder, "ca.crt")}

	uploaded := make(chan error, 1)
	go func() { // the upload comes while fetch waits
		time.Sleep(300 * time.Millisecond)
		uploaded <- upload(t.Context(), server, &content)
	}()
	fetch := FetchOptions{Registry: where, Repository: "trade/sources", Digest: source.Digest, Size: source.Size, Into: w.Source, Wait: time.Minute, Output: io.Discard}
	if err := Fetch(t.Context(), fetch); err != nil {
		t.Fatal(err)
	}
	if err := <-uploaded; err != nil {
		t.Fatal(err)
	}
	if got := w.compile(t); got.Failure != "" {
		t.Fatal(got.Failure)
	}
	h := &hub{host: strings.TrimPrefix(server.URL, "https://"), PushOptions: PushOptions{
		Registry: where, Out: w.Out, Image: "registry.example:5000/trade/asset", KeyDir: filepath.Join(folder, "key"), SourceDigest: source.Digest,
		Result: filepath.Join(folder, "termination-log"), Output: io.Discard,
	}}
	result, err := h.push(t)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(unpacked(t, h.image(t, result.Digest))["usr/local/bin/chaincode"], "\x7fELF") {
		t.Error("the image has no program")
	}
	for name, digest := range map[string]string{"list": result.SBOM, "provenance": result.Provenance, "indexes": result.Meta, "log": result.Log} {
		if h.blob(t, digest) == "" {
			t.Errorf("%s is empty", name)
		}
	}
}

func upload(ctx context.Context, server *httptest.Server, content io.Reader) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodPut, server.URL+"/upload/trade/asset", content)
	if err != nil {
		return err
	}
	response, err := server.Client().Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusCreated {
		return fmt.Errorf("the upload was answered with %s", response.Status)
	}
	return nil
}
