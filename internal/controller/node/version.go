package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/controller/pods"
	"heddle.dev/heddle/internal/kube"
)

const (
	versionTimeout = 3 * time.Second
	// versionAgain is when to ask a node again that did not tell its version.
	versionAgain = 30 * time.Second
	maxVersion   = 4096
)

// versions asks nodes for their version, each pod once.
type versions struct {
	client *http.Client
	mu     sync.Mutex
	known  map[types.UID]told
}

// told is what a node tells of itself: its version, and what it was built from.
type told struct{ version, build string }

func newVersions(dial func(context.Context, string, string) (net.Conn, error)) *versions {
	return &versions{
		client: &http.Client{
			Timeout:   versionTimeout,
			Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true},
		},
		known: map[types.UID]told{},
	}
}

// observeVersion asks the running node for its version. A node that does not tell serves all the same.
func (r *Reconciler) observeVersion(ctx context.Context, s *scope) error {
	pod, err := pods.Newest(ctx, r.client, s.want)
	if err != nil || pod == nil {
		return err
	}
	node, err := r.versions.of(ctx, pod.UID, s.node.OperationsAddress())
	if err != nil {
		ctrl.LoggerFrom(ctx).V(1).Info("node does not tell its version", "cause", err.Error())
		s.wake(versionAgain)
		return nil
	}
	s.ran, s.built = node.version, node.build
	if newer(node.version, s.ranBefore()) != s.ranBefore() {
		*s.version = node.version
		return r.applyVolume(ctx, s)
	}
	return nil
}

func (v *versions) of(ctx context.Context, pod types.UID, address string) (told, error) {
	v.mu.Lock()
	known, ok := v.known[pod]
	v.mu.Unlock()
	if ok {
		return known, nil
	}
	node, err := v.ask(ctx, address)
	if err != nil {
		return told{}, err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	const most = 4096
	if len(v.known) >= most {
		// Pods come and go; asking the living ones once more is cheaper than counting the dead.
		clear(v.known)
	}
	v.known[pod] = node
	return node, nil
}

func (v *versions) ask(ctx context.Context, address string) (told, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/version", nil)
	if err != nil {
		return told{}, err
	}
	res, err := v.client.Do(req)
	if err != nil {
		return told{}, err
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusOK {
		return told{}, fmt.Errorf("ask %s for its version: status %d", address, res.StatusCode)
	}
	var answer struct {
		Version   string `json:"Version"`
		CommitSHA string `json:"CommitSHA"`
	}
	if err := json.NewDecoder(io.LimitReader(res.Body, maxVersion)).Decode(&answer); err != nil {
		return told{}, fmt.Errorf("read version of %s: %w", address, err)
	}
	version, err := cleanVersion(answer.Version)
	if err != nil {
		return told{}, err
	}
	if !buildPattern.MatchString(answer.CommitSHA) {
		answer.CommitSHA = ""
	}
	return told{version: version, build: answer.CommitSHA}, nil
}

var versionPattern = regexp.MustCompile(`^v?([0-9]+\.[0-9]+\.[0-9]+[0-9A-Za-z.+-]{0,40})$`)

// buildPattern is what a build may look like: a commit, a tag, a word.
var buildPattern = regexp.MustCompile(`^[0-9A-Za-z][0-9A-Za-z.+_-]{0,63}$`)

func cleanVersion(s string) (string, error) {
	m := versionPattern.FindStringSubmatch(strings.TrimSpace(s))
	if m == nil {
		return "", errors.New("it is not of the form 1.2.3")
	}
	return m[1], nil
}

// line is the pair of numbers before the patch level; zero for a version that is not known.
func line(version string) (major, minor int) {
	parts := strings.SplitN(version, ".", 3)
	if len(parts) < 2 {
		return 0, 0
	}
	major, errMajor := strconv.Atoi(parts[0])
	minor, errMinor := strconv.Atoi(parts[1])
	if errMajor != nil || errMinor != nil {
		return 0, 0
	}
	return major, minor
}

// newer returns the version of the later line; the first one when they are of the same.
func newer(a, b string) string {
	if older(a, b) {
		return b
	}
	return a
}

// older tells whether a is of an earlier line than b.
func older(a, b string) bool {
	aMajor, aMinor := line(a)
	bMajor, bMinor := line(b)
	return aMajor < bMajor || aMajor == bMajor && aMinor < bMinor
}

// refuseDowngrade keeps an older line off a ledger that a newer one has written.
func (r *Reconciler) refuseDowngrade(_ context.Context, s *scope) error {
	ran := newer(*s.version, s.ranBefore())
	if ran == "" || !older(s.node.Settings.Version, ran) {
		return nil
	}
	return kube.Stalled(v1alpha1.ReasonUnsafeChange,
		"version %s is of an older line than %s, which has run on this node's volume: set a version of that line again",
		s.node.Settings.Version, ran)
}
