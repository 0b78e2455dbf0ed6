package sitelink

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"strconv"
	"sync"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/kube"
	"heddle.dev/heddle/internal/link"
	"heddle.dev/heddle/internal/specs"
)

// maxTopics bounds the kinds and subjects of one partner's documents.
const maxTopics = 1024

// Sequences keeps how far partners' documents have come in one ConfigMap for each SiteLink, which goes with it: what was
// taken once is not taken again by another process either.
type Sequences struct {
	apply  *kube.Applier
	reader client.Reader
	system string

	mu   sync.Mutex
	seen map[string]map[string]string
}

var _ link.Sequences = &Sequences{}

// NewSequences keeps sequences in a namespace.
func NewSequences(c client.Client, reader client.Reader, system string) *Sequences {
	return &Sequences{
		apply: &kube.Applier{Client: c, Reader: reader, FieldOwner: fieldOwner + "-sequences"}, reader: reader, system: system,
		seen: map[string]map[string]string{},
	}
}

// Advance implements link.Sequences.
func (s *Sequences) Advance(ctx context.Context, name, kind, subject string, sequence uint64) (uint64, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := &v1alpha1.SiteLink{}
	if err := s.reader.Get(ctx, client.ObjectKey{Name: name}, l); err != nil {
		return 0, false, fmt.Errorf("read SiteLink %q: %w", name, err)
	}
	seen, err := s.load(ctx, l)
	if err != nil {
		return 0, false, err
	}
	sum := sha256.Sum256([]byte(kind + "\n" + subject))
	topic := hex.EncodeToString(sum[:16])
	last, _ := strconv.ParseUint(seen[topic], 10, 64)
	if sequence <= last {
		return last, false, nil
	}
	if seen[topic] == "" && len(seen) >= maxTopics {
		return last, false, link.Refuse(link.RefusedBusy, "There are documents of too many kinds and subjects")
	}
	next := maps.Clone(seen)
	next[topic] = strconv.FormatUint(sequence, 10)
	err = s.apply.Apply(ctx, l, &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: specs.SequencesConfigMap(name), Namespace: s.system}, Data: next,
	})
	if err != nil {
		return last, false, err
	}
	s.seen[string(l.UID)] = next
	return last, true, nil
}

func (s *Sequences) load(ctx context.Context, l *v1alpha1.SiteLink) (map[string]string, error) {
	if seen, ok := s.seen[string(l.UID)]; ok {
		return seen, nil
	}
	cm := &corev1.ConfigMap{}
	err := s.reader.Get(ctx, client.ObjectKey{Namespace: s.system, Name: specs.SequencesConfigMap(l.Name)}, cm)
	if client.IgnoreNotFound(err) != nil {
		return nil, fmt.Errorf("read sequences of %q: %w", l.Name, err)
	}
	seen := map[string]string{}
	if err == nil && metav1.IsControlledBy(cm, l) {
		maps.Copy(seen, cm.Data)
	}
	s.seen[string(l.UID)] = seen
	return seen, nil
}
