package lab

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// wan is the network namespace in which the sites of a lab meet: it has one
// bridge for each site and routes between them. It ends with this process.
type wan struct {
	plan *Plan
	ns   *os.File
	nl   *netlink.Handle

	mu   sync.Mutex
	cuts [][2]string
	// oneWay are cuts in one direction, from the first site to the second.
	oneWay [][2]string
	// ports are the only ones that pass between sites; none is no firewall.
	ports []uint16
}

// newWAN makes the namespace, its bridges and all routes.
func newWAN(p *Plan) (*wan, error) {
	ns, err := newNetns()
	if err != nil {
		return nil, err
	}
	nl, err := netlink.NewHandleAt(netns.NsHandle(int(ns.Fd())))
	if err != nil {
		return nil, fmt.Errorf("open netlink in the lab's network: %w", err)
	}
	w := &wan{plan: p, ns: ns, nl: nl}
	if err := linkUp(nl, "lo"); err != nil {
		return nil, err
	}
	lo, err := nl.LinkByName("lo")
	if err != nil {
		return nil, fmt.Errorf("find link %q: %w", "lo", err)
	}
	if err := addAddr(nl, lo, netip.PrefixFrom(hub(), 32)); err != nil {
		return nil, err
	}
	for i := range p.Sites {
		if err := w.addSite(&p.Sites[i]); err != nil {
			return nil, fmt.Errorf("make network of %q: %w", p.Sites[i].Name, err)
		}
	}
	return w, inNetns(ns, func() error {
		return setSysctls(map[string]string{"net/ipv4/ip_forward": "1", "net/ipv4/conf/all/send_redirects": "0"})
	})
}

func (w *wan) addSite(s *SitePlan) error {
	attrs := netlink.NewLinkAttrs()
	attrs.Name = s.bridge()
	// Fixed hardware addresses: a node that is made anew would else meet
	// entries of its predecessor in its neighbours' tables.
	attrs.HardwareAddr = net.HardwareAddr{2, 0, 10, 200, octet(s.Index), 1}
	bridge := &netlink.Bridge{LinkAttrs: attrs}
	if err := w.nl.LinkAdd(bridge); err != nil {
		return fmt.Errorf("add bridge %q: %w", attrs.Name, err)
	}
	if err := addAddr(w.nl, bridge, netip.PrefixFrom(s.gateway(), 24)); err != nil {
		return err
	}
	if err := w.nl.LinkSetUp(bridge); err != nil {
		return err
	}
	// A table of its own for what comes from this site: a cut puts blackholes
	// in it, and what finds nothing there goes on to the main table.
	rule := netlink.NewRule()
	rule.IifName, rule.Table, rule.Priority = attrs.Name, s.table(), 100
	if err := w.nl.RuleAdd(rule); err != nil {
		return fmt.Errorf("add rule for %q: %w", attrs.Name, err)
	}
	if err := addRoute(w.nl, s.svcRange(), s.Nodes[0].addr()); err != nil {
		return err
	}
	for i := range s.Nodes {
		if err := addRoute(w.nl, s.Nodes[i].podRange(), s.Nodes[i].addr()); err != nil {
			return err
		}
	}
	return nil
}

// attach joins a node, whose process 1 is pid, to its site's bridge.
func (w *wan) attach(s *SitePlan, n *NodePlan, pid int) error {
	node, err := processNetns(pid)
	if err != nil {
		return err
	}
	defer node.Close()
	bridge, err := w.nl.LinkByName(s.bridge())
	if err != nil {
		return fmt.Errorf("find bridge %q: %w", s.bridge(), err)
	}
	// A killed node's link goes with its namespace, but a moment later.
	if old, err := w.nl.LinkByName(n.port()); err == nil {
		_ = w.nl.LinkDel(old)
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MasterIndex = n.port(), bridge.Attrs().Index
	veth := &netlink.Veth{
		LinkAttrs: attrs, PeerName: "eth0", PeerHardwareAddr: n.mac(), PeerNamespace: netlink.NsFd(int(node.Fd())),
	}
	if err := w.nl.LinkAdd(veth); err != nil {
		return fmt.Errorf("add link %q: %w", attrs.Name, err)
	}
	if err := w.nl.LinkSetUp(veth); err != nil {
		return err
	}
	nl, err := netlink.NewHandleAt(netns.NsHandle(int(node.Fd())))
	if err != nil {
		return fmt.Errorf("open netlink in node %q: %w", n.Name, err)
	}
	defer nl.Close()
	return configureNode(nl, s, n)
}

func configureNode(nl *netlink.Handle, s *SitePlan, n *NodePlan) error {
	if err := linkUp(nl, "lo"); err != nil {
		return err
	}
	eth, err := nl.LinkByName("eth0")
	if err != nil {
		return fmt.Errorf("find eth0 of node %q: %w", n.Name, err)
	}
	if err := addAddr(nl, eth, netip.PrefixFrom(n.addr(), 24)); err != nil {
		return err
	}
	if err := nl.LinkSetUp(eth); err != nil {
		return err
	}
	if err := addRoute(nl, netip.MustParsePrefix("0.0.0.0/0"), s.gateway()); err != nil {
		return err
	}
	for i := range s.Nodes {
		if s.Nodes[i].Index == n.Index {
			continue
		}
		if err := addRoute(nl, s.Nodes[i].podRange(), s.Nodes[i].addr()); err != nil {
			return err
		}
	}
	return nil
}

// cut drops everything between two sites, in both directions.
func (w *wan) cut(a, b *SitePlan) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	pair := orderedPair(a.Name, b.Name)
	if slices.Contains(w.cuts, pair) {
		return nil
	}
	for _, r := range append(dropped(a, b), dropped(b, a)...) {
		if err := w.nl.RouteReplace(&r); err != nil {
			return fmt.Errorf("cut %q from %q: %w", a.Name, b.Name, err)
		}
	}
	w.cuts = append(w.cuts, pair)
	return nil
}

// cutOneWay drops everything that goes from one site to another, and lets through what comes from there.
func (w *wan) cutOneWay(from, to *SitePlan) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	pair := [2]string{from.Name, to.Name}
	if slices.Contains(w.oneWay, pair) {
		return nil
	}
	for _, r := range dropped(from, to) {
		if err := w.nl.RouteReplace(&r); err != nil {
			return fmt.Errorf("cut the way from %q to %q: %w", from.Name, to.Name, err)
		}
	}
	w.oneWay = append(w.oneWay, pair)
	return nil
}

// heal ends all cuts.
func (w *wan) heal() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, pair := range slices.Concat(w.cuts, w.oneWay) {
		a, err := w.plan.site(pair[0])
		if err != nil {
			return err
		}
		b, err := w.plan.site(pair[1])
		if err != nil {
			return err
		}
		for _, r := range append(dropped(a, b), dropped(b, a)...) {
			if err := w.nl.RouteDel(&r); err != nil && !errors.Is(err, unix.ESRCH) {
				return fmt.Errorf("heal %q and %q: %w", a.Name, b.Name, err)
			}
		}
	}
	w.cuts, w.oneWay = nil, nil
	return nil
}

func (w *wan) oneWayList() [][2]string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.oneWay)
}

func (w *wan) cutList() [][2]string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.cuts)
}

func orderedPair(a, b string) [2]string {
	if a > b {
		a, b = b, a
	}
	return [2]string{a, b}
}

// dropped are the routes that keep one site's packets from another: in its
// table, all ranges of the other.
func dropped(from, to *SitePlan) []netlink.Route {
	var out []netlink.Route
	for _, r := range to.ranges() {
		out = append(out, netlink.Route{Table: from.table(), Type: unix.RTN_BLACKHOLE, Dst: ipNet(r)})
	}
	return out
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), 32)}
}

func linkUp(nl *netlink.Handle, name string) error {
	link, err := nl.LinkByName(name)
	if err != nil {
		return fmt.Errorf("find link %q: %w", name, err)
	}
	return nl.LinkSetUp(link)
}

func addAddr(nl *netlink.Handle, link netlink.Link, p netip.Prefix) error {
	if err := nl.AddrAdd(link, &netlink.Addr{IPNet: ipNet(p)}); err != nil {
		return fmt.Errorf("add address %s: %w", p, err)
	}
	return nil
}

func addRoute(nl *netlink.Handle, to netip.Prefix, via netip.Addr) error {
	if err := nl.RouteReplace(&netlink.Route{Dst: ipNet(to), Gw: via.AsSlice()}); err != nil {
		return fmt.Errorf("add route to %s: %w", to, err)
	}
	return nil
}

// setSysctls writes settings of the calling thread's network namespace.
func setSysctls(values map[string]string) error {
	for name, value := range values {
		err := os.WriteFile("/proc/sys/"+name, []byte(value), 0)
		if err != nil {
			return fmt.Errorf("set %s: %w", name, err)
		}
	}
	return nil
}
