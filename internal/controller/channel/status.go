package channel

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/fabric/admin"
	"heddle.dev/heddle/internal/fabric/block"
	"heddle.dev/heddle/internal/kube"
)

// report writes what was seen into the status. What was not looked at in this round stays.
func (w *world) report(ch *v1alpha1.Channel) {
	s := &ch.Status
	if w.channelID != "" {
		s.ChannelID = w.channelID
	}
	if w.genesis != nil {
		s.GenesisHash = hex.EncodeToString(block.Hash(w.genesis.GetHeader()))
	}
	w.reportLedger(s)
	w.reportNodes(s)
	w.reportRemotes(s)
	w.reportDivergence(ch)
}

func (w *world) reportLedger(s *v1alpha1.ChannelStatus) {
	if w.ledger == nil {
		return
	}
	c := w.ledger.Channel
	s.Proposal = w.proposal
	s.ConfigSequence = ptr.To(int64(w.ledger.Sequence)) //nolint:gosec // counts updates
	s.Members = ptr.To(int32(len(c.ApplicationOrgs)))   //nolint:gosec // counts organisations
	s.Consenters = s.Consenters[:0]
	for _, n := range c.Consenters {
		s.Consenters = append(s.Consenters, n.Address().String())
	}
	for _, n := range w.nodes {
		if w.departing(n) {
			s.Consenters = append(s.Consenters, n.address)
		}
	}
	slices.Sort(s.Consenters)
	if w.memory != nil {
		s.AppliedGeneration, s.AppliedSpecHash = w.memory.Generation, w.memory.Wish.hash()
	}
}

func (w *world) reportNodes(s *v1alpha1.ChannelStatus) {
	if w.nodes == nil {
		return
	}
	before := map[string]v1alpha1.ChannelNode{}
	for _, n := range s.Nodes {
		before[n.Name] = n
	}
	highest := w.highest()
	if highest > 0 {
		s.Height = ptr.To(int64(highest)) //nolint:gosec // counts blocks
	}
	s.Nodes = s.Nodes[:0]
	for _, n := range w.nodes {
		if !n.joined && !w.shallJoin(n) && !w.onLedger(n) {
			continue
		}
		one := v1alpha1.ChannelNode{Name: n.name, Role: w.roleOf(n), State: n.state(highest), Height: before[n.name].Height, Lag: before[n.name].Lag}
		if n.joined && n.height > 0 {
			one.Height, one.Lag = ptr.To(int64(n.height)), ptr.To(int64(highest-n.height)) //nolint:gosec // counts blocks
		}
		if one.State == v1alpha1.NodeJoining {
			one.Height, one.Lag = nil, nil
		}
		s.Nodes = append(s.Nodes, one)
	}
	slices.SortFunc(s.Nodes, func(a, b v1alpha1.ChannelNode) int { return strings.Compare(a.Name, b.Name) })
}

func (w *world) roleOf(n *node) v1alpha1.ChannelNodeRole {
	switch {
	case !n.orderer:
		return v1alpha1.RolePeer
	case w.onLedger(n), w.ledger == nil && slices.Contains(w.consenters, n.name):
		return v1alpha1.RoleConsenter
	}
	return v1alpha1.RoleFollower
}

func (n *node) state(highest uint64) v1alpha1.ChannelNodeState {
	switch {
	case n.asked && !n.seen:
		return v1alpha1.NodeUnreachable
	case !n.joined:
		return v1alpha1.NodeJoining
	case n.height+maxLag < highest || n.orderer && n.status != admin.Active:
		return v1alpha1.NodeCatchingUp
	}
	return v1alpha1.NodeActive
}

func (w *world) reportDivergence(ch *v1alpha1.Channel) {
	if w.ledger == nil {
		return
	}
	c := metav1.Condition{
		Type: v1alpha1.ConditionDiverged, Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonInSync,
		Message: "The ledger's configuration was not changed elsewhere", ObservedGeneration: ch.Generation,
	}
	if len(w.verdict.theirs) > 0 {
		c.Status, c.Reason, c.Message = metav1.ConditionTrue, v1alpha1.ReasonDiverged, w.divergence()
	}
	meta.SetStatusCondition(&ch.Status.Conditions, c)
}

// divergence says in words what was changed elsewhere and what can be done.
func (w *world) divergence() string {
	wish, ledger := w.flatWish, w.flatLedger
	texts := make([]string, 0, len(w.verdict.theirs))
	for _, key := range w.verdict.theirs {
		texts = append(texts, words(key, ledger[key], wish[key]))
	}
	return fmt.Sprintf("Changed elsewhere and left as it is: %s; accept it with the annotation %s, or change the spec",
		some(texts), v1alpha1.AnnotationAdopt)
}

// fingerprint changes with every progress: as long as there is some, the next look comes soon.
func (w *world) fingerprint() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d %t ", w.channel.Generation, w.genesis != nil)
	if w.ledger != nil {
		fmt.Fprintf(&b, "%d ", w.ledger.Sequence)
	}
	for _, n := range w.nodes {
		fmt.Fprintf(&b, "%s:%t:%t:%s:%s ", n.name, n.seen, n.joined, n.status, n.relation)
	}
	if c := meta.FindStatusCondition(w.channel.Status.Conditions, v1alpha1.ConditionReady); c != nil {
		b.WriteString(c.Reason + c.Message)
	}
	if kube.IsReady(w.channel) {
		// Traffic is a reason to look at a channel that rests more often, not at one that is being made.
		for _, n := range w.channel.Status.Nodes {
			fmt.Fprintf(&b, " %d", ptr.Deref(n.Height, 0))
		}
	}
	return b.String()
}

// later of two times.
func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
