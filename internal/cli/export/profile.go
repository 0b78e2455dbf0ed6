// Package export turns a network into files that existing applications read: connection profiles in the format that
// Fabric's client libraries share, and the folder layout of fabric-samples' test-network.
// Its functions are pure: they get certificates and addresses and return files; internal/cli reads the cluster.
package export

import (
	"encoding/json"
	"fmt"
	"strings"

	"sigs.k8s.io/yaml"

	"heddle.dev/heddle/internal/fabric/msp"
)

// Network is what is exported.
type Network struct {
	Name string
	// Organizations of the network in the order of their names.
	Organizations []Organization
	// Channels of the network.
	Channels []Channel
}

// Organization is one member with everything that an application needs.
type Organization struct {
	Name  string
	MSPID string
	// MSP is the organisation's public material.
	MSP      msp.Material
	Peers    []Node
	Orderers []Node
	// CA is the application CA; nil where the organisation runs none.
	CA *Node
	// CAName is how the CA calls itself; clients have to say it.
	CAName string
	Users  []User
}

// Node is an endpoint.
type Node struct {
	// Name of the node, such as peer0-org1.
	Name string
	// Address to dial, as host:port.
	Address string
	// ServerName that stands in the node's TLS certificate; empty where the address's host does.
	ServerName string
	// SANs are the extra names in the certificate.
	SANs []string
}

// User is a certificate with its key.
type User struct {
	Name string
	Cert []byte
	Key  []byte
}

// Channel is a channel with its members, by the name of the organisation.
type Channel struct {
	ID      string
	Members []string
}

// The connection profile's own format: names and nesting are given by the client libraries that read it.
type (
	profile struct {
		Name          string                         `json:"name"`
		Version       string                         `json:"version"`
		Client        profileClient                  `json:"client"`
		Channels      map[string]profileChannel      `json:"channels,omitempty"`
		Organizations map[string]profileOrganization `json:"organizations"`
		Orderers      map[string]profileNode         `json:"orderers,omitempty"`
		Peers         map[string]profileNode         `json:"peers"`
		CAs           map[string]profileCA           `json:"certificateAuthorities,omitempty"`
	}
	profileClient struct {
		Organization string            `json:"organization"`
		Connection   profileConnection `json:"connection"`
	}
	profileConnection struct {
		Timeout profileTimeout `json:"timeout"`
	}
	profileTimeout struct {
		Peer    map[string]string `json:"peer"`
		Orderer string            `json:"orderer"`
	}
	profileChannel struct {
		Orderers []string                      `json:"orderers,omitempty"`
		Peers    map[string]profileChannelPeer `json:"peers"`
	}
	profileChannelPeer struct {
		EndorsingPeer  bool `json:"endorsingPeer"`
		ChaincodeQuery bool `json:"chaincodeQuery"`
		LedgerQuery    bool `json:"ledgerQuery"`
		EventSource    bool `json:"eventSource"`
	}
	profileOrganization struct {
		MSPID string   `json:"mspid"`
		Peers []string `json:"peers"`
		CAs   []string `json:"certificateAuthorities,omitempty"`
	}
	profileNode struct {
		URL         string            `json:"url"`
		TLSCACerts  profilePEM        `json:"tlsCACerts"`
		GRPCOptions map[string]string `json:"grpcOptions,omitempty"`
	}
	profilePEM struct {
		PEM string `json:"pem"`
	}
	profileCA struct {
		URL         string          `json:"url"`
		CAName      string          `json:"caName,omitempty"`
		TLSCACerts  profilePEMList  `json:"tlsCACerts"`
		HTTPOptions map[string]bool `json:"httpOptions"`
	}
	profilePEMList struct {
		PEM []string `json:"pem"`
	}
)

// Profile is the connection profile of one organisation as JSON. Peers of the other members are in it, as an
// application that endorses on its own needs them.
func Profile(n Network, org string) ([]byte, error) {
	p := profile{
		Name:          n.Name + "-" + org,
		Version:       "1.0.0",
		Client:        profileClient{Organization: org, Connection: timeouts()},
		Organizations: map[string]profileOrganization{},
		Orderers:      map[string]profileNode{},
		Peers:         map[string]profileNode{},
		CAs:           map[string]profileCA{},
	}
	found := false
	for _, o := range n.Organizations {
		found = found || o.Name == org
		p.add(o)
	}
	if !found {
		return nil, fmt.Errorf("make connection profile of network %q: there is no organisation %q", n.Name, org)
	}
	p.Channels = channels(n, org)
	b, err := json.MarshalIndent(p, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("make connection profile of organisation %q: %w", org, err)
	}
	return append(b, '\n'), nil
}

// ToYAML is the same profile in YAML.
func ToYAML(profile []byte) ([]byte, error) {
	b, err := yaml.JSONToYAML(profile)
	if err != nil {
		return nil, fmt.Errorf("turn connection profile into YAML: %w", err)
	}
	return b, nil
}

func timeouts() profileConnection {
	return profileConnection{Timeout: profileTimeout{Peer: map[string]string{"endorser": "300"}, Orderer: "300"}}
}

func (p *profile) add(o Organization) {
	roots := string(join(o.MSP.TLSRoots()))
	entry := profileOrganization{MSPID: o.MSPID, Peers: []string{}}
	for _, n := range o.Peers {
		entry.Peers = append(entry.Peers, n.Name)
		p.Peers[n.Name] = n.profile(roots)
	}
	for _, n := range o.Orderers {
		p.Orderers[n.Name] = n.profile(roots)
	}
	if o.CA != nil {
		entry.CAs = []string{o.CA.Name}
		p.CAs[o.CA.Name] = profileCA{
			URL:         "https://" + o.CA.Address,
			CAName:      o.CAName,
			TLSCACerts:  profilePEMList{PEM: []string{roots}},
			HTTPOptions: map[string]bool{"verify": true},
		}
	}
	p.Organizations[o.Name] = entry
}

// profile of one node. Both options mean the same: some libraries read the one, some the other.
func (n Node) profile(roots string) profileNode {
	out := profileNode{URL: "grpcs://" + n.Address, TLSCACerts: profilePEM{PEM: roots}}
	if n.ServerName != "" {
		out.GRPCOptions = map[string]string{"ssl-target-name-override": n.ServerName, "hostnameOverride": n.ServerName}
	}
	return out
}

// channels of the organisation, with the peers of all members.
func channels(n Network, org string) map[string]profileChannel {
	out := map[string]profileChannel{}
	for _, ch := range n.Channels {
		members := map[string]bool{}
		for _, m := range ch.Members {
			members[m] = true
		}
		if !members[org] {
			continue
		}
		entry := profileChannel{Peers: map[string]profileChannelPeer{}}
		for _, o := range n.Organizations {
			for _, node := range o.Orderers {
				entry.Orderers = append(entry.Orderers, node.Name)
			}
			if !members[o.Name] {
				continue
			}
			for _, node := range o.Peers {
				entry.Peers[node.Name] = profileChannelPeer{EndorsingPeer: true, ChaincodeQuery: true, LedgerQuery: true, EventSource: true}
			}
		}
		out[ch.ID] = entry
	}
	return out
}

// join concatenates PEM blocks, each on lines of its own.
func join(blocks [][]byte) []byte {
	var b strings.Builder
	for _, block := range blocks {
		b.WriteString(strings.TrimSpace(string(block)))
		b.WriteByte('\n')
	}
	return []byte(b.String())
}
