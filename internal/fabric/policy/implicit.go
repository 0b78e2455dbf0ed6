package policy

import (
	"fmt"
	"strings"

	cb "github.com/hyperledger/fabric-protos-go-apiv2/common"
)

// Implicit parses a rule such as "MAJORITY Admins": how many of the groups
// below have to satisfy their policy of that name.
func Implicit(rule string) (*cb.ImplicitMetaPolicy, error) {
	words := strings.Fields(rule)
	if len(words) != 2 {
		return nil, fmt.Errorf("parse implicit policy %q: it is not of the form ANY, ALL or MAJORITY and a name", rule)
	}
	n, ok := cb.ImplicitMetaPolicy_Rule_value[strings.ToUpper(words[0])]
	if !ok {
		return nil, fmt.Errorf("parse implicit policy %q: %q is none of ANY, ALL, MAJORITY", rule, words[0])
	}
	return &cb.ImplicitMetaPolicy{SubPolicy: words[1], Rule: cb.ImplicitMetaPolicy_Rule(n)}, nil
}

// FormatImplicit writes what Implicit reads.
func FormatImplicit(p *cb.ImplicitMetaPolicy) string {
	return p.GetRule().String() + " " + p.GetSubPolicy()
}
