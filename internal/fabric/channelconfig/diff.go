package channelconfig

import (
	"bytes"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// Change is one difference between two configurations.
type Change struct {
	// Path is where, such as "batch.timeout".
	Path string
	// Text says it in words.
	Text string
}

func (c Change) String() string { return c.Text }

func texts(changes []Change) []string {
	out := make([]string, 0, len(changes))
	for _, c := range changes {
		out = append(out, c.Text)
	}
	return out
}

// Diff says in words what leads from one configuration to another, in a fixed
// order. It is empty exactly if both mean the same.
func Diff(from, to Channel) []Change {
	var d differences
	d.text("channelID", "channel id", from.ID, to.ID)
	d.text("consensus", "consensus", string(from.Consensus), string(to.Consensus))
	d.consenters(from, to)
	d.batch(from.Batch, to.Batch)
	d.options("raft", from.RaftOptions, to.RaftOptions, to.Consensus == Raft)
	d.options("bft", from.BFTOptions, to.BFTOptions, to.Consensus == BFT)
	d.text("capabilities.channel", "channel capability", from.Capabilities.Channel, to.Capabilities.Channel)
	d.text("capabilities.orderer", "orderer capability", from.Capabilities.Orderer, to.Capabilities.Orderer)
	d.text("capabilities.application", "application capability", from.Capabilities.Application, to.Capabilities.Application)
	d.policies("policies.channel", "the channel", from.Policies.Channel, to.Policies.Channel)
	d.policies("policies.orderer", "the ordering service", from.Policies.Orderer, to.Policies.Orderer)
	d.policies("policies.application", "the application", from.Policies.Application, to.Policies.Application)
	d.acls(from.ACLs, to.ACLs)
	d.organizations("ordererOrganisations", "orderer organisation", from.OrdererOrgs, to.OrdererOrgs)
	d.organizations("applicationOrganisations", "organisation", from.ApplicationOrgs, to.ApplicationOrgs)
	return d
}

type differences []Change

func (d *differences) add(path, format string, args ...any) {
	*d = append(*d, Change{Path: path, Text: fmt.Sprintf(format, args...)})
}

func (d *differences) text(path, what, from, to string) {
	switch {
	case from == to:
	case from == "":
		d.add(path, "Set the %s to %s", what, to)
	case to == "":
		d.add(path, "Remove the %s, which is %s", what, from)
	default:
		d.add(path, "Change the %s from %s to %s", what, from, to)
	}
}

func (d *differences) batch(from, to Batch) {
	d.text("batch.timeout", "batch time-out", from.Timeout.String(), to.Timeout.String())
	for _, n := range []struct {
		path, what string
		from, to   uint32
	}{
		{"batch.maxMessages", "messages per block", from.MaxMessages, to.MaxMessages},
		{"batch.absoluteMaxBytes", "greatest size of a block in bytes", from.AbsoluteMaxBytes, to.AbsoluteMaxBytes},
		{"batch.preferredMaxBytes", "preferred size of a block in bytes", from.PreferredMaxBytes, to.PreferredMaxBytes},
	} {
		d.text(n.path, n.what, number(n.from), number(n.to))
	}
}

func number(n uint32) string { return strconv.FormatUint(uint64(n), 10) }

// options compares two option structs field by field.
func (d *differences) options(prefix string, from, to any, counts bool) {
	if !counts {
		return
	}
	a, b := reflect.ValueOf(from), reflect.ValueOf(to)
	for i := range a.NumField() {
		x, y := a.Field(i).Interface(), b.Field(i).Interface()
		if x == y {
			continue
		}
		name := a.Type().Field(i).Name
		d.add(prefix+"."+strings.ToLower(name[:1])+name[1:], "Change the %s option %s from %v to %v", prefix, name, x, y)
	}
}

func (d *differences) policies(path, where string, from, to map[string]Policy) {
	for _, name := range sorted(union(from, to)) {
		a, before := from[name]
		b, after := to[name]
		a, b = a.canonical(), b.canonical()
		here := path + "." + name
		switch {
		case a == b && before == after:
		case !before:
			d.add(here, "Add the policy %s of %s: %s", name, where, b.words())
		case !after:
			d.add(here, "Remove the policy %s of %s", name, where)
		default:
			d.add(here, "Change the policy %s of %s from %s to %s", name, where, a.words(), b.words())
		}
	}
}

// canonical spells a rule in one way, so that blanks make no difference.
func (p Policy) canonical() Policy {
	message, err := p.message()
	if err != nil || p.Type == Opaque {
		return p
	}
	return readPolicy(message)
}

func (p Policy) words() string {
	if p.Type == Opaque {
		return "a rule made elsewhere"
	}
	return p.Rule
}

func (d *differences) acls(from, to map[string]string) {
	for _, name := range sorted(union(from, to)) {
		d.text("acls."+name, "access rule of "+name, from[name], to[name])
	}
}

func (d *differences) consenters(from, to Channel) {
	for _, c := range from.Consenters {
		if findConsenter(to.Consenters, c.Address()) < 0 {
			d.add("consenters", "Remove the consenter %s", c.Address())
		}
	}
	for _, c := range to.Consenters {
		i := findConsenter(from.Consenters, c.Address())
		if i < 0 {
			d.add("consenters", "Add the consenter %s", c.Address())
			continue
		}
		d.consenter(from.Consenters[i], c, to.Consensus)
	}
	if kept := len(*d); kept == 0 && !slices.EqualFunc(from.Consenters, to.Consenters, func(a, b Consenter) bool { return a.Address() == b.Address() }) {
		d.add("consenters", "Reorder the consenters")
	}
}

func (d *differences) consenter(from, to Consenter, kind Consensus) {
	path := "consenters." + to.Address().String()
	if !bytes.Equal(from.ServerTLS, to.ServerTLS) || !bytes.Equal(from.ClientTLS, to.ClientTLS) {
		d.add(path, "Replace the TLS certificate of the consenter %s", to.Address())
	}
	if kind != BFT {
		return
	}
	if from.MSPID != to.MSPID || !bytes.Equal(from.Identity, to.Identity) {
		d.add(path, "Replace the enrolment certificate of the consenter %s", to.Address())
	}
	if from.ID != to.ID {
		d.add(path, "Change the number of the consenter %s from %d to %d", to.Address(), from.ID, to.ID)
	}
}

func (d *differences) organizations(path, what string, from, to []Organization) {
	for _, org := range from {
		if _, err := find(to, org.Key()); err != nil {
			d.add(path, "Remove the %s %s", what, org.Key())
		}
	}
	for _, org := range to {
		i, err := find(from, org.Key())
		if err != nil {
			d.add(path, "Add the %s %s", what, org.Key())
			continue
		}
		d.organization(fmt.Sprintf("%s[%s]", path, org.Key()), what+" "+org.Key(), from[i], org)
	}
}

func (d *differences) organization(path, where string, from, to Organization) {
	d.text(path+".mspID", "MSP id of the "+where, from.MSPID, to.MSPID)
	for _, part := range []struct {
		name     string
		from, to [][]byte
	}{
		{"roots", from.MSP.CACerts, to.MSP.CACerts},
		{"intermediates", from.MSP.IntermediateCerts, to.MSP.IntermediateCerts},
		{"TLS roots", from.MSP.TLSCACerts, to.MSP.TLSCACerts},
		{"TLS intermediates", from.MSP.TLSIntermediates, to.MSP.TLSIntermediates},
		{"admins", from.MSP.Admins, to.MSP.Admins},
		{"revocation lists", from.MSP.CRLs, to.MSP.CRLs},
	} {
		if !slices.EqualFunc(part.from, part.to, bytes.Equal) {
			d.add(path+".msp", "Replace the %s of the %s", part.name, where)
		}
	}
	if !reflect.DeepEqual(from.MSP.NodeOUs, to.MSP.NodeOUs) {
		d.add(path+".msp", "Change the role classification of the %s", where)
	}
	d.policies(path+".policies", "the "+where, from.Policies, to.Policies)
	d.list(path+".anchors", "anchor peers of the "+where, addressTexts(from.Anchors), addressTexts(to.Anchors))
	d.list(path+".endpoints", "orderer addresses of the "+where, from.Endpoints, to.Endpoints)
}

func (d *differences) list(path, what string, from, to []string) {
	if slices.Equal(from, to) {
		return
	}
	words := func(list []string) string {
		if len(list) == 0 {
			return "none"
		}
		return strings.Join(list, ", ")
	}
	d.add(path, "Change the %s from %s to %s", what, words(from), words(to))
}

func addressTexts(addresses []Address) []string {
	out := make([]string, 0, len(addresses))
	for _, a := range addresses {
		out = append(out, a.String())
	}
	return out
}

func findConsenter(consenters []Consenter, at Address) int {
	return slices.IndexFunc(consenters, func(c Consenter) bool { return c.Address() == at })
}
