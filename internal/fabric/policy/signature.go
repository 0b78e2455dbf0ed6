package policy

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	cb "github.com/hyperledger/fabric-protos-go-apiv2/common"
	mspproto "github.com/hyperledger/fabric-protos-go-apiv2/msp"
	"google.golang.org/protobuf/proto"
)

// roles in the notation, in lower case.
func roleOf(word string) (mspproto.MSPRole_MSPRoleType, bool) {
	role, ok := mspproto.MSPRole_MSPRoleType_value[strings.ToUpper(word)]
	return mspproto.MSPRole_MSPRoleType(role), ok && word == strings.ToLower(word)
}

// Signature parses a rule of AND(…), OR(…), OutOf(n, …) over principals such
// as 'BankaMSP.peer'. The names of the gates are read in any case.
func Signature(rule string) (*cb.SignaturePolicyEnvelope, error) {
	p := &parser{text: rule}
	root, err := p.rule(0)
	if err == nil && p.peek() != 0 {
		err = fmt.Errorf("unexpected %q after the end", p.text[p.at:])
	}
	if err != nil {
		return nil, fmt.Errorf("parse signature policy %q: %w", rule, err)
	}
	envelope := &cb.SignaturePolicyEnvelope{}
	envelope.Rule = root.policy(&envelope.Identities)
	return envelope, nil
}

// Format writes a signature policy in the notation that Signature reads. A
// policy on anything but roles has no such notation.
func Format(envelope *cb.SignaturePolicyEnvelope) (string, error) {
	names := make([]string, 0, len(envelope.GetIdentities()))
	for _, principal := range envelope.GetIdentities() {
		if principal.GetPrincipalClassification() != mspproto.MSPPrincipal_ROLE {
			return "", fmt.Errorf("format signature policy: a principal of kind %s has no notation", principal.GetPrincipalClassification())
		}
		var role mspproto.MSPRole
		if err := proto.Unmarshal(principal.GetPrincipal(), &role); err != nil {
			return "", fmt.Errorf("format signature policy: %w", err)
		}
		name := "'" + role.GetMspIdentifier() + "." + strings.ToLower(role.GetRole().String()) + "'"
		if strings.ContainsAny(role.GetMspIdentifier(), "'\"") || role.GetMspIdentifier() == "" {
			return "", fmt.Errorf("format signature policy: MSP id %q has no notation", role.GetMspIdentifier())
		}
		if _, ok := roleOf(strings.ToLower(role.GetRole().String())); !ok {
			return "", fmt.Errorf("format signature policy: unknown role %s", role.GetRole())
		}
		names = append(names, name)
	}
	return format(envelope.GetRule(), names, 0)
}

// Members lists the MSP ids that a signature policy speaks of, sorted.
func Members(envelope *cb.SignaturePolicyEnvelope) []string {
	var out []string
	for _, principal := range envelope.GetIdentities() {
		var role mspproto.MSPRole
		if proto.Unmarshal(principal.GetPrincipal(), &role) == nil && !slices.Contains(out, role.GetMspIdentifier()) {
			out = append(out, role.GetMspIdentifier())
		}
	}
	slices.Sort(out)
	return out
}

func format(rule *cb.SignaturePolicy, names []string, depth int) (string, error) {
	if depth > maxDepth {
		return "", errTooDeep
	}
	switch kind := rule.GetType().(type) {
	case *cb.SignaturePolicy_SignedBy:
		if kind.SignedBy < 0 || int(kind.SignedBy) >= len(names) {
			return "", fmt.Errorf("format signature policy: there is no principal %d", kind.SignedBy)
		}
		return names[kind.SignedBy], nil
	case *cb.SignaturePolicy_NOutOf_:
		parts := make([]string, 0, len(kind.NOutOf.GetRules()))
		for _, sub := range kind.NOutOf.GetRules() {
			part, err := format(sub, names, depth+1)
			if err != nil {
				return "", err
			}
			parts = append(parts, part)
		}
		if len(parts) == 0 {
			return "", errors.New("format signature policy: a gate without rules has no notation")
		}
		list := strings.Join(parts, ", ")
		switch int(kind.NOutOf.GetN()) {
		case 1:
			return "OR(" + list + ")", nil
		case len(parts):
			return "AND(" + list + ")", nil
		}
		return fmt.Sprintf("OutOf(%d, %s)", kind.NOutOf.GetN(), list), nil
	}
	return "", errors.New("format signature policy: the rule is empty")
}
