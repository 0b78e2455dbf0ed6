package proposal

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	cb "github.com/hyperledger/fabric-protos-go-apiv2/common"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/controller/access"
	"heddle.dev/heddle/internal/controller/channel"
	"heddle.dev/heddle/internal/fabric/channelconfig"
	"heddle.dev/heddle/internal/kube"
)

// most changes that a person can be shown, and the longest text of one.
const (
	mostChanges = 100
	longestText = 1000
)

// world is everything that was seen in one round.
type world struct {
	proposal *v1alpha1.Proposal
	now      time.Time
	network  *v1alpha1.Network // nil where there is none, or none can be read
	roster   *access.Roster
	view     *channel.View
	update   *channelconfig.Update
	digest   string

	state    v1alpha1.ProposalState
	changes  []string
	settings []string
	// members that have answered, and the signatures of other sites that hold.
	members    []v1alpha1.ProposalMember
	signatures []*cb.ConfigSignature
	missing    []string
	delivered  []string
}

// own tells that the proposal was made here.
func (w *world) own() bool { return w.proposal.Spec.Link == "" }

func (w *world) base() uint64 {
	if s := w.proposal.Spec.BaseSequence; s != nil && *s > 0 {
		return uint64(*s)
	}
	return 0
}

// finalReason of a state that ends a proposal without success; empty for all others.
func finalReason(s v1alpha1.ProposalState) string {
	switch s {
	case v1alpha1.ProposalSuperseded:
		return v1alpha1.ReasonSuperseded
	case v1alpha1.ProposalRejected:
		return v1alpha1.ReasonRejected
	case v1alpha1.ProposalExpired:
		return v1alpha1.ReasonExpired
	}
	return ""
}

// final repeats what has become of a proposal that is over.
func (w *world) final() error {
	switch w.state {
	case v1alpha1.ProposalSuperseded:
		return kube.Stalled(v1alpha1.ReasonSuperseded, "The channel's configuration has moved on: the proposal can be deleted")
	case v1alpha1.ProposalExpired:
		return kube.Stalled(v1alpha1.ReasonExpired, "The deadline has passed without the signatures that the channel's policy asks for")
	case v1alpha1.ProposalRejected:
		// A rejection of ours may still have to reach the site that asks.
		if !w.own() && !slices.Contains(w.proposal.Status.Delivered, w.proposal.Spec.Link) {
			return nil
		}
		return kube.Stalled(v1alpha1.ReasonRejected, "The proposal was turned down: %s", w.turnedDown())
	}
	return nil
}

// turnedDown tells by whom a proposal was turned down, and why.
func (w *world) turnedDown() string {
	p := &w.proposal.Spec
	if p.Decision == v1alpha1.DecisionReject {
		return "by this site" + because(p.Reason)
	}
	var out []string
	for _, a := range p.Answers {
		if a.Decision == v1alpha1.DecisionReject {
			out = append(out, "by "+a.Link+because(a.Reason))
		}
	}
	if len(out) == 0 {
		return "it cannot be applied to the channel's configuration"
	}
	return strings.Join(out, "; ")
}

func because(reason string) string {
	if reason == "" {
		return ""
	}
	return ", because " + reason
}

// look reads who takes part, and the channel as the ledger has it.
func (r *Reconciler) look(ctx context.Context, w *world) error {
	p := w.proposal
	raw := p.Spec.UpdateBytes()
	w.digest, w.delivered = digest(raw), slices.Clone(p.Status.Delivered)
	w.update = &channelconfig.Update{ChannelID: p.Spec.ChannelID, Sequence: w.base(), Raw: raw}
	ch := &v1alpha1.Channel{}
	err := r.opts.Client.Get(ctx, types.NamespacedName{Namespace: p.Namespace, Name: p.Spec.Channel}, ch)
	if apierrors.IsNotFound(err) {
		return kube.Waiting(v1alpha1.ReasonWaitingForDependency, 5*time.Second, "Waiting for Channel %q, which spec.channel names", p.Spec.Channel)
	}
	if err != nil {
		return fmt.Errorf("read Channel %q: %w", p.Spec.Channel, err)
	}
	if id := ch.Spec.ChannelID; id != p.Spec.ChannelID && (id != "" || ch.Name != p.Spec.ChannelID) {
		return kube.Stalled(v1alpha1.ReasonInvalidSpec, "Channel %q stands for another channelID than %q", ch.Name, p.Spec.ChannelID)
	}
	var net v1alpha1.Network
	switch err := r.opts.Client.Get(ctx, types.NamespacedName{Name: p.Namespace}, &net); {
	case err == nil:
		w.network = &net
	case !apierrors.IsNotFound(err) && !apierrors.IsForbidden(err):
		return fmt.Errorf("read Network %q: %w", p.Namespace, err)
	}
	if w.roster, err = access.LoadRoster(ctx, r.opts.Client, p.Namespace); err != nil {
		return err
	}
	w.view, err = r.opts.Channels.View(ctx, ch)
	return err
}

// moved finds out what has become of a proposal whose base is not the newest configuration any more.
func (r *Reconciler) moved(ctx context.Context, w *world) error {
	config := w.view.Config()
	switch {
	case config.Sequence < w.base():
		return kube.Waiting(v1alpha1.ReasonProgressing, time.Second,
			"The proposal is for configuration %d and this site sees %d: waiting for it", w.base(), config.Sequence)
	case config.Sequence == w.base():
		return nil
	}
	made, err := w.view.Made(ctx, w.base(), w.update.Raw)
	if err != nil {
		return err
	}
	if made {
		w.state = v1alpha1.ProposalSubmitted
		return kube.LookAgain(24 * time.Hour)
	}
	w.state = v1alpha1.ProposalSuperseded
	return w.final()
}

func (r *Reconciler) expired(_ context.Context, w *world) error {
	if w.now.Before(w.proposal.Spec.ExpiresAt.Time) {
		return nil
	}
	w.state = v1alpha1.ProposalExpired
	return w.final()
}

// explain works out what the update does to the ledger's configuration, whatever its sender says.
func (r *Reconciler) explain(_ context.Context, w *world) error {
	config := w.view.Config()
	target, err := config.Apply(w.update.Raw)
	if err == nil {
		err = w.words(config, target)
	}
	if err != nil {
		w.state = v1alpha1.ProposalRejected
		return kube.Stalled(v1alpha1.ReasonRejected, "The update cannot be signed: %s", err)
	}
	return nil
}

func (w *world) words(config, target *channelconfig.Config) error {
	changes, err := config.Explain(target)
	if err != nil {
		return err
	}
	if len(changes) == 0 {
		return errors.New("it changes nothing")
	}
	if len(changes) > mostChanges {
		return fmt.Errorf("it changes %d things at once and %d can be shown: make several proposals of it", len(changes), mostChanges)
	}
	for _, c := range changes {
		if len(c.Text) > longestText {
			return fmt.Errorf("what it does to %s takes more than %d letters to say", c.Path, longestText)
		}
		w.changes = append(w.changes, c.Text)
	}
	w.settings = channel.Changed(config.Channel, target.Channel)
	if len(w.settings) > 256 {
		w.settings = w.settings[:256]
	}
	return nil
}

// hear checks what other sites have answered. A signature counts for the organization whose administrator made it, and
// a rejection for the organizations of the site that sent it.
func (r *Reconciler) hear(_ context.Context, w *world) error {
	config := w.view.Config()
	for _, a := range w.proposal.Spec.Answers {
		if a.Decision == v1alpha1.DecisionReject {
			for _, id := range w.atSite(a.Link) {
				w.note(id, a.Link, v1alpha1.DecisionReject)
			}
			continue
		}
		for _, s := range a.Signatures {
			one := &cb.ConfigSignature{SignatureHeader: s.Header, Signature: s.Signature}
			id, err := config.Signer(w.update.Raw, one, w.now)
			if err != nil || id != s.MSPID || slices.Contains(w.view.Signers(), id) {
				continue
			}
			if w.note(id, a.Link, v1alpha1.DecisionSign) {
				w.signatures = append(w.signatures, one)
			}
		}
	}
	return nil
}

// note counts an organization's answer, once.
func (w *world) note(mspID, link string, d v1alpha1.Decision) bool {
	if slices.ContainsFunc(w.members, func(m v1alpha1.ProposalMember) bool { return m.MSPID == mspID }) {
		return false
	}
	w.members = append(w.members, v1alpha1.ProposalMember{MSPID: mspID, Link: link, Decision: d})
	return true
}

// atSite are the channel's organizations whose keys a partner holds.
func (w *world) atSite(link string) []string {
	var out []string
	for i := range w.roster.Organizations {
		o := &w.roster.Organizations[i]
		if o.Spec.Remote != nil && o.Spec.Remote.Link == link && slices.Contains(w.view.Config().Organizations(), o.Spec.MSPID) {
			out = append(out, o.Spec.MSPID)
		}
	}
	return out
}

// links are the partners that hold keys of organizations on the channel, sorted.
func (w *world) links() []string {
	var out []string
	for i := range w.roster.Organizations {
		if o := &w.roster.Organizations[i]; o.Spec.Remote != nil && slices.Contains(w.view.Config().Organizations(), o.Spec.MSPID) {
			out = append(out, o.Spec.Remote.Link)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// with are the organizations that have decided so.
func (w *world) with(d v1alpha1.Decision) []string {
	var out []string
	for _, m := range w.members {
		if m.Decision == d {
			out = append(out, m.MSPID)
		}
	}
	return out
}

// report writes what was seen into the status. What was not looked at in this round stays.
func (w *world) report(p *v1alpha1.Proposal) {
	s := &p.Status
	if w.state != "" {
		s.State = w.state
	}
	if w.digest == "" {
		return
	}
	s.Digest, s.Delivered = w.digest, w.delivered
	if w.changes != nil {
		s.Changes, s.Settings = w.changes, w.settings
	}
	if w.view != nil && w.members != nil {
		slices.SortFunc(w.members, func(a, b v1alpha1.ProposalMember) int { return strings.Compare(a.MSPID, b.MSPID) })
		s.Members = w.members
	}
	s.Missing = w.missing
}
