package lab

import (
	"context"
	"slices"
)

// Status says what is known of the lab.
type Status struct {
	Name  string       `json:"name"`
	Dir   string       `json:"dir"`
	Up    bool         `json:"up"`
	Sites []SiteStatus `json:"sites"`
	Nodes []NodeStatus `json:"nodes"`
	Cuts  [][2]string  `json:"cuts,omitempty"`
	// OneWay are cuts in one direction, from the first site to the second.
	OneWay [][2]string `json:"oneWay,omitempty"`
	// Firewall are the only TCP ports that pass between sites; none is no firewall.
	Firewall []uint16 `json:"firewall,omitempty"`
	// UplinkOff says that modules come from the proxy's cache alone.
	UplinkOff bool `json:"uplinkOff,omitempty"`
}

// SiteStatus is one cluster's part of Status.
type SiteStatus struct {
	Name       string `json:"name"`
	Kubeconfig string `json:"kubeconfig"`
	Endpoint   string `json:"endpoint"`
	Ready      bool   `json:"ready"`
}

// Status asks the lab's processes and API servers.
func (l *Lab) Status(ctx context.Context) (*Status, error) {
	out := &Status{Name: l.plan.Name, Dir: l.plan.Dir, UplinkOff: l.plan.uplinkIsOff()}
	control, err := l.control(ctx)
	if err == nil {
		out.Nodes, out.Cuts, out.OneWay, out.Firewall = control.Nodes, control.Cuts, control.OneWay, control.Firewall
		out.Up = !slices.ContainsFunc(control.Nodes, func(n NodeStatus) bool { return !n.Alive })
	}
	for i := range out.Nodes {
		_, n, err := l.plan.node(out.Nodes[i].Name)
		if err != nil {
			return nil, err
		}
		if out.Nodes[i].Alive {
			// A node that only just starts has no socket yet.
			_ = ask(ctx, n.socket(), "GET", "/daemons", &out.Nodes[i].Daemons)
		}
	}
	for _, s := range l.Sites() {
		st := SiteStatus{Name: s.Name(), Kubeconfig: s.KubeconfigPath(), Endpoint: s.Endpoint()}
		if control != nil {
			st.Ready = s.apiReady(ctx)
		}
		out.Sites = append(out.Sites, st)
	}
	return out, nil
}
