package policy

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	cb "github.com/hyperledger/fabric-protos-go-apiv2/common"
	mspproto "github.com/hyperledger/fabric-protos-go-apiv2/msp"
	"google.golang.org/protobuf/proto"
)

// maxDepth bounds nesting; no policy that a person writes comes near it.
const maxDepth = 32

var errTooDeep = fmt.Errorf("rules are nested more than %d deep", maxDepth)

// node is a rule before its principals are numbered: a gate, or a principal if
// it has no parts.
type node struct {
	needed    int
	parts     []*node
	principal *mspproto.MSPPrincipal
}

// policy numbers principals as Fabric's own tools do: within a gate the gates
// come first, and a principal is written down anew each time. It has no meaning, but contracts
// are approved by comparing bytes, also with organisations that use other tools.
func (n *node) policy(identities *[]*mspproto.MSPPrincipal) *cb.SignaturePolicy {
	if n.principal != nil {
		*identities = append(*identities, n.principal)
		return &cb.SignaturePolicy{Type: &cb.SignaturePolicy_SignedBy{SignedBy: int32(len(*identities) - 1)}} //nolint:gosec // bounded by the rule's length
	}
	rules := make([]*cb.SignaturePolicy, len(n.parts))
	for _, gates := range []bool{true, false} {
		for i, part := range n.parts {
			if (part.principal == nil) == gates {
				rules[i] = part.policy(identities)
			}
		}
	}
	return &cb.SignaturePolicy{Type: &cb.SignaturePolicy_NOutOf_{
		NOutOf: &cb.SignaturePolicy_NOutOf{N: int32(n.needed), Rules: rules}, //nolint:gosec // at most len(rules)
	}}
}

// parser reads one rule from left to right.
type parser struct {
	text string
	at   int
}

func (p *parser) peek() byte {
	for p.at < len(p.text) && strings.ContainsRune(" \t\r\n", rune(p.text[p.at])) {
		p.at++
	}
	if p.at == len(p.text) {
		return 0
	}
	return p.text[p.at]
}

func (p *parser) expect(c byte) error {
	if got := p.peek(); got != c {
		return fmt.Errorf("expected %q at position %d", c, p.at+1)
	}
	p.at++
	return nil
}

func (p *parser) rule(depth int) (*node, error) {
	if depth > maxDepth {
		return nil, errTooDeep
	}
	if c := p.peek(); c == '\'' || c == '"' {
		return p.principal(c)
	}
	return p.gate(depth)
}

func (p *parser) gate(depth int) (*node, error) {
	word := p.word()
	if err := p.expect('('); err != nil {
		return nil, err
	}
	needed := 0
	switch strings.ToLower(word) {
	case "or":
		needed = 1
	case "and":
	case "outof":
		n, err := strconv.Atoi(p.word())
		if err != nil || n < 1 {
			return nil, errors.New("OutOf starts with how many rules have to hold, at least 1")
		}
		if err := p.expect(','); err != nil {
			return nil, err
		}
		needed = n
	default:
		return nil, fmt.Errorf("%q is none of AND, OR, OutOf", word)
	}
	parts, err := p.parts(depth)
	if err != nil {
		return nil, err
	}
	if needed == 0 {
		needed = len(parts)
	}
	if needed > len(parts) {
		return nil, fmt.Errorf("OutOf wants %d of %d rules", needed, len(parts))
	}
	return &node{needed: needed, parts: parts}, nil
}

func (p *parser) parts(depth int) ([]*node, error) {
	var parts []*node
	for {
		part, err := p.rule(depth + 1)
		if err != nil {
			return nil, err
		}
		parts = append(parts, part)
		if p.peek() != ',' {
			return parts, p.expect(')')
		}
		p.at++
	}
}

func (p *parser) word() string {
	p.peek()
	start := p.at
	for p.at < len(p.text) {
		c := p.text[p.at]
		if c < '0' || c > '9' && c < 'A' || c > 'Z' && c < 'a' || c > 'z' {
			break
		}
		p.at++
	}
	return p.text[start:p.at]
}

func (p *parser) principal(quote byte) (*node, error) {
	p.at++
	end := strings.IndexByte(p.text[p.at:], quote)
	if end < 0 {
		return nil, errors.New("a quotation mark is not closed")
	}
	name := p.text[p.at : p.at+end]
	p.at += end + 1
	dot := strings.LastIndexByte(name, '.')
	if dot <= 0 || strings.ContainsAny(name, "'\"") {
		return nil, fmt.Errorf("principal %q is not of the form 'MSP.role'", name)
	}
	role, ok := roleOf(name[dot+1:])
	if !ok {
		return nil, fmt.Errorf("principal %q: the role is none of member, admin, client, peer, orderer", name)
	}
	raw, err := proto.MarshalOptions{Deterministic: true}.Marshal(&mspproto.MSPRole{MspIdentifier: name[:dot], Role: role})
	if err != nil {
		return nil, fmt.Errorf("principal %q: %w", name, err)
	}
	return &node{principal: &mspproto.MSPPrincipal{PrincipalClassification: mspproto.MSPPrincipal_ROLE, Principal: raw}}, nil
}
