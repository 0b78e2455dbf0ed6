package chaincodebuild_test

import (
	"bytes"
	"context"
	"encoding/pem"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"heddle.dev/heddle/internal/controller/chaincodebuild"
	"heddle.dev/heddle/internal/controller/controllertest"
	"heddle.dev/heddle/internal/operator"
	"heddle.dev/heddle/internal/specs"
)

// TestBlobs reads from a registry that is not to be trusted further than its certificate and the digest go.
func TestBlobs(t *testing.T) {
	long := bytes.Repeat([]byte("x"), 2<<20+1)
	content := map[string][]byte{digestOf("blob"): []byte("blob"), digestOf("other"): []byte("blob"), digestOf(string(long)): long}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		blob, ok := content[strings.TrimPrefix(r.URL.Path, "/v2/trade/asset/blobs/")]
		if !ok {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		_, _ = w.Write(blob)
	}))
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	t.Cleanup(server.Close)
	image := strings.TrimPrefix(server.URL, "https://") + "/trade/asset"
	authority := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))

	s := controllertest.NewSpace(t, operator.AddToScheme)
	blobs := chaincodebuild.Blobs{Reader: s, System: s.Namespace}
	refused := func(image, digest, why string) {
		t.Helper()
		got, err := blobs.Get(t.Context(), image, digest)
		if err == nil || got != nil {
			t.Fatalf("%s: got %d bytes, %v", why, len(got), err)
		}
		if err := controllertest.Contains(err.Error(), why); err != nil {
			t.Error(err)
		}
	}
	refused(image, digestOf("blob"), "read the registry's certificate")
	cm := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: s.Namespace, Name: specs.RegistryCAConfigMap}}
	s.Make(t, cm)
	refused(image, digestOf("blob"), "there is none in the ConfigMap")
	controllertest.Change(t, s, cm, func(c *corev1.ConfigMap) { c.Data = map[string]string{specs.KeyRegistryCA: authority} })

	got, err := blobs.Get(t.Context(), image, digestOf("blob"))
	if err != nil || string(got) != "blob" {
		t.Errorf("got %q, %v", got, err)
	}
	refused(image, digestOf("other"), "gives other bytes")
	refused(image, digestOf(string(long)), "longer than")
	refused(image, digestOf("nothing"), "404")
	refused("asset", digestOf("blob"), "has no registry")
	refused("127.0.0.1:1/asset", digestOf("blob"), "read blob")
	refused("host name/asset", digestOf("blob"), "read blob")
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if _, err := blobs.Get(ctx, image, digestOf("blob")); err == nil {
		t.Error("it read on after it was told to stop")
	}
}
