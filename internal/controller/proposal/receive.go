package proposal

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/link"
	"heddle.dev/heddle/internal/link/documents"
)

// mostOpen is how many open proposals of one partner a network keeps.
const mostOpen = 32

// skew is by how much the partners' clocks may differ.
const skew = 20 * time.Minute

// refuse tells the partner why a document is not taken.
func refuse(format string, args ...any) error {
	return link.Refuse(link.RefusedInvalid, fmt.Sprintf(format, args...))
}

// ReceiveProposal takes a partner's proposal: it becomes a Proposal here, for a person to decide on. The same one again
// makes no second one, and lets this site's answer be sent again.
func (r *Reconciler) ReceiveProposal(ctx context.Context, from string, e *link.Envelope) error {
	doc, err := documents.ParseProposal(e.Payload)
	if err != nil {
		return refuse("%s", err)
	}
	if err := r.partner(ctx, from, doc.Network, doc.NetworkID); err != nil {
		return err
	}
	now := r.opts.Now()
	if doc.ExpiresAt.Before(now.Add(-skew)) || doc.ExpiresAt.After(now.Add(documents.MaxTerm+skew)) {
		return refuse("the deadline %s has passed or is too far away", doc.ExpiresAt.UTC().Format(time.RFC3339))
	}
	ch, err := r.channelOf(ctx, doc.Network, doc.ChannelID)
	if err != nil {
		return err
	}
	var all v1alpha1.ProposalList
	if err := r.opts.Reader.List(ctx, &all, client.InNamespace(doc.Network)); err != nil {
		return fmt.Errorf("list proposals: %w", err)
	}
	name := fmt.Sprintf("%.200s-%d-%s", ch.Name, doc.BaseSequence, digest(doc.Update)[:12])
	open := 0
	for i := range all.Items {
		p := &all.Items[i]
		if p.Name == name {
			return r.repeat(ctx, from, p)
		}
		if p.Spec.Link == from && finalReason(p.Status.State) == "" && p.Status.State != v1alpha1.ProposalSubmitted {
			open++
		}
	}
	if open >= mostOpen {
		return refuse("%d proposals of this partner are open here already: let some of them come to an end", open)
	}
	_, err = r.applier.CreateOnce(ctx, nil, &v1alpha1.Proposal{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: doc.Network, Name: name,
			Labels: map[string]string{v1alpha1.LabelNetwork: doc.Network, v1alpha1.LabelChannel: ch.Name},
		},
		Spec: v1alpha1.ProposalSpec{
			Channel: ch.Name, ChannelID: doc.ChannelID, Link: from, Update: base64.StdEncoding.EncodeToString(doc.Update),
			BaseSequence: ptr.To(doc.BaseSequence), ExpiresAt: ptr.To(metav1.NewTime(doc.ExpiresAt.Truncate(time.Second))),
		},
	})
	return err
}

// repeat is for a proposal that is here: who sends it again has no answer yet.
func (r *Reconciler) repeat(ctx context.Context, from string, p *v1alpha1.Proposal) error {
	if p.Spec.Link != from {
		return refuse("the proposal is known here as somebody else's")
	}
	if len(p.Status.Delivered) == 0 {
		return nil
	}
	before := p.DeepCopy()
	p.Status.Delivered = nil
	if err := r.opts.Client.Status().Patch(ctx, p, client.MergeFrom(before)); err != nil {
		return fmt.Errorf("note that proposal %q has no answer: %w", p.Name, err)
	}
	// The status wakes nobody: say it in a way that does.
	patch := fmt.Appendf(nil, `{"metadata":{"annotations":{%q:%q}}}`, annotationAsked, r.opts.Now().UTC().Format(time.RFC3339Nano))
	if err := r.opts.Client.Patch(ctx, p, client.RawPatch(types.MergePatchType, patch)); err != nil {
		return fmt.Errorf("note that proposal %q has no answer: %w", p.Name, err)
	}
	return nil
}

// annotationAsked on a Proposal is when its maker last asked for an answer that it did not get.
const annotationAsked = "heddle.dev/asked-again"

// ReceiveSignature takes a partner's answer to a proposal of this site.
func (r *Reconciler) ReceiveSignature(ctx context.Context, from string, e *link.Envelope) error {
	doc, err := documents.ParseSignature(e.Payload)
	if err != nil {
		return refuse("%s", err)
	}
	if err := r.partner(ctx, from, doc.Network, doc.NetworkID); err != nil {
		return err
	}
	var all v1alpha1.ProposalList
	if err := r.opts.Reader.List(ctx, &all, client.InNamespace(doc.Network)); err != nil {
		return fmt.Errorf("list proposals: %w", err)
	}
	for i := range all.Items {
		p := &all.Items[i]
		if p.Spec.Link == "" && p.Spec.ChannelID == doc.ChannelID && digest(p.Spec.UpdateBytes()) == doc.Digest {
			return r.takeAnswer(ctx, from, p, doc)
		}
	}
	return refuse("there is no such proposal here")
}

func (r *Reconciler) takeAnswer(ctx context.Context, from string, p *v1alpha1.Proposal, doc *documents.Signature) error {
	answer := v1alpha1.ProposalAnswer{Link: from, Decision: v1alpha1.Decision(doc.Decision), Reason: doc.Reason}
	for _, s := range doc.Signatures {
		answer.Signatures = append(answer.Signatures, v1alpha1.ConfigSignature{MSPID: s.MSPID, Header: s.Header, Signature: s.Signature})
	}
	before := p.DeepCopy()
	i := slices.IndexFunc(p.Spec.Answers, func(a v1alpha1.ProposalAnswer) bool { return a.Link == from })
	switch {
	case i < 0:
		p.Spec.Answers = append(p.Spec.Answers, answer)
	case p.Spec.Answers[i].Decision == v1alpha1.DecisionSign && answer.Decision == v1alpha1.DecisionReject:
		return refuse("a signature that was given cannot be taken back")
	default:
		p.Spec.Answers[i] = answer
	}
	if err := r.opts.Client.Patch(ctx, p, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{}), client.FieldOwner(fieldOwner)); err != nil {
		return fmt.Errorf("write answer to proposal %q: %w", p.Name, err)
	}
	return nil
}

// partner makes sure that the sender is a partner of that very network.
func (r *Reconciler) partner(ctx context.Context, from, network, id string) error {
	var net v1alpha1.Network
	err := r.opts.Client.Get(ctx, types.NamespacedName{Name: network}, &net)
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("read Network %q: %w", network, err)
	}
	// Who is no partner learns nothing of what there is.
	isPartner := slices.ContainsFunc(net.Spec.Partners, func(p v1alpha1.NetworkPartner) bool { return p.Link == from })
	if err != nil || net.Spec.NetworkID != id || !isPartner {
		return refuse("network %q with networkID %q is not shared with this partner", network, id)
	}
	return nil
}

func (r *Reconciler) channelOf(ctx context.Context, network, id string) (*v1alpha1.Channel, error) {
	var list v1alpha1.ChannelList
	if err := r.opts.Client.List(ctx, &list, client.InNamespace(network)); err != nil {
		return nil, fmt.Errorf("list channels: %w", err)
	}
	for i := range list.Items {
		ch := &list.Items[i]
		if ch.Spec.ChannelID == id || ch.Spec.ChannelID == "" && ch.Name == id {
			return ch, nil
		}
	}
	return nil, refuse("channel %q is not known here: accept the invitation to it first", id)
}

func digest(update []byte) string {
	sum := sha256.Sum256(update)
	return hex.EncodeToString(sum[:])
}
