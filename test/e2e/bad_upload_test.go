package e2e

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/test/harness"
)

// badUpload is a source that heddle would not make, sent to the registry as heddle sends one.
type badUpload struct {
	// content is sent; its digest and size are announced unless announced says otherwise.
	content   func(*testing.T) []byte
	announced func(*v1alpha1.ChaincodeSource)
	// length is sent instead of the content, as zeros that are never all read.
	length int64
	code   int
	says   []string
}

// tarball packs headers; a file's content is as many zeros as its size says.
func tarball(headers ...*tar.Header) func(*testing.T) []byte {
	return func(t *testing.T) []byte {
		t.Helper()
		var out bytes.Buffer
		zipped := gzip.NewWriter(&out)
		archive := tar.NewWriter(zipped)
		for _, h := range headers {
			must(t, archive.WriteHeader(h))
			_, err := io.CopyN(archive, zeros{}, h.Size)
			must(t, err)
		}
		must(t, archive.Close())
		must(t, zipped.Close())
		return out.Bytes()
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

func file(name string, size int64) *tar.Header {
	return &tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644, Size: size}
}

func special(name string, kind byte, target string) *tar.Header {
	return &tar.Header{Name: name, Typeflag: kind, Mode: 0o644, Linkname: target}
}

func manyFiles(n int) []*tar.Header {
	var out []*tar.Header
	for i := range n {
		out = append(out, file(fmt.Sprintf("f%d", i), 0))
	}
	return out
}

func bombs(n int) []*tar.Header {
	var out []*tar.Header
	for i := range n {
		out = append(out, file(fmt.Sprintf("zeros%d", i), 90<<20))
	}
	return out
}

const unprocessable = http.StatusUnprocessableEntity

var badUploads = map[string]badUpload{
	"symbolic link":         {content: tarball(special("key", tar.TypeSymlink, "/etc/passwd")), code: unprocessable, says: []string{`"key"`, "symbolic link", "put the file itself"}},
	"hard link":             {content: tarball(file("a", 1), special("b", tar.TypeLink, "a")), code: unprocessable, says: []string{`"b"`, "hard link"}},
	"device":                {content: tarball(special("disk", tar.TypeBlock, "")), code: unprocessable, says: []string{`"disk"`, "device"}},
	"pipe":                  {content: tarball(special("pipe", tar.TypeFifo, "")), code: unprocessable, says: []string{`"pipe"`, "device, a socket or a pipe"}},
	"path that leads out":   {content: tarball(file("../../etc/cron.d/x", 1)), code: unprocessable, says: []string{"leads out of the archive"}},
	"absolute path":         {content: tarball(file("/etc/passwd", 1)), code: unprocessable, says: []string{"absolute path"}},
	"one name twice":        {content: tarball(file("a", 1), file("A", 1)), code: unprocessable, says: []string{"upper and lower case"}},
	"bomb":                  {content: tarball(bombs(3)...), code: unprocessable, says: []string{"200 MiB"}},
	"too many files":        {content: tarball(manyFiles(10_001)...), code: unprocessable, says: []string{"10000"}},
	"too deep":              {content: tarball(file(strings.Repeat("d/", 32)+"f", 1)), code: unprocessable, says: []string{"deeper"}},
	"no archive at all":     {content: func(*testing.T) []byte { return []byte("#!/bin/sh\n") }, code: unprocessable, says: []string{"no whole gzip"}},
	"truncated":             {content: truncated, code: unprocessable, says: []string{"no whole"}},
	"something behind":      {content: func(t *testing.T) []byte { return append(tarball(file("a", 1))(t), "more"...) }, code: unprocessable, says: []string{"behind the archive's end"}},
	"another digest":        {content: tarball(file("a", 1)), announced: func(s *v1alpha1.ChaincodeSource) { s.Digest = "sha256:" + strings.Repeat("0", 64) }, code: unprocessable, says: []string{"digest", "make another ChaincodeBuild"}},
	"smaller than it says":  {content: tarball(file("a", 1)), announced: func(s *v1alpha1.ChaincodeSource) { s.SizeBytes += 7 }, code: unprocessable, says: []string{"bytes", "make another ChaincodeBuild"}},
	"larger than it says":   {content: tarball(file("a", 1)), announced: func(s *v1alpha1.ChaincodeSource) { s.SizeBytes -= 7 }, code: http.StatusRequestEntityTooLarge, says: []string{"bytes", "make another ChaincodeBuild"}},
	"500 MB":                {length: 500 << 20, code: http.StatusRequestEntityTooLarge, says: []string{"524288000 bytes"}},
	"500 MB that are named": {length: 500 << 20, announced: func(s *v1alpha1.ChaincodeSource) { s.SizeBytes = 500 << 20 }, says: []string{"sizeBytes", "104857600"}},
}

func truncated(t *testing.T) []byte {
	t.Helper()
	raw := tarball(file("a", 1<<20))(t)
	return raw[:len(raw)/2]
}

// TestBadUpload: sources that no honest program sends are refused by the registry with a sentence, the registry lives on,
// and the build for which they were sent goes without a trace when it is deleted.
func TestBadUpload(t *testing.T) {
	ctx, c, s := faultyLab(t, twenty, "bad-upload")
	before := registryPod(ctx, t, c)
	for i, name := range slices.Sorted(maps.Keys(badUploads)) {
		t.Run(name, func(t *testing.T) { badUploads[name].check(ctx, t, c, s.Name, fmt.Sprintf("bad-%d", i)) })
	}
	t.Run("no such build", func(t *testing.T) {
		code, says, err := c.Upload(ctx, s.Name, "nobody", strings.NewReader("x"), 1)
		if err != nil || code != http.StatusNotFound || !strings.Contains(says, "There is no ChaincodeBuild") {
			t.Errorf("%d: %s: %v", code, says, err)
		}
	})
	if now := registryPod(ctx, t, c); now.UID != before.UID || restarts(now) != restarts(before) {
		t.Errorf("the registry was started again: %d times, %d before", restarts(now), restarts(before))
	}
	noBuildsAtWork(ctx, t, c, s.Name)
}

func (u badUpload) check(ctx context.Context, t *testing.T, c *harness.Cluster, ns, name string) {
	t.Helper()
	content, length := io.Reader(zeros{}), u.length
	var raw []byte
	if u.content != nil {
		raw = u.content(t)
		content, length = bytes.NewReader(raw), int64(len(raw))
	} else {
		raw = []byte("announced")
		content = io.LimitReader(content, length)
	}
	sum := sha256.Sum256(raw)
	b := &v1alpha1.ChaincodeBuild{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name}}
	b.Spec = v1alpha1.ChaincodeBuildSpec{Language: v1alpha1.LanguageGo, Source: v1alpha1.ChaincodeSource{
		Digest: "sha256:" + hex.EncodeToString(sum[:]), SizeBytes: int64(len(raw)),
	}}
	if u.announced != nil {
		u.announced(&b.Spec.Source)
	}
	err := c.Create(ctx, b)
	if u.code == 0 {
		if err == nil {
			t.Fatal("the object was taken")
		}
		wantWords(t, err.Error(), u.says)
		return
	}
	must(t, err)
	code, says, err := c.Upload(ctx, ns, name, content, length)
	must(t, err)
	progress("%s: %d %s", t.Name(), code, says)
	if code != u.code {
		t.Errorf("got code %d, want %d", code, u.code)
	}
	wantWords(t, says, u.says)
	// The build waits on, for the right source, and says so.
	must(t, c.Until(ctx, b, func() bool {
		r := meta.FindStatusCondition(b.Status.Conditions, v1alpha1.ConditionReady)
		return r != nil && (r.Reason == v1alpha1.ReasonWaitingForSource || r.Reason == v1alpha1.ReasonWaitingForPod)
	}))
	must(t, c.Remove(ctx, b))
}

func wantWords(t *testing.T, said string, words []string) {
	t.Helper()
	for _, w := range words {
		if !strings.Contains(said, w) {
			t.Errorf("it does not say %q:\n%s", w, said)
		}
	}
}

func registryPod(ctx context.Context, t *testing.T, c *harness.Cluster) *corev1.Pod {
	t.Helper()
	var pods corev1.PodList
	must(t, c.List(ctx, &pods, client.InNamespace(harness.SystemNamespace), client.MatchingLabels{"app.kubernetes.io/name": "heddle-registry"}))
	for i := range pods.Items {
		if p := &pods.Items[i]; p.DeletionTimestamp == nil && running(p) {
			return p
		}
	}
	t.Fatal("the registry does not run")
	return nil
}

// noBuildsAtWork: no pod of a build runs or waits any more, but for such as belong to a build that has ended.
func noBuildsAtWork(ctx context.Context, t *testing.T, c *harness.Cluster, ns string) {
	t.Helper()
	eventually(ctx, t, "no build is at work", func() error {
		var pods corev1.PodList
		if err := c.List(ctx, &pods, client.InNamespace(ns), client.MatchingLabels{v1alpha1.LabelComponent: v1alpha1.ComponentBuild}); err != nil {
			return err
		}
		for i := range pods.Items {
			if p := pods.Items[i].Status.Phase; p == corev1.PodRunning || p == corev1.PodPending {
				return fmt.Errorf("pod %s is %s", pods.Items[i].Name, p)
			}
		}
		var builds v1alpha1.ChaincodeBuildList
		if err := c.List(ctx, &builds, client.InNamespace(ns)); err != nil {
			return err
		}
		for i := range builds.Items {
			if b := &builds.Items[i]; b.Status.FinishedAt == nil {
				return fmt.Errorf("build %s %s", b.Name, harness.Describe(b))
			}
		}
		return nil
	})
}
