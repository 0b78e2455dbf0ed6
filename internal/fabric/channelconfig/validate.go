package channelconfig

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"heddle.dev/heddle/internal/fabric/policy"
	"heddle.dev/heddle/internal/pki"
)

// maxChannelID is Fabric's limit, which leaves room for database names.
const maxChannelID = 249

var channelIDPattern = regexp.MustCompile(`^[a-z][a-z0-9.-]*$`)

// Problem is something wrong, or unwise, in a configuration.
type Problem struct {
	// Field is where, such as "batch.timeout" or "organisations[BankaMSP]".
	Field string
	// Message is a sentence that says what is wrong and what to do.
	Message string
	// Advice tells that it works all the same.
	Advice bool
}

func (p Problem) String() string { return p.Field + ": " + p.Message }

// Validate is nil if the configuration can be used; otherwise it joins every
// problem that is more than advice.
func (c Channel) Validate() error {
	var wrong []error
	for _, problem := range c.Problems() {
		if !problem.Advice {
			wrong = append(wrong, errors.New(problem.String()))
		}
	}
	return errors.Join(wrong...)
}

// Problems lists what is wrong and what is unwise, in a fixed order.
func (c Channel) Problems() []Problem {
	var l problems
	l.channelID(c.ID)
	l.consensus(c)
	l.consenters(c)
	l.batch(c.Batch)
	l.timing(c)
	l.organizations(c)
	l.policies("policies.channel", c.Policies.Channel, "Readers", "Writers", "Admins")
	l.policies("policies.orderer", c.Policies.Orderer, "Readers", "Writers", "Admins")
	l.policies("policies.application", c.Policies.Application, "Readers", "Writers", "Admins", "Endorsement", "LifecycleEndorsement")
	l.acls(c.ACLs)
	return l
}

// ValidateChannelID checks a channel's name alone.
func ValidateChannelID(id string) error {
	var l problems
	if l.channelID(id); len(l) > 0 {
		return errors.New(l[0].Message)
	}
	return nil
}

type problems []Problem

func (l *problems) add(field, format string, args ...any) {
	*l = append(*l, Problem{Field: field, Message: fmt.Sprintf(format, args...)})
}

func (l *problems) advise(field, format string, args ...any) {
	*l = append(*l, Problem{Field: field, Message: fmt.Sprintf(format, args...), Advice: true})
}

func (l *problems) channelID(id string) {
	switch {
	case id == "":
		l.add("channelID", "a channel needs an id")
	case len(id) > maxChannelID:
		l.add("channelID", "%d characters are too long; %d are allowed", len(id), maxChannelID)
	case !channelIDPattern.MatchString(id):
		l.add("channelID", "%q has to start with a lower-case letter and to consist of lower-case letters, digits, dots and hyphens", id)
	}
}

func (l *problems) consensus(c Channel) {
	n := len(c.Consenters)
	switch c.Consensus {
	case Raft:
		if n == 0 {
			l.add("consenters", "Raft needs at least one consenter")
		}
		if n > 0 && n%2 == 0 {
			l.advise("consenters", "%d consenters tolerate no more failures than %d; use an odd number", n, n-1)
		}
	case BFT:
		if n < 4 {
			l.add("consenters", "BFT needs at least 4 consenters to tolerate one that fails; there are %d", n)
		} else if (n-1)%3 != 0 {
			l.advise("consenters", "%d consenters tolerate no more failures than %d; use 3f+1 (4, 7, 10)", n, n-(n-1)%3)
		}
		if c.Capabilities.Channel != "V3_0" {
			l.add("capabilities.channel", "BFT needs the channel capability V3_0 (Fabric 3), not %q", c.Capabilities.Channel)
		}
	default:
		l.add("consensus", "%q is neither raft nor bft", c.Consensus)
	}
}

func (l *problems) consenters(c Channel) {
	addresses, certs, ids := map[Address]bool{}, map[string]string{}, map[uint32]bool{}
	for i, consenter := range c.Consenters {
		field := fmt.Sprintf("consenters[%d]", i)
		if consenter.Host == "" || consenter.Port == 0 || consenter.Port > 65535 {
			l.add(field, "%q is not an address of host and port", consenter.Address())
		}
		if addresses[consenter.Address()] {
			l.add(field, "%s stands in the list twice", consenter.Address())
		}
		addresses[consenter.Address()] = true
		l.certificate(field+".serverTLS", consenter.ServerTLS)
		l.certificate(field+".clientTLS", consenter.ClientTLS)
		for _, cert := range []string{string(consenter.ServerTLS), string(consenter.ClientTLS)} {
			if owner, taken := certs[cert]; taken && owner != consenter.Address().String() {
				l.add(field, "its TLS certificate is the one of %s; each consenter needs its own", owner)
				break
			}
			certs[cert] = consenter.Address().String()
		}
		if c.Consensus != BFT {
			continue
		}
		if consenter.ID == 0 || ids[consenter.ID] {
			l.add(field+".id", "BFT needs a number of its own for each consenter, from 1 on; %d is not", consenter.ID)
		}
		ids[consenter.ID] = true
		l.certificate(field+".identity", consenter.Identity)
		if !slices.ContainsFunc(c.OrdererOrgs, func(o Organization) bool { return o.MSPID == consenter.MSPID }) {
			l.add(field+".mspID", "%q is not the MSP of an orderer organisation of the channel", consenter.MSPID)
		}
	}
}

func (l *problems) certificate(field string, text []byte) {
	if _, err := pki.ParseCert(text); err != nil {
		l.add(field, "there is no certificate: %v", err)
	}
}

func (l *problems) batch(b Batch) {
	if b.Timeout <= 0 {
		l.add("batch.timeout", "%s is not positive", b.Timeout)
	} else if b.Timeout < time.Millisecond {
		l.add("batch.timeout", "%s is under a millisecond", b.Timeout)
	}
	if b.MaxMessages == 0 {
		l.add("batch.maxMessages", "at least one message has to fit into a block")
	}
	if b.AbsoluteMaxBytes == 0 {
		l.add("batch.absoluteMaxBytes", "it has to be positive")
	}
	if b.PreferredMaxBytes == 0 {
		l.add("batch.preferredMaxBytes", "it has to be positive")
	}
	if b.PreferredMaxBytes > b.AbsoluteMaxBytes {
		l.add("batch.preferredMaxBytes", "%d is more than absoluteMaxBytes, %d", b.PreferredMaxBytes, b.AbsoluteMaxBytes)
	}
	// Nodes take messages of at most 100 MiB; a block has to fit with its frame.
	if b.AbsoluteMaxBytes > 99<<20 {
		l.add("batch.absoluteMaxBytes", "%d is more than the 99 MiB that nodes can send one another", b.AbsoluteMaxBytes)
	}
}

func (l *problems) timing(c Channel) {
	switch c.Consensus {
	case Raft:
		o := c.RaftOptions
		if o.TickInterval <= 0 || o.HeartbeatTick == 0 || o.MaxInflightBlocks == 0 {
			l.add("raft", "tick interval, heartbeat tick and blocks in flight have to be positive")
		}
		if o.ElectionTick <= o.HeartbeatTick {
			l.add("raft.electionTick", "%d has to be more than the heartbeat tick, %d", o.ElectionTick, o.HeartbeatTick)
		}
	case BFT:
		l.bftTiming(c.BFTOptions)
	}
}

func (l *problems) bftTiming(o BFTOptions) {
	for _, d := range []struct {
		field string
		value time.Duration
	}{
		{"batchMaxInterval", o.BatchMaxInterval},
		{"requestForwardTimeout", o.RequestForwardTimeout},
		{"requestComplainTimeout", o.RequestComplainTimeout},
		{"requestAutoRemoveTimeout", o.RequestAutoRemoveTimeout},
		{"viewChangeResendInterval", o.ViewChangeResendInterval},
		{"viewChangeTimeout", o.ViewChangeTimeout},
		{"leaderHeartbeatTimeout", o.LeaderHeartbeatTimeout},
		{"collectTimeout", o.CollectTimeout},
	} {
		if d.value <= 0 {
			l.add("bft."+d.field, "%s is not positive", d.value)
		}
	}
	if o.IncomingMessageBufferSize == 0 || o.RequestPoolSize == 0 || o.LeaderHeartbeatCount == 0 {
		l.add("bft", "message buffer, request pool and heartbeat count have to be positive")
	}
	if o.RequestForwardTimeout > o.RequestComplainTimeout || o.RequestComplainTimeout > o.RequestAutoRemoveTimeout {
		l.add("bft", "the time-outs of a request have to grow from forward over complain to auto-remove")
	}
	if o.ViewChangeResendInterval > o.ViewChangeTimeout {
		l.add("bft.viewChangeResendInterval", "%s is more than the view change time-out, %s", o.ViewChangeResendInterval, o.ViewChangeTimeout)
	}
}

func (l *problems) organizations(c Channel) {
	if len(c.OrdererOrgs) == 0 {
		l.add("ordererOrganisations", "a channel needs at least one organisation that runs orderers")
	}
	if len(c.ApplicationOrgs) == 0 {
		l.advise("applicationOrganisations", "no organisation can use the channel yet")
	}
	for _, part := range []struct {
		field string
		orgs  []Organization
	}{{"ordererOrganisations", c.OrdererOrgs}, {"applicationOrganisations", c.ApplicationOrgs}} {
		keys, ids := map[string]bool{}, map[string]bool{}
		for _, org := range part.orgs {
			field := fmt.Sprintf("%s[%s]", part.field, org.Key())
			if keys[org.Key()] || ids[org.MSPID] {
				l.add(field, "MSP id %q is taken by another organisation of the channel", org.MSPID)
			}
			keys[org.Key()], ids[org.MSPID] = true, true
			l.organization(field, org)
		}
	}
	for _, org := range c.OrdererOrgs {
		if len(org.Endpoints) == 0 {
			l.add(fmt.Sprintf("ordererOrganisations[%s].endpoints", org.Key()), "an organisation of the ordering service has to name at least one orderer")
		}
	}
}

func (l *problems) organization(field string, org Organization) {
	if org.MSPID == "" {
		l.add(field, "the MSP id is empty")
	}
	if strings.ContainsAny(org.MSPID, "'\" ") {
		l.add(field, "MSP id %q has quotation marks or blanks", org.MSPID)
	}
	if len(org.MSP.CACerts) == 0 {
		l.add(field, "it has no root certificate")
	}
	if len(org.MSP.TLSCACerts) == 0 {
		l.add(field, "it has no TLS root certificate")
	}
	for _, endpoint := range org.Endpoints {
		if _, err := ParseAddress(endpoint); err != nil {
			l.add(field+".endpoints", "%v", err)
		}
	}
	for _, anchor := range org.Anchors {
		if _, err := ParseAddress(anchor.String()); err != nil {
			l.add(field+".anchors", "%v", err)
		}
	}
	l.policies(field+".policies", org.Policies, "Readers", "Writers", "Admins")
}

func (l *problems) policies(field string, policies map[string]Policy, needed ...string) {
	for _, name := range needed {
		if _, ok := policies[name]; !ok {
			l.add(field, "there is no policy %s", name)
		}
	}
	for _, name := range sorted(policies) {
		p := policies[name]
		var err error
		switch p.Type {
		case Signature:
			_, err = policy.Signature(p.Rule)
		case ImplicitMeta:
			_, err = policy.Implicit(p.Rule)
		case Opaque:
		default:
			err = fmt.Errorf("the type %q is neither Signature nor ImplicitMeta", p.Type)
		}
		if err != nil {
			l.add(field+"."+name, "%v", err)
		}
	}
}

func (l *problems) acls(acls map[string]string) {
	for _, name := range sorted(acls) {
		if name == "" || acls[name] == "" {
			l.add("acls", "%q -> %q: resource and policy have to be named", name, acls[name])
		}
	}
}
