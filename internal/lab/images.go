package lab

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"golang.org/x/sync/errgroup"
)

// nodeImages is what containerd on a node has: names, and digests of configs,
// each with the digest of its manifest.
type nodeImages map[string]string

// has says whether an image is there under that name with that config.
// containerd's Kubernetes side lists each image a second time under its config.
func (i nodeImages) has(a archived) bool {
	manifest, ok := i[a.ref]
	return ok && a.config != "" && i[a.config] == manifest
}

// byDigest are names by digest that images lack: an archive has tags only, and
// peers launch what is named by digest.
func (i nodeImages) byDigest(images []archived) map[string]string {
	out := map[string]string{}
	for _, a := range images {
		digest, ok := i[a.ref]
		if !ok || strings.Contains(a.ref, "@") {
			continue
		}
		if named := withDigest(a.ref, digest); i[named] == "" {
			out[named] = a.ref
		}
	}
	return out
}

// withDigest puts a digest in the place of a name's tag.
func withDigest(ref, digest string) string {
	if i := strings.LastIndexByte(ref, ':'); i > strings.LastIndexByte(ref, '/') {
		ref = ref[:i]
	}
	return ref + "@" + digest
}

// imageFile is an archive and what is in it.
type imageFile struct {
	file   string
	images []archived
}

// Load puts the images of archives (OCI or docker, gzipped or not) on every
// node of the site. An image that is there with the same digest is skipped.
// Each has its name by digest there, too.
func (s *Site) Load(ctx context.Context, archives ...string) error {
	var items []imageFile
	for _, file := range archives {
		images, err := inspectFile(file)
		if err != nil {
			return err
		}
		items = append(items, imageFile{file, images})
	}
	return s.eachNode(ctx, func(ctx context.Context, n *nodeHandle) error {
		have, err := n.images(ctx)
		if err != nil {
			return err
		}
		for _, it := range items {
			if len(it.images) > 0 && !slices.ContainsFunc(it.images, func(a archived) bool { return !have.has(a) }) {
				continue
			}
			if err := n.importFile(ctx, it.file); err != nil {
				return fmt.Errorf("load %q: %w", it.file, err)
			}
		}
		return n.nameByDigest(ctx, items)
	})
}

// nameByDigest gives images that were loaded their names by digest.
func (n *nodeHandle) nameByDigest(ctx context.Context, items []imageFile) error {
	have, err := n.images(ctx)
	if err != nil {
		return err
	}
	for _, it := range items {
		for named, ref := range have.byDigest(it.images) {
			if _, err := n.ctr(ctx, nil, "images", "tag", "--force", ref, named); err != nil {
				return fmt.Errorf("name %q by its digest: %w", ref, err)
			}
		}
	}
	return nil
}

// ArchiveRefs are the names of the images in archives.
func ArchiveRefs(archives ...string) ([]string, error) {
	var out []string
	for _, file := range archives {
		images, err := inspectFile(file)
		if err != nil {
			return nil, err
		}
		for _, a := range images {
			out = append(out, a.ref)
		}
	}
	return out, nil
}

// ByDigest names images that are on the site's first node by their digests.
func (s *Site) ByDigest(ctx context.Context, refs ...string) ([]string, error) {
	status, err := s.lab.control(ctx)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(status.Nodes, func(n NodeStatus) bool { return n.Site == s.plan.Name })
	if i < 0 {
		return nil, fmt.Errorf("look for images: %q has no node", s.plan.Name)
	}
	have, err := (&nodeHandle{name: status.Nodes[i].Name, pid: status.Nodes[i].PID}).images(ctx)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, ref := range refs {
		if digest := have[fullRef(ref)]; digest != "" {
			out = append(out, withDigest(fullRef(ref), digest))
		}
	}
	return out, nil
}

// Pull gets images from their registries with this machine's network and
// puts them on every node of the site.
func (s *Site) Pull(ctx context.Context, refs ...string) error {
	for _, ref := range refs {
		parsed, err := name.ParseReference(ref)
		if err != nil {
			return fmt.Errorf("pull %q: %w", ref, err)
		}
		img, err := remote.Image(parsed, remote.WithContext(ctx), remote.WithAuthFromKeychain(authn.DefaultKeychain),
			remote.WithPlatform(v1.Platform{OS: "linux", Architecture: runtime.GOARCH}))
		if err != nil {
			return fmt.Errorf("pull %q: %w", ref, err)
		}
		if err := s.loadImage(ctx, namedImage{ref: fullRef(ref), img: img}); err != nil {
			return fmt.Errorf("pull %q: %w", ref, err)
		}
	}
	return nil
}

// loadImage puts one image on every node, through one archive file: a layer
// is fetched once only.
func (s *Site) loadImage(ctx context.Context, image namedImage) error {
	config, err := image.img.ConfigName()
	if err != nil {
		return err
	}
	wanted := archived{ref: image.ref, config: config.String()}
	missing := false
	err = s.eachNode(ctx, func(ctx context.Context, n *nodeHandle) error {
		have, err := n.images(ctx)
		if err == nil && !have.has(wanted) {
			missing = true
		}
		return err
	})
	if err != nil || !missing {
		return err
	}
	tmp, err := os.CreateTemp(s.lab.plan.Dir, "pull-*.tar")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(tmp.Name()) }()
	if err := errors.Join(writeArchive(tmp, image), tmp.Close()); err != nil {
		return err
	}
	return s.Load(ctx, tmp.Name())
}

// fullRef writes a short image name out, as containerd and kubelet do.
func fullRef(ref string) string {
	parsed, err := name.ParseReference(ref, name.WeakValidation)
	if err != nil {
		return ref
	}
	full := parsed.Name()
	if rest, ok := strings.CutPrefix(full, name.DefaultRegistry+"/"); ok {
		return "docker.io/" + rest
	}
	return full
}

// nodeHandle is a running node, seen from the machine.
type nodeHandle struct {
	name string
	pid  int
}

// eachNode runs f for all nodes of the site at once.
func (s *Site) eachNode(ctx context.Context, f func(context.Context, *nodeHandle) error) error {
	status, err := s.lab.control(ctx)
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(4)
	for _, n := range status.Nodes {
		if n.Site != s.plan.Name {
			continue
		}
		if !n.Alive {
			return fmt.Errorf("node %q does not run: \"heddle lab up --name %s\" starts it", n.Name, s.lab.plan.Name)
		}
		group.Go(func() error { return f(ctx, &nodeHandle{name: n.Name, pid: n.PID}) })
	}
	return group.Wait()
}

// ctr runs containerd's client against the node's socket, which is seen
// through the root folder of the node's process 1.
func (n *nodeHandle) ctr(ctx context.Context, stdin io.Reader, args ...string) ([]byte, error) {
	argv := append([]string{"-a", fmt.Sprintf("/proc/%d/root%s", n.pid, socketPath), "-n", "k8s.io"}, args...)
	cmd := exec.CommandContext(ctx, findProgram("ctr"), argv...)
	var out, problems bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, &out, &problems
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("run ctr %s on node %q: %w: %s", args[0], n.name, err, bytes.TrimSpace(problems.Bytes()))
	}
	return out.Bytes(), nil
}

func (n *nodeHandle) images(ctx context.Context) (nodeImages, error) {
	out, err := n.ctr(ctx, nil, "images", "list")
	if err != nil {
		return nil, err
	}
	return parseImageList(out), nil
}

// parseImageList reads the table that "ctr images list" prints: name, type,
// digest, more.
func parseImageList(raw []byte) nodeImages {
	out := nodeImages{}
	lines := bufio.NewScanner(bytes.NewReader(raw))
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) >= 3 && strings.Contains(fields[2], ":") {
			out[fields[0]] = fields[2]
		}
	}
	return out
}

func (n *nodeHandle) importFile(ctx context.Context, file string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = n.ctr(ctx, f, "images", "import", "-")
	return err
}
