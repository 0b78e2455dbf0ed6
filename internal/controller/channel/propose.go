package channel

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/fabric/channelconfig"
	"heddle.dev/heddle/internal/kube"
)

// term is how long the other members have to sign.
const term = 7 * 24 * time.Hour

// labelWish on a Proposal tells which change of the spec it carries.
const labelWish = "heddle.dev/wish"

// signers are the organizations of this site that the ledger's configuration knows.
func (w *world) signers() []string {
	return slices.DeleteFunc(w.ledger.Organizations(), func(id string) bool { return !w.isLocal(id) })
}

// needsOthers tells whether an update needs signatures of other sites.
func (r *Reconciler) needsOthers(w *world, up *channelconfig.Update) (bool, error) {
	if len(w.signers()) == len(w.ledger.Organizations()) {
		return false, nil
	}
	missing, err := w.ledger.Missing(up, w.signers())
	if err != nil {
		return false, err
	}
	return len(missing) > 0, nil
}

// propose asks the other members for their signatures: it makes a Proposal, once for each change and sequence, and
// waits for what becomes of it. What was turned down is not asked again before the spec changes.
func (r *Reconciler) propose(ctx context.Context, w *world, u *update, up *channelconfig.Update) error {
	wish := w.wishHash(u)
	name := fmt.Sprintf("%.200s-%d-%s", w.channel.Name, up.Sequence, wish[:8])
	var all v1alpha1.ProposalList
	if err := r.opts.Client.List(ctx, &all, client.InNamespace(w.network), client.MatchingLabels{v1alpha1.LabelChannel: w.channel.Name}); err != nil {
		return fmt.Errorf("list proposals: %w", err)
	}
	for i := range all.Items {
		p := &all.Items[i]
		if p.Spec.Link != "" || p.Labels[labelWish] != wish {
			continue
		}
		switch p.Status.State {
		case v1alpha1.ProposalRejected, v1alpha1.ProposalExpired:
			w.proposal = p.Name
			return kube.Stalled(v1alpha1.ReasonRejected, "Proposal %q was not agreed on (%s): change the spec, or delete the Proposal to ask again", p.Name, p.Status.State)
		}
	}
	w.proposal = name
	if !slices.ContainsFunc(all.Items, func(p v1alpha1.Proposal) bool { return p.Name == name }) {
		if err := r.makeProposal(ctx, w, name, wish, up); err != nil {
			return err
		}
	}
	return kube.Waiting(v1alpha1.ReasonNeedsSignatures, 0, "Proposal %q waits for the other members: %s", name, u.text)
}

func (r *Reconciler) makeProposal(ctx context.Context, w *world, name, wish string, up *channelconfig.Update) error {
	p := &v1alpha1.Proposal{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: w.network, Name: name,
			Labels: map[string]string{v1alpha1.LabelNetwork: w.network, v1alpha1.LabelChannel: w.channel.Name, labelWish: wish},
		},
		Spec: v1alpha1.ProposalSpec{
			Channel: w.channel.Name, ChannelID: w.channelID, Update: base64.StdEncoding.EncodeToString(up.Raw),
			BaseSequence: ptr.To(int64(up.Sequence)), //nolint:gosec // counts updates
			ExpiresAt:    ptr.To(metav1.NewTime(r.opts.Now().Add(term).Truncate(time.Second))),
		},
	}
	_, err := r.applier.CreateOnce(ctx, w.channel, p)
	return err
}

// wishHash is the same for the same change, whatever the ledger's sequence.
func (w *world) wishHash(u *update) string {
	h := sha256.New()
	fmt.Fprintln(h, u.text)
	for _, key := range w.verdict.ours {
		fmt.Fprintf(h, "%s=%s\n", key, w.flatWish[key])
	}
	return hex.EncodeToString(h.Sum(nil))[:16]
}

// agreed are settings that were changed elsewhere and that this site need not be told of: those of an update that it
// signed, and those of a channel of another site that were never its wish.
func (r *Reconciler) agreed(ctx context.Context, w *world) ([]string, error) {
	if w.memory == nil || len(w.verdict.theirs) == 0 || !w.stretched() {
		return nil, nil
	}
	signed, err := r.signed(ctx, w)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, key := range w.verdict.theirs {
		_, followed := w.memory.Accepted[key]
		if w.memory.Lost[key] != "" {
			continue
		}
		if slices.Contains(signed, key) || w.invited() && followed {
			out = append(out, key)
		}
	}
	return out, nil
}

// signed are the settings that the newest update has changed, if this site signed it.
func (r *Reconciler) signed(ctx context.Context, w *world) ([]string, error) {
	raw, err := channelconfig.LastUpdate(w.block)
	if err != nil || len(raw) == 0 {
		return nil, err
	}
	sum := sha256.Sum256(raw)
	digest := hex.EncodeToString(sum[:])
	var all v1alpha1.ProposalList
	if err := r.opts.Client.List(ctx, &all, client.InNamespace(w.network)); err != nil {
		return nil, fmt.Errorf("list proposals: %w", err)
	}
	for i := range all.Items {
		p := &all.Items[i]
		weSigned := slices.ContainsFunc(p.Status.Members, func(m v1alpha1.ProposalMember) bool {
			return m.Link == "" && m.Decision == v1alpha1.DecisionSign
		})
		if p.Spec.Link != "" && p.Status.Digest == digest && weSigned {
			return p.Status.Settings, nil
		}
	}
	return nil, nil
}

// Changed names the settings in which two configurations of a channel differ, sorted.
func Changed(from, to channelconfig.Channel) []string {
	a, b := flatten(from), flatten(to)
	return slices.DeleteFunc(union(a, b), func(key string) bool { return a[key] == b[key] })
}
