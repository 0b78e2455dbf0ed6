package lab

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
)

// Role says which of a lab's own processes this program shall be.
type Role struct {
	// Name is supervisor, node, agent, policy or modules.
	Name string
	// LabID marks the process as the lab's in /proc.
	LabID string
	// Dir is the lab's folder.
	Dir string
	// Node is the node that a role other than the supervisor belongs to.
	Node string
}

// Run is one of a lab's own processes; it returns when ctx ends or on failure.
func (r Role) Run(ctx context.Context, out io.Writer) error {
	log := slog.New(slog.NewTextHandler(out, nil)).With("role", r.Name)
	raw, err := os.ReadFile((&Plan{Dir: r.Dir}).planFile())
	if err != nil {
		return fmt.Errorf("read the lab's plan: %w", err)
	}
	p := &Plan{}
	if err := json.Unmarshal(raw, p); err != nil {
		return fmt.Errorf("decode the lab's plan: %w", err)
	}
	if p.ID != r.LabID {
		return fmt.Errorf("lab in %q has the id %q, not %q", r.Dir, p.ID, r.LabID)
	}
	go noteCoverage(ctx)
	switch r.Name {
	case "supervisor":
		return runSupervisor(ctx, p, log)
	case "node":
		return runNode(ctx, p, r.Node, log)
	case "agent":
		return runAgent(ctx, p, r.Node, log)
	case modulesRole:
		return runModulesRole(ctx, p, log)
	case policyName:
		return runPolicy(ctx, p, r.Node, log)
	default:
		return fmt.Errorf("unknown role %q", r.Name)
	}
}
