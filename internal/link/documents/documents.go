// Package documents has what sites of a network tell each other: descriptors, proposals and signatures, as plain structs
// with bounds. Parsing is strict: what has a field, a length or a name that is not foreseen is refused whole. Who sent a
// document, and that it is new, is the envelope's matter (package link); whether what it says is true is its readers'.
package documents

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"time"
)

// Kinds of documents, as they stand in envelopes.
const (
	KindDescriptor = "descriptor"
	KindProposal   = "proposal"
	KindSignature  = "signature"
)

// Bounds of documents.
const (
	maxDescriptor = 900 << 10
	maxProposal   = 1 << 20
	maxSignature  = 1 << 20

	maxNetworks      = 32
	maxOrganizations = 32
	maxNodes         = 64
	maxChannels      = 32
	maxSites         = 16
	maxSignatures    = 32

	// MaxUpdate is the largest configuration update in a proposal.
	MaxUpdate = 512 << 10
	// MaxTerm is how far a proposal's deadline may lie ahead.
	MaxTerm = 31 * 24 * time.Hour

	maxBundle = 64 << 10
	maxLeaf   = 8 << 10
	maxReason = 256
	maxHeader = 12 << 10
	maxSigned = 512
)

// Ports of nodes that can be offered.
const (
	portOrderer = 7050
	portPeer    = 7051
)

// Descriptor is everything that a site says of itself to one partner. A new one replaces the old one whole.
type Descriptor struct {
	// SiteID of the sender.
	SiteID string `json:"siteID"`
	// Networks that the sender stretches to the receiver.
	Networks []Network `json:"networks,omitempty"`
}

// Network is the sender's part of a network.
type Network struct {
	Name      string `json:"name"`
	NetworkID string `json:"networkID"`
	// Version of Fabric, and Consensus of the channels.
	Version   string `json:"version,omitempty"`
	Consensus string `json:"consensus,omitempty"`
	// Sites are the siteIDs of the sender's other partners in the network.
	Sites         []string       `json:"sites,omitempty"`
	Organizations []Organization `json:"organizations,omitempty"`
	// Channels that the receiver's organizations are members of or are meant to be.
	Channels []Channel `json:"channels,omitempty"`
}

// Organization of the sender, in certificates.
type Organization struct {
	Name                        string `json:"name"`
	MSPID                       string `json:"mspID"`
	CACertificates              string `json:"caCertificates"`
	IntermediateCertificates    string `json:"intermediateCertificates,omitempty"`
	TLSCACertificates           string `json:"tlsCACertificates"`
	TLSIntermediateCertificates string `json:"tlsIntermediateCertificates,omitempty"`
	RevocationLists             string `json:"revocationLists,omitempty"`
	// Nodes that the receiver may reach.
	Nodes []Node `json:"nodes,omitempty"`
}

// Node that is offered; an orderer comes with its certificates.
type Node struct {
	Name           string `json:"name"`
	Port           int32  `json:"port"`
	Certificate    string `json:"certificate,omitempty"`
	TLSCertificate string `json:"tlsCertificate,omitempty"`
}

// Channel is an invitation to a channel.
type Channel struct {
	Name        string `json:"name"`
	ChannelID   string `json:"channelID"`
	GenesisHash string `json:"genesisHash"`
	Consensus   string `json:"consensus"`
	Timing      string `json:"timing"`
}

// Proposal asks the receiver's organizations to sign an update of a channel's configuration.
type Proposal struct {
	Network      string    `json:"network"`
	NetworkID    string    `json:"networkID"`
	ChannelID    string    `json:"channelID"`
	Update       []byte    `json:"update"`
	BaseSequence int64     `json:"baseSequence"`
	ExpiresAt    time.Time `json:"expiresAt"`
}

// Signature is the answer to a proposal.
type Signature struct {
	Network   string `json:"network"`
	NetworkID string `json:"networkID"`
	ChannelID string `json:"channelID"`
	// Digest of the update, SHA-256 in hexadecimal.
	Digest string `json:"digest"`
	// Decision is Sign or Reject.
	Decision   string            `json:"decision"`
	Reason     string            `json:"reason,omitempty"`
	Signatures []ConfigSignature `json:"signatures,omitempty"`
}

// ConfigSignature is Fabric's message in two parts.
type ConfigSignature struct {
	MSPID     string `json:"mspID"`
	Header    []byte `json:"header"`
	Signature []byte `json:"signature"`
}

// ParseDescriptor reads a descriptor.
func ParseDescriptor(raw []byte) (*Descriptor, error) { return parse[Descriptor](raw, maxDescriptor) }

// ParseProposal reads a proposal. Whether its deadline is near enough is for who knows the time.
func ParseProposal(raw []byte) (*Proposal, error) { return parse[Proposal](raw, maxProposal) }

// ParseSignature reads the answer to a proposal.
func ParseSignature(raw []byte) (*Signature, error) { return parse[Signature](raw, maxSignature) }

func parse[T any, P interface {
	*T
	check(c *checker)
}](raw []byte, most int) (*T, error) {
	if len(raw) > most {
		return nil, fmt.Errorf("read document: it has %d bytes, %d are taken", len(raw), most)
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	out := new(T)
	if err := d.Decode(out); err != nil {
		return nil, fmt.Errorf("read document: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("read document: something follows it")
	}
	c := &checker{}
	P(out).check(c)
	if c.err != nil {
		return nil, fmt.Errorf("read document: %w", c.err)
	}
	return out, nil
}

// Patterns of names.
var (
	siteName    = regexp.MustCompile(`^[a-z][a-z0-9]{3,15}$`)
	networkName = regexp.MustCompile(`^[a-z]([a-z0-9-]{0,30}[a-z0-9])?$`)
	networkID   = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{6,38}[a-z0-9]$`)
	orgName     = regexp.MustCompile(`^[a-z]([a-z0-9-]{0,22}[a-z0-9])?$`)
	mspName     = regexp.MustCompile(`^[A-Za-z0-9.-]{1,64}$`)
	objectName  = regexp.MustCompile(`^[a-z]([a-z0-9-]{0,61}[a-z0-9])?$`)
	channelName = regexp.MustCompile(`^[a-z][a-z0-9.-]{0,248}$`)
	hash        = regexp.MustCompile(`^[0-9a-f]{64}$`)
	version     = regexp.MustCompile(`^([0-9]+[.][0-9]+[.][0-9]{1,3})?$`)
	consensus   = regexp.MustCompile(`^(Raft|BFT)$`)
	timing      = regexp.MustCompile(`^(lan|wan)$`)
	decision    = regexp.MustCompile(`^(Sign|Reject)$`)
)

// checker notes the first fault.
type checker struct{ err error }

func (c *checker) fail(format string, args ...any) {
	if c.err == nil {
		c.err = fmt.Errorf(format, args...)
	}
}

func (c *checker) name(what, value string, pattern *regexp.Regexp) {
	if !pattern.MatchString(value) {
		c.fail("%s %.80q cannot be", what, value)
	}
}

func (c *checker) size(what string, n, most int) {
	if n > most {
		c.fail("%s: %d are too many or too long, %d is the most", what, n, most)
	}
}

// unique refuses a name that a list has twice.
func unique[T any](c *checker, what string, list []T, name func(T) string) {
	seen := map[string]bool{}
	for _, item := range list {
		if n := name(item); seen[n] {
			c.fail("%s %.80q stands there twice", what, n)
		} else {
			seen[n] = true
		}
	}
}

func (d *Descriptor) check(c *checker) {
	c.name("siteID", d.SiteID, siteName)
	c.size("networks", len(d.Networks), maxNetworks)
	unique(c, "network", d.Networks, func(n Network) string { return n.Name })
	for i := range d.Networks {
		d.Networks[i].check(c)
	}
}

func (n *Network) check(c *checker) {
	c.name("network", n.Name, networkName)
	c.name("networkID", n.NetworkID, networkID)
	c.name("version", n.Version, version)
	if n.Consensus != "" {
		c.name("consensus", n.Consensus, consensus)
	}
	c.size("sites", len(n.Sites), maxSites)
	unique(c, "site", n.Sites, func(s string) string { return s })
	for _, s := range n.Sites {
		c.name("site", s, siteName)
	}
	c.size("organizations", len(n.Organizations), maxOrganizations)
	unique(c, "organization", n.Organizations, func(o Organization) string { return o.Name })
	unique(c, "MSP ID", n.Organizations, func(o Organization) string { return o.MSPID })
	for i := range n.Organizations {
		n.Organizations[i].check(c)
	}
	c.size("channels", len(n.Channels), maxChannels)
	unique(c, "channel", n.Channels, func(ch Channel) string { return ch.Name })
	for _, ch := range n.Channels {
		c.name("channel", ch.Name, objectName)
		c.name("channelID", ch.ChannelID, channelName)
		c.name("genesisHash", ch.GenesisHash, hash)
		c.name("consensus", ch.Consensus, consensus)
		c.name("timing", ch.Timing, timing)
	}
}

func (o *Organization) check(c *checker) {
	c.name("organization", o.Name, orgName)
	c.name("mspID", o.MSPID, mspName)
	if o.CACertificates == "" || o.TLSCACertificates == "" {
		c.fail("organization %q has no roots", o.Name)
	}
	for _, bundle := range []string{o.CACertificates, o.IntermediateCertificates, o.TLSCACertificates, o.TLSIntermediateCertificates, o.RevocationLists} {
		c.size("certificates", len(bundle), maxBundle)
	}
	c.size("nodes", len(o.Nodes), maxNodes)
	unique(c, "node", o.Nodes, func(n Node) string { return n.Name })
	for _, n := range o.Nodes {
		c.name("node", n.Name, objectName)
		if n.Port != portOrderer && n.Port != portPeer {
			c.fail("node %q: port %d is none of a peer or an orderer", n.Name, n.Port)
		}
		if orderer := n.Port == portOrderer; orderer != (n.Certificate != "") || orderer != (n.TLSCertificate != "") {
			c.fail("node %q: orderers come with two certificates, and peers with none", n.Name)
		}
		c.size("certificate", len(n.Certificate), maxLeaf)
		c.size("certificate", len(n.TLSCertificate), maxLeaf)
	}
}

func (p *Proposal) check(c *checker) {
	c.name("network", p.Network, networkName)
	c.name("networkID", p.NetworkID, networkID)
	c.name("channelID", p.ChannelID, channelName)
	if len(p.Update) == 0 {
		c.fail("there is no update")
	}
	c.size("update", len(p.Update), MaxUpdate)
	if p.BaseSequence < 0 {
		c.fail("baseSequence %d cannot be", p.BaseSequence)
	}
	if p.ExpiresAt.IsZero() {
		c.fail("there is no deadline")
	}
}

func (s *Signature) check(c *checker) {
	c.name("network", s.Network, networkName)
	c.name("networkID", s.NetworkID, networkID)
	c.name("channelID", s.ChannelID, channelName)
	c.name("digest", s.Digest, hash)
	c.name("decision", s.Decision, decision)
	c.size("reason", len(s.Reason), maxReason)
	c.size("signatures", len(s.Signatures), maxSignatures)
	unique(c, "MSP ID", s.Signatures, func(one ConfigSignature) string { return one.MSPID })
	if (s.Decision == "Sign") != (len(s.Signatures) > 0) {
		c.fail("decision %s with %d signatures", s.Decision, len(s.Signatures))
	}
	for _, one := range s.Signatures {
		c.name("mspID", one.MSPID, mspName)
		if len(one.Header) == 0 || len(one.Signature) == 0 {
			c.fail("the signature of %q is empty", one.MSPID)
		}
		c.size("header", len(one.Header), maxHeader)
		c.size("signature", len(one.Signature), maxSigned)
	}
}
