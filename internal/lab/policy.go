package lab

import (
	"context"
	"log/slog"
)

const policyName = "policy"

// policyDaemon is the agent that enforces NetworkPolicies on a node. It is a
// process of its own, so that a test can stop it.
func policyDaemon(p *Plan, n *NodePlan) daemon {
	return daemon{name: policyName, argv: p.role(policyName, n.Name), wait: []gate{gateNode}}
}

func runPolicy(ctx context.Context, _ *Plan, _ string, _ *slog.Logger) error {
	<-ctx.Done()
	return nil
}
