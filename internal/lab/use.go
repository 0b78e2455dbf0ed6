package lab

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// LogNames lists the logs of a node.
func (l *Lab) LogNames(node string) ([]string, error) {
	_, n, err := l.plan.node(node)
	if err != nil {
		return nil, err
	}
	files, err := filepath.Glob(n.path("log/*.log"))
	if err != nil {
		return nil, err
	}
	var out []string
	for _, f := range files {
		out = append(out, strings.TrimSuffix(filepath.Base(f), ".log"))
	}
	return out, nil
}

// LogPath is the file with the log of one of a node's processes.
func (l *Lab) LogPath(node, component string) (string, error) {
	names, err := l.LogNames(node)
	if err != nil {
		return "", err
	}
	if !slices.Contains(names, component) {
		return "", fmt.Errorf("node %q has no log of %q: it has %s", node, component, strings.Join(names, ", "))
	}
	_, n, err := l.plan.node(node)
	if err != nil {
		return "", err
	}
	return n.log(component), nil
}

// SetPolicy starts or stops the NetworkPolicy agents of all nodes; nodes that
// start later do the same.
func (l *Lab) SetPolicy(ctx context.Context, on bool) error {
	mode := "off"
	if on {
		mode = "on"
		if err := os.Remove(l.plan.policyOff()); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	} else if err := writeFile(l.plan.policyOff(), nil, 0o600); err != nil {
		return err
	}
	for i := range l.plan.Sites {
		for j := range l.plan.Sites[i].Nodes {
			n := &l.plan.Sites[i].Nodes[j]
			if err := ask(ctx, n.socket(), "POST", "/policy/"+mode, nil); err != nil {
				return fmt.Errorf("turn policy agent %s on node %q: %w", mode, n.Name, err)
			}
		}
	}
	return nil
}
