package channelconfig

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	cb "github.com/hyperledger/fabric-protos-go-apiv2/common"
	"google.golang.org/protobuf/proto"
)

// ErrStale says that an update was made for another configuration than this one.
var ErrStale = errors.New("the update was made for another configuration")

// Apply works out what the configuration becomes by an update that somebody else made, without asking for signatures.
// The rule is the orderers': what is written with a version of its own is new, and may be so only if it is the next
// one; all else stays as it is. A read version that is not the configuration's is ErrStale.
func (c *Config) Apply(raw []byte) (*Config, error) {
	var update cb.ConfigUpdate
	if err := proto.Unmarshal(raw, &update); err != nil {
		return nil, fmt.Errorf("read update of channel %q: %w", c.Channel.ID, err)
	}
	if update.GetChannelId() != c.Channel.ID {
		return nil, fmt.Errorf("read update of channel %q: it is for channel %q", c.Channel.ID, update.GetChannelId())
	}
	if update.GetWriteSet() == nil {
		return nil, fmt.Errorf("read update of channel %q: it writes nothing", c.Channel.ID)
	}
	top := c.Raw.GetChannelGroup()
	if err := sameVersions("/"+rootGroup, top, update.GetReadSet()); err != nil {
		return nil, err
	}
	group, err := applyGroup("/"+rootGroup, top, update.GetReadSet(), update.GetWriteSet())
	if err != nil {
		return nil, err
	}
	return FromRaw(c.Channel.ID, &cb.Config{Sequence: c.Sequence + 1, ChannelGroup: group})
}

// sameVersions holds what an update read against what there is.
func sameVersions(path string, have, read *cb.ConfigGroup) error {
	if read == nil {
		return nil
	}
	if have == nil || have.GetVersion() != read.GetVersion() {
		return fmt.Errorf("%s: %w", path, ErrStale)
	}
	for key, v := range read.GetValues() {
		if h := have.GetValues()[key]; h == nil || h.GetVersion() != v.GetVersion() {
			return fmt.Errorf("%s/%s: %w", path, key, ErrStale)
		}
	}
	for key, p := range read.GetPolicies() {
		if h := have.GetPolicies()[key]; h == nil || h.GetVersion() != p.GetVersion() {
			return fmt.Errorf("%s/%s: %w", path, key, ErrStale)
		}
	}
	for key, g := range read.GetGroups() {
		if err := sameVersions(path+"/"+key, have.GetGroups()[key], g); err != nil {
			return err
		}
	}
	return nil
}

// versioned is what values, policies and groups have in common.
type versioned interface {
	comparable
	GetVersion() uint64
}

// next tells whether an element that is written is new, and refuses a version that is not the next one.
func next[V versioned](path string, have, read, write V) (bool, error) {
	var none V
	if read != none && write.GetVersion() == read.GetVersion() {
		if have == none {
			return false, fmt.Errorf("%s: %w", path, ErrStale)
		}
		return false, nil
	}
	want := uint64(0)
	if have != none {
		want = have.GetVersion() + 1
	}
	if write.GetVersion() != want {
		return false, fmt.Errorf("%s has version %d in the update and must have %d: %w", path, write.GetVersion(), want, ErrStale)
	}
	return true, nil
}

// applyGroup is the group after the update. A group with a new version has the members that are written, one without
// keeps those it has.
func applyGroup(path string, have, read, write *cb.ConfigGroup) (*cb.ConfigGroup, error) {
	changed, err := next(path, have, read, write)
	if err != nil {
		return nil, err
	}
	out := &cb.ConfigGroup{Version: have.GetVersion(), ModPolicy: have.GetModPolicy()}
	if changed {
		out.Version, out.ModPolicy = write.GetVersion(), write.GetModPolicy()
	}
	values, err := applyMembers(path, changed, have.GetValues(), read.GetValues(), write.GetValues())
	if err != nil {
		return nil, err
	}
	policies, err := applyMembers(path, changed, have.GetPolicies(), read.GetPolicies(), write.GetPolicies())
	if err != nil {
		return nil, err
	}
	out.Values, out.Policies, out.Groups = values, policies, map[string]*cb.ConfigGroup{}
	if !changed {
		for key, g := range have.GetGroups() {
			out.Groups[key] = g
		}
	}
	for key, g := range write.GetGroups() {
		if !changed && have.GetGroups()[key] == nil {
			return nil, fmt.Errorf("%s/%s is new in a group of the same version", path, key)
		}
		if out.Groups[key], err = applyGroup(path+"/"+key, have.GetGroups()[key], read.GetGroups()[key], g); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func applyMembers[V versioned](path string, changed bool, have, read, write map[string]V) (map[string]V, error) {
	out := map[string]V{}
	if !changed {
		for key, v := range have {
			out[key] = v
		}
	}
	for key, v := range write {
		here := path + "/" + key
		is, err := next(here, have[key], read[key], v)
		if err != nil {
			return nil, err
		}
		_, exists := have[key]
		switch {
		case !changed && !exists:
			return nil, fmt.Errorf("%s is new in a group of the same version", here)
		case is:
			out[key] = v
		default:
			out[key] = have[key]
		}
	}
	return out, nil
}

// Explain says in words everything that leads from this configuration to another one of the same channel, and names by
// its path what there are no words for: nobody signs what is not shown.
func (c *Config) Explain(to *Config) ([]Change, error) {
	changes := Diff(c.Channel, to.Channel)
	base, err := build(c.Channel)
	if err != nil {
		return nil, fmt.Errorf("explain update of channel %q: %w", c.Channel.ID, err)
	}
	target, err := build(to.Channel)
	if err != nil {
		return nil, fmt.Errorf("explain update of channel %q: %w", c.Channel.ID, err)
	}
	explained, ok := proto.Clone(c.Raw.GetChannelGroup()).(*cb.ConfigGroup)
	if !ok {
		return nil, errors.New("copy configuration: unexpected type")
	}
	merge(explained, base, target)
	d := differences(changes)
	d.rest("/"+rootGroup, explained, to.Raw.GetChannelGroup())
	return d, nil
}

// rest names what differs in two groups; versions apart.
func (d *differences) rest(path string, a, b *cb.ConfigGroup) {
	if a == nil || b == nil {
		if a != b {
			d.add(path, "Change the group %s, for which there are no words", path)
		}
		return
	}
	d.modPolicy(path, a.GetModPolicy(), b.GetModPolicy())
	for _, key := range sorted(union(a.GetValues(), b.GetValues())) {
		x, y, here := a.GetValues()[key], b.GetValues()[key], path+"/"+key
		if (x == nil) != (y == nil) || !bytes.Equal(x.GetValue(), y.GetValue()) {
			d.add(here, "Change the value %s, for which there are no words", here)
		}
		d.modPolicy(here, x.GetModPolicy(), y.GetModPolicy())
	}
	for _, key := range sorted(union(a.GetPolicies(), b.GetPolicies())) {
		x, y, here := a.GetPolicies()[key], b.GetPolicies()[key], path+"/"+key
		if (x == nil) != (y == nil) || !proto.Equal(x.GetPolicy(), y.GetPolicy()) {
			d.add(here, "Change the policy %s, for which there are no words", here)
		}
		d.modPolicy(here, x.GetModPolicy(), y.GetModPolicy())
	}
	for _, key := range sorted(union(a.GetGroups(), b.GetGroups())) {
		d.rest(path+"/"+key, a.GetGroups()[key], b.GetGroups()[key])
	}
}

func (d *differences) modPolicy(path, from, to string) {
	if from != to {
		d.add(path, "Change who may change %s from %q to %q", path, from, to)
	}
}

// Organizations are the MSP ids of everybody in the configuration, sorted.
func (c *Config) Organizations() []string {
	var out []string
	for _, list := range [][]Organization{c.Channel.OrdererOrgs, c.Channel.ApplicationOrgs} {
		for _, o := range list {
			out = append(out, o.MSPID)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}
