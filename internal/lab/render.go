package lab

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"

	"sigs.k8s.io/yaml"
)

// Versions and names of what a node runs besides Kubernetes itself.
const (
	pauseRef   = "localhost/heddle-lab/pause:v1"
	corednsRef = "localhost/heddle-lab/coredns:v1.14.7"
	socketPath = "/run/containerd/containerd.sock"
)

// containerdConfig renders containerd's settings. The form is version 2, which
// containerd 1.6 to 2.x read.
func containerdConfig(n *NodePlan, cniBin string) string {
	return fmt.Sprintf(`version = 2
root = %q
state = "/run/containerd"
[grpc]
  address = %q
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = %q
  # Without CAP_SYS_RESOURCE nobody may lower an OOM score.
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = %q
    conf_dir = %q
  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = %q
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      # crun does what runc does in a fraction of the time: design/0004-crun.md.
      BinaryName = "crun"
`, n.path("containerd"), socketPath, pauseRef, cniBin, n.path("cni"), n.path(certsDir))
}

const (
	certsDir = "certs.d"
	// registryHost is the name that images of contracts have for a registry, and registryPort where each node has it
	// (config/registry).
	registryHost = "registry.heddle-system.svc:5000"
	registryPort = 30500
)

// registryHosts tells containerd, which resolves no Services, where the
// registry of an installation is: at the node's own address, which is not in
// the registry's certificate. Images are pulled by digest, so that whoever
// answers can only give the right bytes or none: skip_verify costs nothing, and
// the lab need not know the certificate, which the installation makes later.
func registryHosts(n *NodePlan) string {
	at := "https://" + netip.AddrPortFrom(n.addr(), registryPort).String()
	// containerd 1.6 refuses a file without the tree below "host".
	return fmt.Sprintf(`server = %[1]q
skip_verify = true
[host.%[1]q]
  capabilities = ["pull"]
  skip_verify = true
`, at)
}

// nodeResolver is the node's own /etc/resolv.conf. Nobody listens there, so
// that containerd learns at once that an image's host is unknown: the machine's
// servers cannot be reached from a node, and waiting for them takes 20 s.
const (
	nodeResolverFile = "node-resolv.conf"
	nodeResolver     = "nameserver 127.0.0.1\n"
)

// cniConfig renders the pod network of a node: a bridge with the node's pod
// range, routed (not masqueraded) to the others.
func cniConfig(n *NodePlan) ([]byte, error) {
	type m = map[string]any
	return json.MarshalIndent(m{
		"cniVersion": "0.4.0",
		"name":       "pods",
		"plugins": []m{
			{
				"type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": false, "hairpinMode": true,
				"ipam": m{
					"type":   "host-local",
					"ranges": [][]m{{{"subnet": n.podRange().String()}}},
					"routes": []m{{"dst": "0.0.0.0/0"}},
				},
			},
			{"type": "portmap", "capabilities": m{"portMappings": true}},
		},
	}, "", "  ")
}

// kubeletConfig renders the kubelet's settings.
func kubeletConfig(p *Plan, s *SitePlan, n *NodePlan) ([]byte, error) {
	type m = map[string]any
	return yaml.Marshal(m{
		"apiVersion": "kubelet.config.k8s.io/v1beta1",
		"kind":       "KubeletConfiguration",
		"authentication": m{
			"anonymous": m{"enabled": false},
			"webhook":   m{"enabled": true},
			"x509":      m{"clientCAFile": s.pki("ca.crt")},
		},
		"authorization":            m{"mode": "Webhook"},
		"tlsCertFile":              s.pki("kubelet-server-" + n.Name + ".crt"),
		"tlsPrivateKeyFile":        s.pki("kubelet-server-" + n.Name + ".key"),
		"containerRuntimeEndpoint": "unix://" + socketPath,
		"cgroupDriver":             "cgroupfs",
		"cgroupRoot":               "/" + p.cgroup() + "/" + n.Name,
		// Without this a kubelet refuses machines with control groups v1.
		"failCgroupV1":  false,
		"failSwapOn":    false,
		"clusterDNS":    []string{s.dnsService().String()},
		"clusterDomain": "cluster.local",
		// An empty file: the machine's own servers must not get into pods.
		"resolvConf": n.path("resolv.conf"),
		"evictionHard": m{
			"memory.available": "0%", "nodefs.available": "0%", "imagefs.available": "0%", "nodefs.inodesFree": "0%",
		},
		// Loaded images cannot be pulled again, so they are never collected.
		"imageGCHighThresholdPercent": 100,
		"imageGCLowThresholdPercent":  99,
		// The default, -999, cannot be set without CAP_SYS_RESOURCE.
		"oomScoreAdj":               0,
		"maxOpenFiles":              20000,
		"maxPods":                   250,
		"protectKernelDefaults":     false,
		"nodeStatusUpdateFrequency": "2s",
		"crashLoopBackOff":          m{"maxContainerRestartPeriod": "2s"},
		// The default would notice a full emptyDir only after minutes.
		"volumeStatsAggPeriod": "10s",
		"volumePluginDir":      n.path("volume-plugins"),
		"registerNode":         true,
		"serializeImagePulls":  false,
	})
}

// proxyConfig renders kube-proxy's settings.
func proxyConfig(s *SitePlan, n *NodePlan) ([]byte, error) {
	type m = map[string]any
	return yaml.Marshal(m{
		"apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
		"kind":       "KubeProxyConfiguration",
		"mode":       "nftables",
		// The default gathers changes for a second, and a new pod is not reached before.
		"nftables":          m{"minSyncPeriod": "100ms"},
		"clusterCIDR":       s.podRange().String(),
		"hostnameOverride":  n.Name,
		"nodePortAddresses": []string{"primary"},
		"clientConnection":  m{"kubeconfig": s.pki("kube-proxy.kubeconfig")},
		// The table's size can only be set in the machine's own network.
		"conntrack": m{"maxPerCore": 0, "min": 0},
	})
}

// writeNodeFiles makes a node's folders and renders its files.
func writeNodeFiles(p *Plan, s *SitePlan, n *NodePlan, cniBin string) error {
	if err := clearAddresses(n); err != nil {
		return fmt.Errorf("clear pod addresses of node %q: %w", n.Name, err)
	}
	for _, d := range []string{"log", "cni-state/results", "cni", "containerd", "kubelet", filepath.Join(certsDir, registryHost), "pod-logs", "container-logs", "volume-plugins"} {
		if err := os.MkdirAll(n.path(d), 0o755); err != nil {
			return fmt.Errorf("make folders of node %q: %w", n.Name, err)
		}
	}
	cni, err := cniConfig(n)
	if err != nil {
		return err
	}
	kubelet, err := kubeletConfig(p, s, n)
	if err != nil {
		return err
	}
	proxy, err := proxyConfig(s, n)
	if err != nil {
		return err
	}
	for path, raw := range map[string][]byte{
		n.path("containerd.toml"):                                   []byte(containerdConfig(n, cniBin)),
		filepath.Join(n.Dir, "cni/10-pods.conflist"):                cni,
		n.path("kubelet.yaml"):                                      kubelet,
		n.path("kube-proxy.yaml"):                                   proxy,
		n.path("resolv.conf"):                                       nil,
		n.path(nodeResolverFile):                                    []byte(nodeResolver),
		n.path(filepath.Join(certsDir, registryHost, "hosts.toml")): []byte(registryHosts(n)),
	} {
		if err := writeFile(path, raw, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// clearAddresses forgets the addresses of a node's pods: they end with its
// network namespace. The results' folder stays: other nodes watch it.
func clearAddresses(n *NodePlan) error {
	if err := os.RemoveAll(n.path("cni-state/networks")); err != nil {
		return err
	}
	files, err := filepath.Glob(n.path("cni-state/results/*"))
	if err != nil {
		return err
	}
	for _, f := range files {
		if err := os.Remove(f); err != nil {
			return err
		}
	}
	return nil
}
