package chaincode

import (
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/controller/access"
	"heddle.dev/heddle/internal/fabric/admin"
	"heddle.dev/heddle/internal/fabric/policy"
)

// world is everything that was seen in one round.
type world struct {
	chaincode *v1alpha1.Chaincode
	channel   *v1alpha1.Channel
	network   string
	channelID string

	// image that runs, by digest where the peers launch it.
	image string
	// meta is the digest of what the package carries besides; empty where there is nothing.
	meta      string
	pkg       []byte
	packageID string
	// collections of the spec, and their hash.
	collections     []admin.Collection
	collectionsHash string
	// deployment as it stands; nil before it was seen.
	deployment *appsv1.Deployment

	// launches are the pods in which peers run the contract.
	launches []*corev1.Pod
	// endings are the reasons of those that are gone, by name.
	endings map[string]string
	// untold are those that are gone, or about to go, without a reason yet: word of them comes and wakes the contract.
	untold map[string]bool
	now    time.Time

	// security of a contract that runs as a service; nil for all others.
	security *security
	// parties are the organisations of this site on the channel that have certificates, members those of them with peers.
	parties []*member
	// lacking is one that has no certificates yet; empty if all have.
	lacking string
	members []*member
	// committed is the newest definition that any member knows; nil if there is none.
	committed *admin.Committed
}

// member is one organisation of this site on the channel.
type member struct {
	org *access.Organization
	// since is when its object was made.
	since metav1.Time
	peers []*peer
	// approved is what the organisation has approved for the wanted sequence; nil if nothing.
	approved *admin.Definition
	err      error
}

// peer is what was seen of a peer.
type peer struct {
	name string
	// seen tells whether it answered.
	seen      bool
	installed bool
	// known and committed tell what it says of the channel's definition.
	known     bool
	committed *admin.Committed
	err       error
}

// defaultPolicy is the channel policy that guards a contract without one of its own.
const defaultPolicy = "/Channel/Application/Endorsement"

// spell writes a policy in one way, whatever the blanks in the spec.
func spell(rule string) string {
	if rule == "" {
		return defaultPolicy
	}
	if m, err := policy.Signature(rule); err == nil {
		if text, err := policy.Format(m); err == nil {
			return text
		}
	}
	return rule
}

// definition that the spec asks for, with the sequence that it has or will have.
func (w *world) definition() admin.Definition {
	spec := &w.chaincode.Spec
	return admin.Definition{
		Channel: w.channelID, Name: spec.ChaincodeName, Version: spec.Version,
		Sequence: w.sequence(), PackageID: w.packageID, Policy: spell(spec.EndorsementPolicy),
		Collections: w.collections, InitRequired: w.initRequired(),
	}
}

func (w *world) initRequired() bool { return w.chaincode.Spec.Init == v1alpha1.InitRequired }

// done tells whether the channel has committed what the spec asks for.
func (w *world) done() bool {
	spec := &w.chaincode.Spec
	c := w.committed
	return c != nil && c.Version == spec.Version && spell(c.Policy) == spell(spec.EndorsementPolicy) &&
		c.InitRequired == w.initRequired() && c.Collections == w.collectionsHash
}

// sequence of the wanted definition: the committed one's if it is what is wanted, else the next.
func (w *world) sequence() int64 {
	switch {
	case w.committed == nil:
		return 1
	case w.done():
		return w.committed.Sequence
	}
	return w.committed.Sequence + 1
}

// agrees tells whether an organisation has approved the wanted definition with the wanted package.
func (m *member) agrees(d admin.Definition) bool {
	a := m.approved
	return a != nil && a.Sequence == d.Sequence && a.Version == d.Version && a.PackageID == d.PackageID &&
		spell(a.Policy) == d.Policy && a.InitRequired == d.InitRequired && hashOf(a) == hashOf(&d)
}

// hashOf tells collections apart; those of the spec were checked when it was read.
func hashOf(d *admin.Definition) string {
	hash, err := d.CollectionsHash()
	if err != nil {
		return err.Error()
	}
	return hash
}

// joined is a peer of the organisation that takes part in the channel; nil if none answers.
func (m *member) joined() *peer {
	for _, p := range m.peers {
		if p.known {
			return p
		}
	}
	return nil
}

// installed counts the peers that have the package.
func (m *member) installed() int {
	n := 0
	for _, p := range m.peers {
		if p.installed {
			n++
		}
	}
	return n
}
