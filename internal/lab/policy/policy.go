// Package policy enforces Kubernetes NetworkPolicies on one node of the lab.
//
// It owns one nftables table in the node's network namespace and nothing else:
// Compile turns objects into a Ruleset without touching the machine, Ruleset.Script
// says it in nft's language, and Agent keeps the kernel's copy current. Starting the
// agent (one per node, as root) is the lab core's business, in the room above.
package policy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
)

const (
	// Table is the name of the nftables table (family inet) that holds every rule.
	Table = "heddle-policy"
	// DefaultBridge is the bridge the lab's CNI configuration hangs pods on.
	DefaultBridge = "cni0"
	// DefaultResults is where CNI runtimes note the address of every sandbox.
	DefaultResults = "/var/lib/cni/results"

	// clearTimeout bounds the removal of the table when the agent ends.
	clearTimeout = 5 * time.Second
	bridgeSysctl = "/proc/sys/net/bridge/bridge-nf-call-"
)

// Node is what Compile has to know about the node it compiles for.
type Node struct {
	// Name is the Kubernetes name of the node.
	Name string
	// Bridge is the interface that local pods hang on.
	Bridge string
	// PodCIDRs are the ranges of the node's own pods. An address in them that belongs to no
	// known pod may neither send nor receive, so a new pod is never open before its rules
	// are in place. Leave it empty when no Leases are available.
	PodCIDRs []netip.Prefix
	// Leases are addresses that the CNI plugin has given out; they are known
	// before a container starts, status.podIPs only afterwards.
	Leases []Lease
}

// Lease is one address of one pod sandbox, as the CNI plugin noted it.
type Lease struct {
	Addr      netip.Addr
	UID       types.UID
	Namespace string
	Name      string
	// Time orders leases of one address: the latest one holds.
	Time time.Time
}

// Run enforces policies on the named node until ctx ends, with the default bridge and
// CNI results folder, and then removes the rules.
func Run(ctx context.Context, cfg *rest.Config, node string) error {
	return (&Agent{Config: cfg, Node: node}).Run(ctx)
}

// Apply replaces the table by this ruleset in one transaction.
func (r Ruleset) Apply(ctx context.Context) error {
	return nft(ctx, r.Script())
}

// Clear removes the table: no policy is enforced afterwards. Calling it twice does no harm.
func Clear(ctx context.Context) error {
	return nft(ctx, fmt.Sprintf("add table inet %s\ndelete table inet %s\n", Table, Table))
}

// nft feeds one script to nft, which applies all of it or nothing.
func nft(ctx context.Context, script string) error {
	cmd := exec.CommandContext(ctx, "nft", "-f", "-")
	cmd.Stdin = strings.NewReader(script)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Run(); err != nil {
		if errors.Is(err, exec.ErrNotFound) {
			return fmt.Errorf("run nft: %w (install it: apt-get install nftables)", err)
		}
		return fmt.Errorf("apply nftables rules: %w: %s", err, firstLine(stderr.String()))
	}
	return nil
}

// intact says whether the kernel still has the table's way in. It only looks, because
// loading the rules again would set the counters of dropped packets back.
func intact(ctx context.Context) bool {
	out, err := exec.CommandContext(ctx, "nft", "list", "chain", "inet", Table, "forward").Output()
	return err == nil && bytes.Contains(out, []byte("vmap @ingress"))
}

// filterBridges makes the kernel show bridged packets to the inet family. Without it,
// pods on one node would reach each other whatever the policies say.
func filterBridges() error {
	for _, name := range []string{"iptables", "ip6tables"} {
		path := bridgeSysctl + name
		if err := os.WriteFile(path, []byte("1\n"), 0); err != nil {
			return fmt.Errorf("turn on filtering of bridged packets: %w (load the kernel module: modprobe br_netfilter)", err)
		}
	}
	return nil
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(s), "\n")
	return line
}
