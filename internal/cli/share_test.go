package cli_test

import (
	"context"
	"encoding/base64"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"heddle.dev/heddle/api/v1alpha1"
)

// fixturePartner makes a partner that offers a network with a channel. Of the network's third site "cccc" this one
// knows nothing until there is a link of that siteID.
func fixturePartner(ctx context.Context, c client.Client, name, network string) error {
	link := &v1alpha1.SiteLink{ObjectMeta: metav1.ObjectMeta{Name: name}}
	link.Spec.SiteID, link.Spec.Endpoints = "s"+strings.ToLower(name[len(name)-8:]), []string{"gateway.bank.example:443"}
	if strings.HasPrefix(name, "third") {
		link.Spec.SiteID = "cccc"
	}
	if err := c.Create(ctx, link); err != nil {
		return err
	}
	before, id := link.DeepCopy(), "id-of-"+network
	if strings.HasPrefix(name, "odd") {
		id = "another-network"
	}
	link.Status.State = v1alpha1.LinkUp
	link.Status.Networks = []v1alpha1.OfferedNetwork{{
		Name: network, NetworkID: id, Version: "3.1.4", Consensus: v1alpha1.ConsensusRaft, Sites: []string{"cccc"},
		Channels: []v1alpha1.OfferedChannel{{
			Name: "shared", ChannelID: "shared.1", GenesisHash: strings.Repeat("ab", 32), Consensus: v1alpha1.ConsensusRaft, Timing: v1alpha1.TimingWAN,
		}},
	}}
	return c.Status().Patch(ctx, link, client.MergeFrom(before))
}

// fixtureOffer has a partner offer one more network.
func fixtureOffer(ctx context.Context, c client.Client, name, network string) error {
	link := &v1alpha1.SiteLink{ObjectMeta: metav1.ObjectMeta{Name: name}}
	if err := c.Get(ctx, client.ObjectKeyFromObject(link), link); err != nil {
		return err
	}
	before := link.DeepCopy()
	link.Status.Networks = append(link.Status.Networks, v1alpha1.OfferedNetwork{
		Name: network, NetworkID: "id-of-" + network, Version: "3.1.4", Consensus: v1alpha1.ConsensusRaft,
	})
	return c.Status().Patch(ctx, link, client.MergeFrom(before))
}

func fixtureProposal(ctx context.Context, c client.Client, network, name, link string) error {
	base := int64(3)
	p := &v1alpha1.Proposal{ObjectMeta: metav1.ObjectMeta{Namespace: network, Name: name}, Spec: v1alpha1.ProposalSpec{
		Channel: "deals", ChannelID: "deals", Link: link, Update: base64.StdEncoding.EncodeToString([]byte("update")), BaseSequence: &base,
		ExpiresAt: metav1.NewTime(time.Date(2100, 1, 2, 3, 4, 5, 0, time.UTC)),
	}}
	if err := c.Create(ctx, p); err != nil || strings.HasSuffix(name, "-new") {
		return err
	}
	return setStatus(ctx, c, p, func(o object) {
		p.Status.State, p.Status.Changes = v1alpha1.ProposalOpen, []string{"Change the messages per block from 500 to 55"}
		p.Status.Members = []v1alpha1.ProposalMember{{MSPID: "BankBMSP", Link: link, Decision: v1alpha1.DecisionSign}}
		*o.GetConditions() = []metav1.Condition{condition("Ready", metav1.ConditionFalse, "NeedsDecision", "Somebody at this site has to decide", o)}
	})
}
