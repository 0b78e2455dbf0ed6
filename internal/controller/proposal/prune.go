package proposal

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"heddle.dev/heddle/api/v1alpha1"
)

// mostEnded proposals of a channel that one site made are kept, for people to look at. A partner whose proposals cannot
// be applied could fill the cluster's storage with them.
const mostEnded = 20

func ended(s v1alpha1.ProposalState) bool {
	return s == v1alpha1.ProposalSubmitted || finalReason(s) != ""
}

// prune deletes the oldest ended proposals beside one that has come to its end.
func (r *Reconciler) prune(ctx context.Context, w *world) error {
	if !ended(w.state) {
		return nil
	}
	var all v1alpha1.ProposalList
	if err := r.opts.Client.List(ctx, &all, client.InNamespace(w.proposal.Namespace)); err != nil {
		return fmt.Errorf("list proposals: %w", err)
	}
	for _, p := range surplus(all.Items, w.proposal) {
		if err := r.opts.Client.Delete(ctx, &p, client.Preconditions{UID: &p.UID}); client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("delete ended proposal %q: %w", p.Name, err)
		}
	}
	return nil
}

// surplus are the ended proposals of the same channel and maker as one, beyond the newest; it is not among them.
func surplus(all []v1alpha1.Proposal, one *v1alpha1.Proposal) []v1alpha1.Proposal {
	others := slices.DeleteFunc(slices.Clone(all), func(p v1alpha1.Proposal) bool {
		return p.UID == one.UID || p.Spec.Channel != one.Spec.Channel || p.Spec.Link != one.Spec.Link || !ended(p.Status.State) || !p.DeletionTimestamp.IsZero()
	})
	slices.SortFunc(others, func(a, b v1alpha1.Proposal) int {
		return cmp.Or(b.CreationTimestamp.Compare(a.CreationTimestamp.Time), strings.Compare(a.Name, b.Name))
	})
	return others[min(len(others), mostEnded-1):]
}
