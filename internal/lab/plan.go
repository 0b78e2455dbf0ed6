package lab

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"regexp"
	"slices"
)

// The bounds of a lab follow from its address plan (see SitePlan).
const (
	maxSites = 20
	maxNodes = 100
)

// ErrUsage marks what was asked for wrongly.
var ErrUsage = errors.New("this cannot be a lab")

// Plan is what a lab consists of. It is fixed when the lab is made, stored as
// lab.json in the lab's folder, and everything else (addresses, files,
// processes) is computed from it.
type Plan struct {
	Name    string     `json:"name"`
	ID      string     `json:"id"`
	Dir     string     `json:"dir"`
	Heddle  string     `json:"heddle"`
	Libexec string     `json:"libexec"`
	Sites   []SitePlan `json:"sites"`
}

// SitePlan is one cluster. Site I has nodes in 10.200.I.0/24, pods in
// 10.(100+2I).0.0/16 and services in 10.(101+2I).0.0/16.
type SitePlan struct {
	Name  string     `json:"name"`
	Index int        `json:"index"`
	Dir   string     `json:"dir"`
	Nodes []NodePlan `json:"nodes"`
}

// NodePlan is one node. Node J of site I has the address 10.200.I.(10+J) and
// its pods are in 10.(100+2I).J.0/24.
type NodePlan struct {
	Name  string `json:"name"`
	Site  int    `json:"site"`
	Index int    `json:"index"`
	Dir   string `json:"dir"`
}

var nameForm = regexp.MustCompile(`^[a-z]([a-z0-9-]{0,18}[a-z0-9])?$`)

// checkName refuses names that could not be part of a folder's or control
// group's name.
func checkName(name string) error {
	if !nameForm.MatchString(name) {
		return fmt.Errorf("%w: lab name %q: use at most 20 lower-case letters, digits and hyphens, beginning with a letter", ErrUsage, name)
	}
	return nil
}

// labID is the short name that marks what belongs to a lab: it is computed
// from the lab's folder, so that it can be found when lab.json is lost.
func labID(dir string) string {
	sum := sha256.Sum256([]byte(dir))
	return hex.EncodeToString(sum[:4])
}

// newPlan computes the plan of a lab in dir; nodes has one number for all
// sites, or one for each.
func newPlan(name, dir string, sites int, nodes []int) (*Plan, error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	if sites < 1 || sites > maxSites {
		return nil, fmt.Errorf("%w: sites: %d is not between 1 and %d", ErrUsage, sites, maxSites)
	}
	if len(nodes) != 1 && len(nodes) != sites {
		return nil, fmt.Errorf("%w: nodes: give one number for all sites or one for each of the %d sites, not %d numbers",
			ErrUsage, sites, len(nodes))
	}
	p := &Plan{Name: name, ID: labID(dir), Dir: dir}
	for i := range sites {
		count := nodes[min(i, len(nodes)-1)]
		if count < 1 || count > maxNodes {
			return nil, fmt.Errorf("%w: nodes: %d is not between 1 and %d", ErrUsage, count, maxNodes)
		}
		s := SitePlan{Name: fmt.Sprintf("site%d", i+1), Index: i + 1}
		s.Dir = filepath.Join(dir, s.Name)
		for j := range count {
			n := NodePlan{Name: fmt.Sprintf("%s-n%d", s.Name, j+1), Site: s.Index, Index: j + 1}
			n.Dir = filepath.Join(s.Dir, n.Name)
			s.Nodes = append(s.Nodes, n)
		}
		p.Sites = append(p.Sites, s)
	}
	return p, nil
}

// sameShape says whether two plans have the same sites and nodes.
func (p *Plan) sameShape(o *Plan) bool {
	return slices.EqualFunc(p.Sites, o.Sites, func(a, b SitePlan) bool {
		return a.Name == b.Name && len(a.Nodes) == len(b.Nodes)
	})
}

func (p *Plan) site(name string) (*SitePlan, error) {
	for i := range p.Sites {
		if p.Sites[i].Name == name {
			return &p.Sites[i], nil
		}
	}
	return nil, fmt.Errorf("lab %q has no site %q: it has %s", p.Name, name, p.siteNames())
}

func (p *Plan) siteNames() string {
	first, last := p.Sites[0].Name, p.Sites[len(p.Sites)-1].Name
	if first == last {
		return first
	}
	return first + " to " + last
}

func (p *Plan) node(name string) (*SitePlan, *NodePlan, error) {
	for i := range p.Sites {
		for j := range p.Sites[i].Nodes {
			if p.Sites[i].Nodes[j].Name == name {
				return &p.Sites[i], &p.Sites[i].Nodes[j], nil
			}
		}
	}
	return nil, nil, fmt.Errorf("lab %q has no node %q: nodes are named like %q", p.Name, name, p.Sites[0].Nodes[0].Name)
}

func (p *Plan) cgroup() string { return "heddle-lab-" + p.ID }

// apiPort is where each site's API server listens inside the lab.
const apiPort = 6443

// octet is a number that the bounds of a plan keep below 256.
func octet(i int) byte { return byte(i & 0xff) }

func addr4(a, b, c, d int) netip.Addr {
	return netip.AddrFrom4([4]byte{octet(a), octet(b), octet(c), octet(d)})
}

func (s *SitePlan) gateway() netip.Addr     { return addr4(10, 200, s.Index, 1) }
func (s *SitePlan) nodeRange() netip.Prefix { return netip.PrefixFrom(addr4(10, 200, s.Index, 0), 24) }

func (s *SitePlan) podRange() netip.Prefix {
	return netip.PrefixFrom(addr4(10, 100+2*s.Index, 0, 0), 16)
}

func (s *SitePlan) svcRange() netip.Prefix {
	return netip.PrefixFrom(addr4(10, 101+2*s.Index, 0, 0), 16)
}
func (s *SitePlan) apiService() netip.Addr  { return addr4(10, 101+2*s.Index, 0, 1) }
func (s *SitePlan) dnsService() netip.Addr  { return addr4(10, 101+2*s.Index, 0, 10) }
func (s *SitePlan) bridge() string          { return fmt.Sprintf("br%d", s.Index) }
func (s *SitePlan) table() int              { return 1000 + s.Index }
func (s *SitePlan) pki(file string) string  { return filepath.Join(s.Dir, "pki", file) }
func (s *SitePlan) kubeconfig() string      { return filepath.Join(s.Dir, "kubeconfig") }
func (s *SitePlan) volumes() string         { return filepath.Join(s.Dir, "volumes") }
func (s *SitePlan) apiAddr() netip.AddrPort { return netip.AddrPortFrom(s.Nodes[0].addr(), apiPort) }
func (s *SitePlan) apiURL() string          { return "https://" + s.apiAddr().String() }
func (s *SitePlan) ranges() []netip.Prefix {
	return []netip.Prefix{s.nodeRange(), s.podRange(), s.svcRange()}
}
func (n *NodePlan) addr() netip.Addr { return addr4(10, 200, n.Site, 10+n.Index) }
func (n *NodePlan) podRange() netip.Prefix {
	return netip.PrefixFrom(addr4(10, 100+2*n.Site, n.Index, 0), 24)
}
func (n *NodePlan) port() string            { return fmt.Sprintf("v%d-%d", n.Site, n.Index) }
func (n *NodePlan) path(file string) string { return filepath.Join(n.Dir, file) }
func (n *NodePlan) log(name string) string  { return filepath.Join(n.Dir, "log", name+".log") }
func (n *NodePlan) controlPlane() bool      { return n.Index == 1 }
func (n *NodePlan) mac() net.HardwareAddr {
	return net.HardwareAddr{2, 0, 10, 200, octet(n.Site), octet(10 + n.Index)}
}
