package lab

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"
)

var update = flag.Bool("update", false, "write the golden files")

func golden(t *testing.T, file string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", file)
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
}

func TestNodeFiles(t *testing.T) {
	p := testPlan(t, 2, 2)
	s, n := &p.Sites[1], &p.Sites[1].Nodes[1]
	renders := map[string]func() ([]byte, error){
		"containerd.toml": func() ([]byte, error) { return []byte(containerdConfig(n, "/usr/lib/cni")), nil },
		"hosts.toml":      func() ([]byte, error) { return []byte(registryHosts(n)), nil },
		"cni.json":        func() ([]byte, error) { return cniConfig(n) },
		"kubelet.yaml":    func() ([]byte, error) { return kubeletConfig(p, s, n) },
		"kube-proxy.yaml": func() ([]byte, error) { return proxyConfig(s, n) },
		"objects.yaml":    func() ([]byte, error) { return objectsYAML(s) },
		"daemons-first.txt": func() ([]byte, error) {
			return daemonLines(p, s, &s.Nodes[0]), nil
		},
		"daemons-other.txt": func() ([]byte, error) { return daemonLines(p, s, n), nil },
	}
	for file, render := range renders {
		t.Run(file, func(t *testing.T) {
			got, err := render()
			if err != nil {
				t.Fatal(err)
			}
			golden(t, file, got)
		})
	}
}

func objectsYAML(s *SitePlan) ([]byte, error) {
	var out []byte
	for _, o := range siteObjects(s) {
		raw, err := yaml.Marshal(o)
		if err != nil {
			return nil, err
		}
		out = append(append(out, "---\n"...), raw...)
	}
	return out, nil
}

func daemonLines(p *Plan, s *SitePlan, n *NodePlan) []byte {
	var out strings.Builder
	for _, d := range daemons(p, s, n) {
		out.WriteString(d.name)
		for _, g := range d.wait {
			out.WriteString(" after:" + string(g))
		}
		out.WriteString("\n")
		for _, a := range d.argv {
			out.WriteString("  " + a + "\n")
		}
	}
	return []byte(out.String())
}

func TestWriteNodeFiles(t *testing.T) {
	p, err := newPlan("test", t.TempDir(), 1, []int{1})
	if err != nil {
		t.Fatal(err)
	}
	s, n := &p.Sites[0], &p.Sites[0].Nodes[0]
	if err := writeNodeFiles(p, s, n, "/usr/lib/cni"); err != nil {
		t.Fatal(err)
	}
	stale := n.path("cni-state/results/pods-old")
	if err := os.WriteFile(stale, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(n.path("cni-state/networks/pods"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := writeNodeFiles(p, s, n, "/usr/lib/cni"); err != nil {
		t.Fatalf("second time: %v", err)
	}
	for path, want := range map[string]bool{
		"containerd.toml": true, "cni/10-pods.conflist": true, "kubelet.yaml": true, "kube-proxy.yaml": true,
		"resolv.conf": true, "node-resolv.conf": true, "certs.d/registry.heddle-system.svc:5000/hosts.toml": true,
		"cni-state/results": true, "cni-state/results/pods-old": false, "cni-state/networks": false,
	} {
		if exists(n.path(path)) != want {
			t.Errorf("%s: exists is %t, want %t", path, !want, want)
		}
	}
}
