package channel

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"heddle.dev/heddle/internal/fabric/channelconfig"
	"heddle.dev/heddle/internal/fabric/policy"
)

// settings is a channel's configuration as flat keys and values: what is compared and remembered. Certificates are
// there as hashes. A key that is absent has the value "".
type settings map[string]string

// The prefixes of keys that carry a name.
const (
	prefixPolicy    = "policies."
	prefixACL       = "acls."
	prefixMember    = "members."
	prefixAnchors   = "anchors."
	prefixOrderers  = "ordererOrganizations."
	prefixEndpoints = "endpoints."
	prefixConsenter = "consenters."
)

const blockValidation = "BlockValidation"

// flatten turns a configuration into settings.
func flatten(c channelconfig.Channel) settings {
	s := settings{
		"batch.timeoutMilliseconds": strconv.FormatInt(c.Batch.Timeout.Milliseconds(), 10),
		"batch.maxMessageCount":     strconv.FormatUint(uint64(c.Batch.MaxMessages), 10),
		"batch.preferredMaxKiB":     strconv.FormatUint(uint64(c.Batch.PreferredMaxBytes>>10), 10),
		"batch.absoluteMaxKiB":      strconv.FormatUint(uint64(c.Batch.AbsoluteMaxBytes>>10), 10),
		"capabilities.channel":      c.Capabilities.Channel,
		"capabilities.orderer":      c.Capabilities.Orderer,
		"capabilities.application":  c.Capabilities.Application,
	}
	for group, policies := range groupsOf(&c) {
		for name, p := range policies {
			if derivedPolicy(c.Consensus, group, name) {
				continue
			}
			s[prefixPolicy+group+"."+name] = spell(p)
		}
	}
	for resource, p := range c.ACLs {
		s[prefixACL+resource] = p
	}
	for _, o := range c.ApplicationOrgs {
		s[prefixMember+o.Key()] = digest(o)
		s[prefixAnchors+o.Key()] = joinSorted(addresses(o.Anchors))
	}
	for _, o := range c.OrdererOrgs {
		s[prefixOrderers+o.Key()] = digest(o)
		s[prefixEndpoints+o.Key()] = joinSorted(o.Endpoints)
	}
	for _, n := range c.Consenters {
		s[prefixConsenter+n.Address().String()] = consenterDigest(n, c.Consensus)
	}
	maps.DeleteFunc(s, func(_, v string) bool { return v == "" })
	return s
}

// groupsOf gives the policies by the name of their group in the API.
func groupsOf(c *channelconfig.Channel) map[string]map[string]channelconfig.Policy {
	return map[string]map[string]channelconfig.Policy{
		"Channel": c.Policies.Channel, "Orderer": c.Policies.Orderer, "Application": c.Policies.Application,
	}
}

// derivedPolicy tells policies that follow from the consenters and are nobody's wish.
func derivedPolicy(consensus channelconfig.Consensus, group, name string) bool {
	return consensus == channelconfig.BFT && group == "Orderer" && name == blockValidation
}

// spell writes a policy in one way, whatever the blanks in the spec.
func spell(p channelconfig.Policy) string {
	rule := p.Rule
	switch p.Type {
	case channelconfig.ImplicitMeta:
		if m, err := policy.Implicit(p.Rule); err == nil {
			rule = policy.FormatImplicit(m)
		}
	case channelconfig.Signature:
		if m, err := policy.Signature(p.Rule); err == nil {
			if text, err := policy.Format(m); err == nil {
				rule = text
			}
		}
	case channelconfig.Opaque:
		return short([]byte(p.Rule))
	}
	return rule
}

// digest is an organisation without what has keys of its own.
func digest(o channelconfig.Organization) string {
	var policies strings.Builder
	for _, name := range slices.Sorted(maps.Keys(o.Policies)) {
		fmt.Fprintf(&policies, "%s=%s\n", name, spell(o.Policies[name]))
	}
	raw, err := json.Marshal([]any{o.MSPID, o.MSP, policies.String()})
	if err != nil {
		// Strings and bytes can always be encoded.
		return ""
	}
	return short(raw)
}

func consenterDigest(c channelconfig.Consenter, consensus channelconfig.Consensus) string {
	parts := [][]byte{c.ClientTLS, c.ServerTLS}
	if consensus == channelconfig.BFT {
		parts = append(parts, []byte(c.MSPID), c.Identity)
	}
	raw, err := json.Marshal(parts)
	if err != nil {
		return ""
	}
	return short(raw)
}

// hash of all settings, in hexadecimal.
func (s settings) hash() string {
	// Maps are encoded with sorted keys.
	raw, err := json.Marshal(s)
	if err != nil {
		return ""
	}
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:])
}

func short(raw []byte) string {
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:8])
}

func addresses(list []channelconfig.Address) []string {
	out := make([]string, 0, len(list))
	for _, a := range list {
		out = append(out, a.String())
	}
	return out
}

func joinSorted(list []string) string {
	list = slices.Clone(list)
	slices.Sort(list)
	return strings.Join(list, ",")
}

// adopt carries the settings named by keys over from the wish to the target; consenters have their own way.
func adopt(target *channelconfig.Channel, wish channelconfig.Channel, keys []string) {
	for _, key := range keys {
		switch {
		case strings.HasPrefix(key, "batch."):
			adoptBatch(&target.Batch, wish.Batch, key)
		case strings.HasPrefix(key, "capabilities."):
			adoptCapability(&target.Capabilities, wish.Capabilities, key)
		case strings.HasPrefix(key, prefixPolicy):
			group, name, _ := strings.Cut(strings.TrimPrefix(key, prefixPolicy), ".")
			adoptEntry(groupsOf(target)[group], groupsOf(&wish)[group], name)
		case strings.HasPrefix(key, prefixACL):
			if target.ACLs == nil {
				target.ACLs = map[string]string{}
			}
			adoptEntry(target.ACLs, wish.ACLs, strings.TrimPrefix(key, prefixACL))
		case strings.HasPrefix(key, prefixMember):
			target.ApplicationOrgs = adoptOrg(target.ApplicationOrgs, wish.ApplicationOrgs, strings.TrimPrefix(key, prefixMember))
		case strings.HasPrefix(key, prefixOrderers):
			target.OrdererOrgs = adoptOrg(target.OrdererOrgs, wish.OrdererOrgs, strings.TrimPrefix(key, prefixOrderers))
		case strings.HasPrefix(key, prefixAnchors):
			i, j := indexOrg(target.ApplicationOrgs, key, prefixAnchors), indexOrg(wish.ApplicationOrgs, key, prefixAnchors)
			if i >= 0 && j >= 0 {
				target.ApplicationOrgs[i].Anchors = wish.ApplicationOrgs[j].Anchors
			}
		case strings.HasPrefix(key, prefixEndpoints):
			i, j := indexOrg(target.OrdererOrgs, key, prefixEndpoints), indexOrg(wish.OrdererOrgs, key, prefixEndpoints)
			if i >= 0 && j >= 0 {
				target.OrdererOrgs[i].Endpoints = wish.OrdererOrgs[j].Endpoints
			}
		}
	}
}

func adoptBatch(target *channelconfig.Batch, wish channelconfig.Batch, key string) {
	switch key {
	case "batch.timeoutMilliseconds":
		target.Timeout = wish.Timeout
	case "batch.maxMessageCount":
		target.MaxMessages = wish.MaxMessages
	case "batch.preferredMaxKiB":
		target.PreferredMaxBytes = wish.PreferredMaxBytes
	case "batch.absoluteMaxKiB":
		target.AbsoluteMaxBytes = wish.AbsoluteMaxBytes
	}
}

func adoptCapability(target *channelconfig.Capabilities, wish channelconfig.Capabilities, key string) {
	switch key {
	case "capabilities.channel":
		target.Channel = wish.Channel
	case "capabilities.orderer":
		target.Orderer = wish.Orderer
	case "capabilities.application":
		target.Application = wish.Application
	}
}

func adoptEntry[V any](target, wish map[string]V, key string) {
	v, ok := wish[key]
	if !ok {
		delete(target, key)
		return
	}
	target[key] = v
}

func adoptOrg(target, wish []channelconfig.Organization, key string) []channelconfig.Organization {
	at := func(list []channelconfig.Organization) int {
		return slices.IndexFunc(list, func(o channelconfig.Organization) bool { return o.Key() == key })
	}
	i, j := at(target), at(wish)
	switch {
	case j < 0 && i >= 0:
		return slices.Delete(target, i, i+1)
	case j >= 0 && i < 0:
		return append(target, wish[j])
	case j >= 0:
		anchors, endpoints := target[i].Anchors, target[i].Endpoints
		target[i] = wish[j]
		target[i].Anchors, target[i].Endpoints = anchors, endpoints
	}
	return target
}

func indexOrg(list []channelconfig.Organization, key, prefix string) int {
	name := strings.TrimPrefix(key, prefix)
	return slices.IndexFunc(list, func(o channelconfig.Organization) bool { return o.Key() == name })
}

// words says how one setting differs.
func words(key, ledger, wish string) string {
	kind, name, _ := strings.Cut(key, ".")
	switch kind + "." {
	case prefixMember, prefixOrderers, prefixConsenter:
		what := map[string]string{"members": "member", "ordererOrganizations": "ordering organization", "consenters": "consenter"}[kind]
		switch {
		case ledger == "":
			return fmt.Sprintf("%s %s is not in the ledger's configuration", what, name)
		case wish == "":
			return fmt.Sprintf("%s %s is in the ledger's configuration and not in the spec", what, name)
		}
		return fmt.Sprintf("%s %s has other certificates or policies in the ledger's configuration", what, name)
	}
	return fmt.Sprintf("%s is %s on the ledger and %s in the spec", key, orNothing(ledger), orNothing(wish))
}

func orNothing(s string) string {
	if s == "" {
		return "not set"
	}
	return strconv.Quote(s)
}

// milliseconds of a spec as a duration.
func milliseconds(n int32) time.Duration { return time.Duration(n) * time.Millisecond }
