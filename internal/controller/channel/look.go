package channel

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	cb "github.com/hyperledger/fabric-protos-go-apiv2/common"
	"google.golang.org/protobuf/proto"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/controller/access"
	"heddle.dev/heddle/internal/kube"
	"heddle.dev/heddle/internal/specs"
)

// look reads what the cluster knows: who stands in the namespace, their public material, the genesis block.
func (r *Reconciler) look(ctx context.Context, w *world) error {
	ch := w.channel
	w.network, w.channelID, w.now = ch.Namespace, channelID(ch), r.opts.Now()
	if err := r.alone(ctx, ch, w.channelID); err != nil {
		return err
	}
	var err error
	if w.roster, err = access.LoadRoster(ctx, r.opts.Client, w.network); err != nil {
		return err
	}
	if err := r.lookOrganizations(ctx, w); err != nil {
		return err
	}
	if err := r.lookGenesis(ctx, w); err != nil {
		return err
	}
	w.members, w.remotes = w.roster.Members(ch), remotesOf(w.roster)
	w.consenters = consentersOf(ch, w.roster, w.remotes)
	if err := r.lookImports(ctx, w); err != nil {
		return err
	}
	return r.lookCertificates(ctx, w)
}

// channelID of a Channel on the ledger.
func channelID(ch *v1alpha1.Channel) string {
	if ch.Spec.ChannelID != "" {
		return ch.Spec.ChannelID
	}
	return ch.Name
}

// alone refuses the younger of two Channels that mean the same ledger.
func (r *Reconciler) alone(ctx context.Context, ch *v1alpha1.Channel, id string) error {
	var all v1alpha1.ChannelList
	if err := r.opts.Client.List(ctx, &all, client.InNamespace(ch.Namespace)); err != nil {
		return fmt.Errorf("list channels: %w", err)
	}
	for i := range all.Items {
		o := &all.Items[i]
		older := o.CreationTimestamp.Before(&ch.CreationTimestamp) ||
			(o.CreationTimestamp.Equal(&ch.CreationTimestamp) && o.Name < ch.Name)
		if o.Name != ch.Name && channelID(o) == id && older {
			return kube.Stalled(v1alpha1.ReasonInvalidSpec,
				"Channel %q stands for channelID %q already: delete this object or choose another spec.channelID", o.Name, id)
		}
	}
	return nil
}

func (r *Reconciler) lookOrganizations(ctx context.Context, w *world) error {
	w.orgs = map[string]*access.Organization{}
	for i := range w.roster.Organizations {
		name := w.roster.Organizations[i].Name
		org, err := r.opts.Nodes.Organization(ctx, w.network, name)
		switch {
		case errors.Is(err, access.ErrMissing):
		case err != nil:
			return err
		default:
			w.orgs[name] = org
		}
	}
	return nil
}

// consentersOf are the orderers that the spec asks for. Unless they are named, one that is being deleted is not among
// them; one that is named stays until it is named no more, and its deletion waits for that. Those of other sites have
// to be named.
func consentersOf(ch *v1alpha1.Channel, roster *access.Roster, remotes []remote) []string {
	var out []string
	for i := range roster.Orderers {
		o := &roster.Orderers[i]
		byDefault := len(ch.Spec.Consenters) == 0 && o.DeletionTimestamp.IsZero()
		if byDefault || slices.Contains(ch.Spec.Consenters, o.Name) {
			out = append(out, o.Name)
		}
	}
	for _, o := range remotes {
		if slices.Contains(ch.Spec.Consenters, o.name) {
			out = append(out, o.name)
		}
	}
	slices.Sort(out)
	return out
}

func (r *Reconciler) lookGenesis(ctx context.Context, w *world) error {
	var cm corev1.ConfigMap
	key := types.NamespacedName{Namespace: w.network, Name: specs.GenesisConfigMap(w.channel.Name)}
	err := r.opts.Client.Get(ctx, key, &cm)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read ConfigMap %q: %w", key.Name, err)
	}
	return w.takeGenesis(&cm)
}

func (w *world) takeGenesis(cm *corev1.ConfigMap) error {
	b := &cb.Block{}
	if err := proto.Unmarshal(cm.BinaryData[specs.KeyGenesisBlock], b); err != nil {
		return fmt.Errorf("read genesis block in ConfigMap %q: %w", cm.Name, err)
	}
	m, err := parseMemory(cm.Annotations[annotationMemory])
	if err != nil {
		return err
	}
	w.genesis, w.memory = b, m
	return nil
}

// seenCerts are a node's certificates as they were read at a state of the node.
type seenCerts struct {
	state string
	certs access.NodeCertificates
}

// lookCertificates reads the certificates of orderers, from the API server only when the node's status says that
// there may be others.
func (r *Reconciler) lookCertificates(ctx context.Context, w *world) error {
	w.certs = map[string]access.NodeCertificates{}
	for _, o := range w.remotes {
		if w.orgs[o.org] != nil {
			w.certs[o.name] = o.certs
		}
	}
	for i := range w.roster.Orderers {
		o := &w.roster.Orderers[i]
		if !slices.Contains(w.consenters, o.Name) {
			continue
		}
		state := certificateState(o)
		r.mu.Lock()
		seen := r.certs[o.UID]
		r.mu.Unlock()
		if seen != nil && state != "" && seen.state == state {
			w.certs[o.Name] = seen.certs
			continue
		}
		certs, err := r.opts.Nodes.NodeCertificates(ctx, w.network, o.Name)
		if errors.Is(err, access.ErrMissing) {
			continue
		}
		if err != nil {
			return err
		}
		w.certs[o.Name] = certs
		r.mu.Lock()
		r.certs[o.UID] = &seenCerts{state: state, certs: certs}
		r.mu.Unlock()
	}
	return nil
}

// certificateState changes when a node's certificates change.
func certificateState(o *v1alpha1.Orderer) string {
	var s strings.Builder
	for _, c := range o.Status.Certificates {
		fmt.Fprintf(&s, "%s=%d ", c.Name, c.NotAfter.Unix())
	}
	return s.String()
}
