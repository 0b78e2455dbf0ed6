package chaincode

import (
	"strings"
	"testing"

	"k8s.io/utils/ptr"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/controller/access"
	"heddle.dev/heddle/internal/fabric/admin"
	"heddle.dev/heddle/internal/kube"
)

func TestStrangers(t *testing.T) {
	const members = `its members are BankAMSP, BankBMSP`
	private := func(policy, endorsement string) []admin.Collection {
		return []admin.Collection{{Name: "prices", Policy: policy, EndorsementPolicy: endorsement}}
	}
	for name, c := range map[string]struct {
		policy      string
		collections []admin.Collection
		members     *int32
		committed   bool
		want        []string
	}{
		"the channel's policy":          {members: ptr.To[int32](2)},
		"a path":                        {policy: "/Channel/Application/Endorsement", members: ptr.To[int32](2)},
		"members":                       {policy: "AND('BankAMSP.peer', 'BankBMSP.peer')", members: ptr.To[int32](2)},
		"a stranger":                    {policy: "OR('BankAMSP.peer', 'Nobody.peer')", members: ptr.To[int32](2), want: []string{"spec.endorsementPolicy", `"Nobody"`, members}},
		"a stranger, committed":         {policy: "OR('BankAMSP.peer', 'Nobody.peer')", members: ptr.To[int32](2), committed: true},
		"a member of another site":      {policy: "OR('BankAMSP.peer', 'Nobody.peer')", members: ptr.To[int32](3)},
		"members are not known yet":     {policy: "OR('BankAMSP.peer', 'Nobody.peer')"},
		"collection of members":         {collections: private("OR('BankAMSP.member')", "/Channel/Application/Endorsement"), members: ptr.To[int32](2)},
		"collection of a stranger":      {collections: private("OR('Nobody.member')", ""), members: ptr.To[int32](2), want: []string{`collection "prices"`, `"Nobody"`, members}},
		"collection endorsed by others": {collections: private("OR('BankAMSP.member')", "OR('Nobody.peer')"), members: ptr.To[int32](2), want: []string{`collection "prices"`, `"Nobody"`}},
		"no policy":                     {collections: private("OR(", ""), members: ptr.To[int32](2), want: []string{`collection "prices"`}},
	} {
		t.Run(name, func(t *testing.T) {
			w := &world{
				chaincode: &v1alpha1.Chaincode{Spec: v1alpha1.ChaincodeSpec{Channel: "demo", Version: "1", EndorsementPolicy: c.policy}},
				channel:   &v1alpha1.Channel{Status: v1alpha1.ChannelStatus{Members: c.members}},
				parties:   []*member{{org: &access.Organization{MSPID: "BankBMSP"}}, {org: &access.Organization{MSPID: "BankAMSP"}}}, collections: c.collections,
			}
			if c.committed {
				w.committed = &admin.Committed{Version: "1", Sequence: 1, Policy: c.policy}
			}
			err := w.strangers()
			if len(c.want) == 0 {
				if err != nil {
					t.Errorf("refused: %v", err)
				}
				return
			}
			i, ok := kube.AsIntent(err)
			if !ok || !i.Stalled || i.Reason != v1alpha1.ReasonInvalidSpec {
				t.Fatalf("got %v", err)
			}
			for _, word := range c.want {
				if !strings.Contains(i.Message, word) {
					t.Errorf("does not say %q: %s", word, i.Message)
				}
			}
		})
	}
}

// TestCheck: what no peer would take is refused before any is asked.
func TestCheck(t *testing.T) {
	for name, c := range map[string]struct {
		spec v1alpha1.ChaincodeSpec
		want string
	}{
		"good":                {v1alpha1.ChaincodeSpec{ChaincodeName: "asset", EndorsementPolicy: "OR('BankAMSP.peer')"}, ""},
		"a contract's own":    {v1alpha1.ChaincodeSpec{ChaincodeName: "lscc"}, `spec.chaincodeName: "lscc"`},
		"a policy cut off":    {v1alpha1.ChaincodeSpec{ChaincodeName: "asset", EndorsementPolicy: "OR('BankAMSP.peer'"}, "spec.endorsementPolicy"},
		"an impossible one":   {v1alpha1.ChaincodeSpec{ChaincodeName: "asset", EndorsementPolicy: "OutOf(2, 'BankAMSP.peer')"}, "spec.endorsementPolicy"},
		"collections cut off": {v1alpha1.ChaincodeSpec{ChaincodeName: "asset", Collections: "[{"}, "spec.collections"},
	} {
		t.Run(name, func(t *testing.T) {
			err := (&world{chaincode: &v1alpha1.Chaincode{Spec: c.spec}}).check()
			i, ok := kube.AsIntent(err)
			if c.want == "" && err != nil || c.want != "" && (!ok || !i.Stalled || !strings.Contains(i.Message, c.want)) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}
