package export

import (
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
)

// File is one file of an export.
type File struct {
	Data []byte
	// Private files hold a key and are readable by their owner only.
	Private bool
}

// TestNetwork lays a network out as the folders that fabric-samples' test-network leaves behind, so that applications
// written for it find certificates, keys and connection profiles where they look for them.
func TestNetwork(n Network, domain string) (map[string]File, error) {
	n = renamed(n, domain)
	files := map[string]File{}
	for _, o := range n.Organizations {
		if len(o.Orderers) > 0 {
			ordererOrganization(files, o, ordererDomain(n, o, domain))
		}
		if len(o.Peers) == 0 {
			continue
		}
		base := path.Join("organizations/peerOrganizations", o.Name+"."+domain)
		peerOrganization(files, o, base, o.Name+"."+domain)
		profile, err := Profile(n, o.Name)
		if err != nil {
			return nil, err
		}
		text, err := ToYAML(profile)
		if err != nil {
			return nil, err
		}
		files[path.Join(base, "connection-"+o.Name+".json")] = File{Data: profile}
		files[path.Join(base, "connection-"+o.Name+".yaml")] = File{Data: text}
	}
	return files, nil
}

// ServerName is the name by which an application should know a node: the one that test-network would use where it
// stands in the node's certificate, else the one that does.
func ServerName(n Node, alias string) string {
	if slices.Contains(n.SANs, alias) {
		return alias
	}
	return n.ServerName
}

// PeerAlias is the name that test-network gives a peer: peer0.org1.example.com for peer0-org1.
func PeerAlias(node, org, domain string) string {
	return strings.TrimSuffix(node, "-"+org) + "." + org + "." + domain
}

// renamed gives peers and CAs the names of test-network.
func renamed(n Network, domain string) Network {
	orgs := make([]Organization, len(n.Organizations))
	for i, o := range n.Organizations {
		peers := make([]Node, len(o.Peers))
		for j, p := range o.Peers {
			alias := PeerAlias(p.Name, o.Name, domain)
			p.ServerName = ServerName(p, alias)
			p.Name = alias
			peers[j] = p
		}
		o.Peers = peers
		if o.CA != nil {
			ca := *o.CA
			ca.Name = "ca." + o.Name + "." + domain
			o.CA = &ca
		}
		orgs[i] = o
	}
	n.Organizations = orgs
	return n
}

// ordererDomain is the bare domain for the only organisation that orders, as in test-network.
func ordererDomain(n Network, o Organization, domain string) string {
	for _, other := range n.Organizations {
		if other.Name != o.Name && len(other.Orderers) > 0 {
			return o.Name + "." + domain
		}
	}
	return domain
}

func peerOrganization(files map[string]File, o Organization, base, domain string) {
	organization(files, o, base, domain)
	for _, p := range o.Peers {
		folder := path.Join(base, "peers", p.Name)
		mspFolder(files, path.Join(folder, "msp"), o)
		files[path.Join(folder, "tls/ca.crt")] = File{Data: join(o.MSP.TLSRoots())}
	}
}

func ordererOrganization(files map[string]File, o Organization, domain string) {
	base := path.Join("organizations/ordererOrganizations", domain)
	organization(files, o, base, domain)
	for i := range o.Orderers {
		name := "orderer"
		if i > 0 {
			name += strconv.Itoa(i + 1)
		}
		folder := path.Join(base, "orderers", name+"."+domain)
		mspFolder(files, path.Join(folder, "msp"), o)
		files[path.Join(folder, "msp/tlscacerts/tlsca."+domain+"-cert.pem")] = File{Data: join(o.MSP.TLSRoots())}
		files[path.Join(folder, "tls/ca.crt")] = File{Data: join(o.MSP.TLSRoots())}
	}
}

// organization writes what organisations with peers and with orderers have in common.
func organization(files map[string]File, o Organization, base, domain string) {
	mspFolder(files, path.Join(base, "msp"), o)
	files[path.Join(base, "ca/ca."+domain+"-cert.pem")] = File{Data: join(o.MSP.CACerts)}
	files[path.Join(base, "tlsca/tlsca."+domain+"-cert.pem")] = File{Data: join(o.MSP.TLSRoots())}
	for _, u := range o.Users {
		name := fmt.Sprintf("%s@%s", u.Name, domain)
		folder := path.Join(base, "users", name, "msp")
		mspFolder(files, folder, o)
		files[path.Join(folder, "signcerts", name+"-cert.pem")] = File{Data: u.Cert}
		files[path.Join(folder, "keystore/priv_sk")] = File{Data: u.Key, Private: true}
		files[path.Join(base, "users", name, "tls/ca.crt")] = File{Data: join(o.MSP.TLSRoots())}
	}
}

// mspFolder writes an organisation's public material.
func mspFolder(files map[string]File, folder string, o Organization) {
	for name, data := range o.MSP.Files() {
		files[path.Join(folder, name)] = File{Data: data}
	}
}

// Profiles is the plain export: one connection profile for each organisation with peers, in JSON and YAML.
func Profiles(n Network, orgs []string) (map[string]File, error) {
	files := map[string]File{}
	for _, o := range n.Organizations {
		if len(o.Peers) == 0 || (len(orgs) > 0 && !slices.Contains(orgs, o.Name)) {
			continue
		}
		profile, err := Profile(n, o.Name)
		if err != nil {
			return nil, err
		}
		text, err := ToYAML(profile)
		if err != nil {
			return nil, err
		}
		files["connection-"+o.Name+".json"] = File{Data: profile}
		files["connection-"+o.Name+".yaml"] = File{Data: text}
	}
	return files, nil
}
