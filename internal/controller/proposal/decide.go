package proposal

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	cb "github.com/hyperledger/fabric-protos-go-apiv2/common"
	mspproto "github.com/hyperledger/fabric-protos-go-apiv2/msp"
	"google.golang.org/protobuf/proto"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/kube"
	"heddle.dev/heddle/internal/link/documents"
)

const (
	// again is when a proposal without an answer is sent once more: the other side may have lost it.
	again = time.Minute
	// retry is when to try a partner again that did not take something.
	retry = 2 * time.Second
	// watchful is how often an open proposal is held against the ledger: nobody announces a configuration.
	watchful = 10 * time.Second
	// brief is the pause after a submission.
	brief = 300 * time.Millisecond
)

// decide carries the decision of this site out.
func (r *Reconciler) decide(ctx context.Context, w *world) error {
	if w.own() {
		return r.pursue(ctx, w)
	}
	return r.answer(ctx, w)
}

// pursue brings a proposal of this site to its end.
func (r *Reconciler) pursue(ctx context.Context, w *world) error {
	if w.proposal.Spec.Decision == v1alpha1.DecisionReject {
		w.state = v1alpha1.ProposalRejected
		return w.final()
	}
	for _, id := range w.view.Signers() {
		w.note(id, "", v1alpha1.DecisionSign)
	}
	config := w.view.Config()
	var err error
	if w.missing, err = config.Missing(w.update, w.with(v1alpha1.DecisionSign)); err != nil {
		return err
	}
	if len(w.missing) == 0 {
		return r.submit(ctx, w)
	}
	against := w.with(v1alpha1.DecisionReject)
	possible := slices.DeleteFunc(config.Organizations(), func(id string) bool { return slices.Contains(against, id) })
	never, err := config.Missing(w.update, possible)
	if err != nil {
		return err
	}
	if len(never) > 0 {
		w.state = v1alpha1.ProposalRejected
		return w.final()
	}
	w.state = v1alpha1.ProposalOpen
	if err := r.deliver(ctx, w); err != nil {
		return err
	}
	return kube.Waiting(v1alpha1.ReasonNeedsSignatures, watchful, "Waiting for signatures: %s not satisfied; signed so far: %s",
		isAre(w.missing), strings.Join(w.with(v1alpha1.DecisionSign), ", "))
}

func isAre(names []string) string {
	if len(names) == 1 {
		return names[0] + " is"
	}
	return strings.Join(names, ", ") + " are"
}

// submit hands the update to an orderer. What becomes of it shows in the ledger.
func (r *Reconciler) submit(ctx context.Context, w *world) error {
	w.state = v1alpha1.ProposalMet
	w.update.Signatures = w.signatures
	if err := w.view.Sign(ctx, w.update); err != nil {
		return err
	}
	if err := w.view.Submit(ctx, w.update); err != nil {
		return err
	}
	if r.opts.Recorder != nil {
		r.opts.Recorder.Eventf(w.proposal, nil, corev1.EventTypeNormal, v1alpha1.ReasonProgressing, "Submit", "Submitted with the signatures of %s",
			strings.Join(w.with(v1alpha1.DecisionSign), ", "))
	}
	return kube.Waiting(v1alpha1.ReasonProgressing, brief, "Submitted: waiting for the configuration to take effect")
}

// deliver sends the proposal to every partner with members on the channel that has not answered it yet.
func (r *Reconciler) deliver(ctx context.Context, w *world) error {
	var failed error
	for _, link := range w.links() {
		answered := slices.ContainsFunc(w.proposal.Spec.Answers, func(a v1alpha1.ProposalAnswer) bool { return a.Link == link })
		if answered || slices.Contains(w.delivered, link) && !r.due(w, link) {
			continue
		}
		p := &w.proposal.Spec
		err := r.send(ctx, w, link, documents.KindProposal, documents.Proposal{
			Network: w.proposal.Namespace, NetworkID: w.networkID(), ChannelID: p.ChannelID,
			Update: w.update.Raw, BaseSequence: int64(w.base()), ExpiresAt: p.ExpiresAt.UTC(), //nolint:gosec // counts updates
		})
		if err != nil {
			failed = err
			continue
		}
		w.give(link)
	}
	return failed
}

// answer does what this site says to a partner's proposal.
func (r *Reconciler) answer(ctx context.Context, w *world) error {
	link := w.proposal.Spec.Link
	decision := w.proposal.Spec.Decision
	if decision == "" && w.policy(link) == v1alpha1.ProposalSign {
		decision = v1alpha1.DecisionSign
	}
	if decision == "" {
		w.state = v1alpha1.ProposalOpen
		return kube.Waiting(v1alpha1.ReasonNeedsDecision, watchful, "Somebody at this site has to decide: status.changes says what it does; set spec.decision to Sign or Reject")
	}
	signers := w.view.Signers()
	if len(signers) == 0 {
		return kube.Stalled(v1alpha1.ReasonInvalidSpec, "No organization of this site is in the channel's configuration: nobody here can sign")
	}
	w.members = nil
	for _, id := range signers {
		w.note(id, "", decision)
	}
	before := slices.ContainsFunc(w.proposal.Status.Members, func(m v1alpha1.ProposalMember) bool { return m.Link == "" && m.Decision == decision })
	if !before || !slices.Contains(w.delivered, link) {
		if err := r.reply(ctx, w, decision); err != nil {
			return err
		}
		w.give(link)
	}
	if decision == v1alpha1.DecisionReject {
		w.state = v1alpha1.ProposalRejected
		w.proposal.Status.Delivered = w.delivered
		return w.final()
	}
	w.state = v1alpha1.ProposalOpen
	return kube.Waiting(v1alpha1.ReasonNeedsSignatures, watchful, "Signed by %s: waiting for the partner to have all signatures and to submit", strings.Join(signers, ", "))
}

// reply sends this site's decision, with the signatures of its organizations if it signs.
func (r *Reconciler) reply(ctx context.Context, w *world, decision v1alpha1.Decision) error {
	p := &w.proposal.Spec
	out := documents.Signature{
		Network: w.proposal.Namespace, NetworkID: w.networkID(), ChannelID: p.ChannelID, Digest: w.digest,
		Decision: string(decision), Reason: p.Reason,
	}
	if decision == v1alpha1.DecisionSign {
		if err := w.view.Sign(ctx, w.update); err != nil {
			return err
		}
		for _, s := range w.update.Signatures {
			id, err := creatorOf(s)
			if err != nil {
				return err
			}
			out.Signatures = append(out.Signatures, documents.ConfigSignature{MSPID: id, Header: s.GetSignatureHeader(), Signature: s.GetSignature()})
		}
	}
	return r.send(ctx, w, p.Link, documents.KindSignature, out)
}

// creatorOf reads the organization out of a signature's header.
func creatorOf(s *cb.ConfigSignature) (string, error) {
	var header cb.SignatureHeader
	if err := proto.Unmarshal(s.GetSignatureHeader(), &header); err != nil {
		return "", fmt.Errorf("read signature: %w", err)
	}
	var creator mspproto.SerializedIdentity
	if err := proto.Unmarshal(header.GetCreator(), &creator); err != nil {
		return "", fmt.Errorf("read signature: %w", err)
	}
	return creator.GetMspid(), nil
}

// send sends a document about the proposal to a partner.
func (r *Reconciler) send(ctx context.Context, w *world, name, kind string, payload any) error {
	var link v1alpha1.SiteLink
	err := r.opts.Client.Get(ctx, types.NamespacedName{Name: name}, &link)
	if apierrors.IsNotFound(err) {
		return kube.Waiting(v1alpha1.ReasonWaitingForDependency, watchful, "Waiting for SiteLink %q, by which the other members are reached", name)
	}
	if err != nil {
		return fmt.Errorf("read SiteLink %q: %w", name, err)
	}
	if err := r.opts.Sender.Send(ctx, &link, kind, w.digest, payload); err != nil {
		if errors.Is(err, context.Canceled) {
			return err
		}
		return kube.Waiting(v1alpha1.ReasonUnreachable, retry, "Partner %q did not take it: %s", name, err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sent[sentKey{w.proposal.UID, name}] = w.now
	return nil
}

// due tells whether it is time to send a proposal once more.
func (r *Reconciler) due(w *world, link string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return w.now.Sub(r.sent[sentKey{w.proposal.UID, link}]) > again
}

func (w *world) give(link string) {
	if !slices.Contains(w.delivered, link) {
		w.delivered = append(w.delivered, link)
		slices.Sort(w.delivered)
	}
}

func (w *world) networkID() string {
	if w.network == nil {
		return ""
	}
	return w.network.Spec.NetworkID
}

// policy says who decides on a partner's proposals.
func (w *world) policy(link string) v1alpha1.ProposalPolicy {
	if w.network == nil {
		return v1alpha1.ProposalAsk
	}
	for _, p := range w.network.Spec.Partners {
		if p.Link == link {
			return p.Proposals
		}
	}
	return v1alpha1.ProposalAsk
}
