package channelconfig

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	cb "github.com/hyperledger/fabric-protos-go-apiv2/common"
	mspproto "github.com/hyperledger/fabric-protos-go-apiv2/msp"
	"google.golang.org/protobuf/proto"
)

const (
	rootGroup = "Channel"
	// maxPolicyDepth bounds policies that refer to policies.
	maxPolicyDepth = 16
)

// Missing tells which policies would reject an update that one administrator
// of each of these organisations signed, by path and sorted. None means that
// they suffice: the update can go to the orderers and needs nobody else.
func (c *Config) Missing(u *Update, signers []string) ([]string, error) {
	var update cb.ConfigUpdate
	if err := proto.Unmarshal(u.Raw, &update); err != nil {
		return nil, fmt.Errorf("read update of channel %q: %w", u.ChannelID, err)
	}
	e := &evaluation{root: c.Raw.GetChannelGroup(), signers: signers, missing: map[string]bool{}}
	e.group([]string{rootGroup}, c.Raw.GetChannelGroup(), update.GetWriteSet())
	return slices.Sorted(maps.Keys(e.missing)), nil
}

// evaluation walks through what an update writes and asks the policy of each
// element that is there already. New elements need none of their own: the group
// around them changes, too.
type evaluation struct {
	root    *cb.ConfigGroup
	signers []string
	missing map[string]bool
}

func (e *evaluation) group(path []string, have, written *cb.ConfigGroup) {
	if have == nil {
		return
	}
	if written.GetVersion() > have.GetVersion() {
		e.require(path, have.GetModPolicy())
	}
	for key, value := range written.GetValues() {
		if old := have.GetValues()[key]; old != nil && value.GetVersion() > old.GetVersion() {
			e.require(path, old.GetModPolicy())
		}
	}
	for key, policy := range written.GetPolicies() {
		if old := have.GetPolicies()[key]; old != nil && policy.GetVersion() > old.GetVersion() {
			e.require(path, old.GetModPolicy())
		}
	}
	for key, sub := range written.GetGroups() {
		e.group(append(slices.Clone(path), key), have.GetGroups()[key], sub)
	}
}

// require notes a policy that is not satisfied. Its name is relative to the
// element's group unless it starts with a slash.
func (e *evaluation) require(path []string, name string) {
	full := "/" + strings.Join(path, "/") + "/" + name
	if strings.HasPrefix(name, "/") {
		full = name
	}
	parts := strings.Split(strings.TrimPrefix(full, "/"), "/")
	group, found := e.root, parts[0] == rootGroup && len(parts) > 1
	for _, part := range parts[1:max(1, len(parts)-1)] {
		group = group.GetGroups()[part]
	}
	if !found || group == nil || !e.satisfied(group, parts[len(parts)-1], 0) {
		e.missing[full] = true
	}
}

func (e *evaluation) satisfied(group *cb.ConfigGroup, name string, depth int) bool {
	config, ok := group.GetPolicies()[name]
	if !ok || depth > maxPolicyDepth {
		return false
	}
	switch cb.Policy_PolicyType(config.GetPolicy().GetType()) {
	case cb.Policy_IMPLICIT_META:
		var implicit cb.ImplicitMetaPolicy
		if proto.Unmarshal(config.GetPolicy().GetValue(), &implicit) != nil {
			return false
		}
		content, all := 0, len(group.GetGroups())
		for _, sub := range group.GetGroups() {
			if e.satisfied(sub, implicit.GetSubPolicy(), depth+1) {
				content++
			}
		}
		return content >= threshold(implicit.GetRule(), all)
	case cb.Policy_SIGNATURE:
		var envelope cb.SignaturePolicyEnvelope
		if proto.Unmarshal(config.GetPolicy().GetValue(), &envelope) != nil {
			return false
		}
		ok, _ := e.signed(&envelope, envelope.GetRule(), nil, depth)
		return ok
	}
	return false
}

func threshold(rule cb.ImplicitMetaPolicy_Rule, n int) int {
	switch {
	case n == 0:
		return 0
	case rule == cb.ImplicitMetaPolicy_ANY:
		return 1
	case rule == cb.ImplicitMetaPolicy_ALL:
		return n
	}
	return n/2 + 1
}

// signed evaluates a signature policy. A signature counts for one principal
// only, so the signers used up so far are handed on.
func (e *evaluation) signed(envelope *cb.SignaturePolicyEnvelope, rule *cb.SignaturePolicy, used []string, depth int) (bool, []string) {
	if depth > maxPolicyDepth {
		return false, used
	}
	switch kind := rule.GetType().(type) {
	case *cb.SignaturePolicy_SignedBy:
		if kind.SignedBy < 0 || int(kind.SignedBy) >= len(envelope.GetIdentities()) {
			return false, used
		}
		for _, signer := range e.signers {
			if !slices.Contains(used, signer) && administers(envelope.GetIdentities()[kind.SignedBy], signer) {
				return true, append(slices.Clone(used), signer)
			}
		}
	case *cb.SignaturePolicy_NOutOf_:
		content := int32(0)
		for _, sub := range kind.NOutOf.GetRules() {
			if ok, then := e.signed(envelope, sub, used, depth+1); ok {
				content, used = content+1, then
			}
		}
		return content >= kind.NOutOf.GetN(), used
	}
	return false, used
}

// administers tells whether an administrator of that organisation is the
// principal.
func administers(principal *mspproto.MSPPrincipal, mspID string) bool {
	if principal.GetPrincipalClassification() != mspproto.MSPPrincipal_ROLE {
		return false
	}
	var role mspproto.MSPRole
	if proto.Unmarshal(principal.GetPrincipal(), &role) != nil || role.GetMspIdentifier() != mspID {
		return false
	}
	return role.GetRole() == mspproto.MSPRole_ADMIN || role.GetRole() == mspproto.MSPRole_MEMBER
}
