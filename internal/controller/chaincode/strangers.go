package chaincode

import (
	"fmt"
	"slices"
	"strings"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/fabric/policy"
	"heddle.dev/heddle/internal/kube"
)

// strangers refuses a definition whose policies name organisations that are not on the channel: peers take it, and every
// transaction fails. What is committed already stays; and members of other sites are not known here, so a channel that
// has some is left to its members.
func (w *world) strangers() error {
	if w.done() || w.channel.Status.Members == nil || int(*w.channel.Status.Members) != len(w.parties) {
		return nil
	}
	var members []string
	for _, m := range w.parties {
		members = append(members, m.org.MSPID)
	}
	slices.Sort(members)
	rules := []struct{ field, text string }{{"spec.endorsementPolicy", w.chaincode.Spec.EndorsementPolicy}}
	for _, c := range w.collections {
		field := fmt.Sprintf("spec.collections, collection %q", c.Name)
		rules = append(rules, struct{ field, text string }{field, c.Policy}, struct{ field, text string }{field, c.EndorsementPolicy})
	}
	for _, rule := range rules {
		if rule.text == "" || rule.text[0] == '/' {
			continue
		}
		envelope, err := policy.Signature(rule.text)
		if err != nil {
			return kube.Stalled(v1alpha1.ReasonInvalidSpec, "%s: %s", rule.field, err)
		}
		for _, name := range policy.Members(envelope) {
			if !slices.Contains(members, name) {
				return kube.Stalled(v1alpha1.ReasonInvalidSpec, "%s names %q, which is no member of channel %q: its members are %s",
					rule.field, name, w.chaincode.Spec.Channel, strings.Join(members, ", "))
			}
		}
	}
	return nil
}
