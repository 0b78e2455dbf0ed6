package lab

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/go-logr/logr"
	"k8s.io/client-go/tools/clientcmd"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"

	"heddle.dev/heddle/internal/lab/policy"
)

const policyName = "policy"

// policyDaemon is the agent that enforces NetworkPolicies on a node. It is a
// process of its own, so that a test can stop it.
func policyDaemon(p *Plan, n *NodePlan) daemon {
	return daemon{name: policyName, argv: p.role(policyName, n.Name), wait: []gate{gateNode}}
}

// runPolicy enforces policies on one node. It reads the addresses of new pods
// from the CNI results of all the site's nodes, which are on one disk.
func runPolicy(ctx context.Context, p *Plan, node string, log *slog.Logger) error {
	s, n, err := p.node(node)
	if err != nil {
		return err
	}
	config, err := clientcmd.BuildConfigFromFlags("", s.pki("admin.kubeconfig"))
	if err != nil {
		return fmt.Errorf("read kubeconfig of %q: %w", s.Name, err)
	}
	results := []string{n.path("cni-state/results")}
	for i := range s.Nodes {
		if s.Nodes[i].Index != n.Index {
			results = append(results, s.Nodes[i].path("cni-state/results"))
		}
	}
	ctx = ctrllog.IntoContext(ctx, logr.FromSlogHandler(log.Handler()))
	return (&policy.Agent{Config: config, Node: n.Name, Results: results}).Run(ctx)
}
