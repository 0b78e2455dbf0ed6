package cli

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/archive"
	"heddle.dev/heddle/internal/specs"
)

// contractSource is a packed source.
type contractSource struct {
	digest   string
	content  []byte
	language string
	// collections is where a directory's own collections are; empty for archives.
	collections string
}

// readSource packs a directory, or brings an archive or a git bundle into the same form.
func readSource(ctx context.Context, name string, f *deployFlags) (*contractSource, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, fmt.Errorf("read source: %w", err)
	}
	var out bytes.Buffer
	s := &contractSource{}
	var packed *archive.Source
	if info.IsDir() {
		root, err := os.OpenRoot(name)
		if err != nil {
			return nil, fmt.Errorf("read source: %w", err)
		}
		defer root.Close()
		s.collections = filepath.Join(name, f.path, "collections.json")
		packed, err = archive.Pack(ctx, root, &out, archive.DefaultLimits())
		if err != nil {
			return nil, fmt.Errorf("pack source: %w", err)
		}
	} else {
		file, err := os.Open(name)
		if err != nil {
			return nil, fmt.Errorf("read source: %w", err)
		}
		defer file.Close()
		if packed, err = archive.Normalize(ctx, file, &out, archive.DefaultLimits()); err != nil {
			return nil, fmt.Errorf("read source %q: %w", name, err)
		}
	}
	s.digest, s.content, s.language = packed.Digest, out.Bytes(), f.language
	if s.language == "" {
		if s.language, err = archive.Language(packed.Entries, f.path); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// buildSource has the source built, unless that was done already.
func (d *deployment) buildSource(ctx context.Context) error {
	b := &v1alpha1.ChaincodeBuild{}
	b.Namespace, b.Name = d.namespace, d.buildName()
	b.Spec = v1alpha1.ChaincodeBuildSpec{
		Source:   v1alpha1.ChaincodeSource{Digest: d.source.digest, SizeBytes: int64(len(d.source.content))},
		Language: v1alpha1.Language(d.source.language), Path: d.flags.path,
	}
	d.build = b
	if err := d.create(ctx, b); err != nil {
		return err
	}
	if b.Status.Image != nil {
		return nil
	}
	err := d.progress.Step(ctx, "upload", func(ctx context.Context, _ func(string)) error { return d.upload(ctx) })
	if err != nil {
		// Nobody waits for a source that is refused.
		return errors.Join(err, client.IgnoreNotFound(d.cluster.Delete(context.WithoutCancel(ctx), b)))
	}
	return d.progress.Step(ctx, "build", d.followBuild)
}

// create makes the object of the build. One that failed is made anew: its cause may have been elsewhere.
func (d *deployment) create(ctx context.Context, b *v1alpha1.ChaincodeBuild) error {
	want := b.DeepCopy()
	for range 3 {
		err := d.cluster.Create(ctx, b, fieldOwner)
		if err == nil {
			return nil
		}
		if !apierrors.IsAlreadyExists(err) {
			return fmt.Errorf("create build %q: %w", b.Name, err)
		}
		if err := d.cluster.Get(ctx, client.ObjectKeyFromObject(b), b); err != nil {
			if apierrors.IsNotFound(err) {
				continue
			}
			return fmt.Errorf("read build %q: %w", b.Name, err)
		}
		if b.Status.FinishedAt == nil || b.Status.Image != nil {
			return nil
		}
		if err := d.cluster.Delete(ctx, b, client.Preconditions{UID: &b.UID}); client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("delete build %q, which failed: %w", b.Name, err)
		}
		*b = *want.DeepCopy()
	}
	return fmt.Errorf("create build %q: somebody else makes and deletes it at the same time: deploy again", b.Name)
}

// buildName tells builds of other sources, languages and folders apart.
func (d *deployment) buildName() string {
	sum := sha256.Sum256([]byte(d.source.digest + "\n" + d.source.language + "\n" + d.flags.path))
	name := strings.ToLower(oddLetters.ReplaceAllString(d.name, "-"))
	name = strings.Trim(name[:min(len(name), 36)], "-")
	if name == "" || name[0] < 'a' {
		name = "cc-" + name // an object's name begins with a letter, a contract's need not
	}
	return strings.Trim(name, "-") + "-" + hex.EncodeToString(sum[:6])
}

const (
	registryService = "https:registry:5000"
	uploadAttempts  = 5
)

// upload sends the source through the API server to the registry. Nobody has to log in there: the bytes are the ones
// that the build asks for, or they are refused.
func (d *deployment) upload(ctx context.Context) error {
	path := fmt.Sprintf("/api/v1/namespaces/%s/services/%s/proxy/upload/%s/%s", specs.SystemNamespace, registryService, d.namespace, d.build.Name)
	rest := d.cluster.clientset.CoreV1().RESTClient()
	var err error
	for range uploadAttempts {
		var code int
		result := rest.Put().AbsPath(path).SetHeader("Content-Type", "application/octet-stream").Body(d.source.content).Do(ctx).StatusCode(&code)
		raw, refused := result.Raw()
		if refused == nil {
			return nil
		}
		err = explainUpload(code, raw, refused)
		if code != http.StatusServiceUnavailable || noEndpoints(refused) {
			return err
		}
		pause := time.NewTimer(2 * time.Second)
		select {
		case <-ctx.Done():
			pause.Stop()
			return err
		case <-pause.C:
		}
	}
	return err
}

func noEndpoints(err error) bool { return strings.Contains(err.Error(), "no endpoints available") }

func registrySays(raw []byte) string {
	var answer struct {
		Error string `json:"error"`
	}
	if json.Unmarshal(raw, &answer) != nil {
		return ""
	}
	return answer.Error
}

func explainUpload(code int, raw []byte, err error) error {
	if says := registrySays(raw); says != "" {
		return fmt.Errorf("upload source: %s", says)
	}
	switch {
	case apierrors.IsNotFound(err), noEndpoints(err):
		return withCode(ExitNotReady, fmt.Errorf("upload source: builds are not installed or not ready here: "+
			"an administrator runs 'heddle install --builds'; in the lab: 'heddle up --builds' (%w)", err))
	case code == http.StatusForbidden:
		return withCode(ExitNoAccess, fmt.Errorf("upload source: %w; an administrator binds ClusterRole heddle-upload to you", err))
	}
	return fmt.Errorf("upload source: %w", err)
}

// followBuild copies the compiler's words while it works and waits for the end.
func (d *deployment) followBuild(ctx context.Context, note func(string)) error {
	logged := make(chan struct{})
	logCtx, stop := context.WithCancel(ctx)
	go func() {
		defer close(logged)
		d.copyBuildLog(logCtx)
	}()
	err := d.cluster.waitReady(ctx, d.build, &v1alpha1.ChaincodeBuildList{}, note)
	rest := time.AfterFunc(time.Second, stop)
	<-logged
	rest.Stop()
	stop()
	if err != nil && d.build.Status.Failure != "" {
		return notReadyErrorf("the source did not become an image:\n%s", strings.TrimRight(d.build.Status.Failure, "\n"))
	}
	return err
}

// copyBuildLog waits for the container that compiles and prints what it says. Who may not read logs goes without.
func (d *deployment) copyBuildLog(ctx context.Context) {
	if d.app.quiet {
		return
	}
	pod, err := d.cluster.compiling(ctx, d.namespace, d.build.Name)
	if err != nil {
		return
	}
	stream, err := d.cluster.clientset.CoreV1().Pods(d.namespace).GetLogs(pod.Name, &corev1.PodLogOptions{Container: "compile", Follow: true}).Stream(ctx)
	if err != nil {
		return
	}
	defer stream.Close()
	lines := bufio.NewScanner(io.LimitReader(stream, 16<<20))
	for lines.Scan() {
		d.progress.Printf("  | %s", lines.Text())
	}
}

// compiling waits for the container of a build that compiles.
func (c *cluster) compiling(ctx context.Context, namespace, build string) (*corev1.Pod, error) {
	var found *corev1.Pod
	err := c.until(ctx, &corev1.PodList{}, []client.ListOption{client.InNamespace(namespace)}, func(ctx context.Context) (bool, error) {
		var err error
		found, err = c.buildPod(ctx, namespace, build)
		return compileStarted(found), err
	})
	return found, err
}

// compileStarted tells whether the container that compiles has said anything, or could have.
func compileStarted(pod *corev1.Pod) bool {
	return pod != nil && slices.ContainsFunc(pod.Status.InitContainerStatuses, func(s corev1.ContainerStatus) bool {
		return s.Name == "compile" && (s.State.Running != nil || s.State.Terminated != nil)
	})
}

// buildPod is the pod of a build; nil if there is none.
func (c *cluster) buildPod(ctx context.Context, namespace, build string) (*corev1.Pod, error) {
	var pods corev1.PodList
	err := c.List(ctx, &pods, client.InNamespace(namespace), client.MatchingLabels{v1alpha1.LabelBuild: build})
	if err != nil {
		return nil, fmt.Errorf("list pods of the build: %w", err)
	}
	if len(pods.Items) == 0 {
		return nil, nil //nolint:nilnil // none is an answer, not an error
	}
	return &pods.Items[0], nil
}
