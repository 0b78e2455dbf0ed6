package lab

import (
	"fmt"
	"path/filepath"
)

// gate is something that a daemon's first start waits for.
type gate string

const (
	gateAPI    gate = "api"    // the site's API server is ready
	gateNode   gate = "node"   // the node's object exists
	gateImages gate = "images" // the base images are in containerd
)

// daemon is one process that a node keeps running.
type daemon struct {
	name string
	argv []string
	env  []string
	wait []gate
}

// daemons lists what runs on a node; the control plane is on the first one.
func daemons(p *Plan, s *SitePlan, n *NodePlan) []daemon {
	kube := filepath.Join(p.Libexec, "kube")
	out := []daemon{{name: "containerd", argv: []string{"containerd", "-c", n.path("containerd.toml")}}}
	if n.controlPlane() {
		out = append(out,
			daemon{name: "etcd", argv: etcdArgs(kube, s)},
			daemon{name: "kube-apiserver", argv: apiserverArgs(kube, s)},
			daemon{name: "agent", argv: p.role("agent", n.Name), wait: []gate{gateAPI}},
			daemon{name: "kube-controller-manager", argv: managerArgs(kube, s), wait: []gate{gateAPI}},
			daemon{name: "kube-scheduler", argv: schedulerArgs(kube, s), wait: []gate{gateAPI}},
		)
	}
	return append(out,
		daemon{name: "kubelet", wait: []gate{gateNode, gateImages}, argv: []string{
			kube, "kubelet", "--config=" + n.path("kubelet.yaml"),
			"--kubeconfig=" + s.pki("kubelet-"+n.Name+".kubeconfig"),
			"--hostname-override=" + n.Name, "--node-ip=" + n.addr().String(),
		}},
		daemon{name: "kube-proxy", wait: []gate{gateNode}, argv: []string{
			kube, "kube-proxy", "--config=" + n.path("kube-proxy.yaml"),
		}},
	)
}

// role is the command line of one of this program's own processes. The lab's
// id is in it, so that whatever is left of a lab can be found in /proc.
func (p *Plan) role(role, node string) []string {
	argv := []string{filepath.Join(p.Dir, "bin", "heddle"), "lab", "internal", role, "--lab-id=" + p.ID, "--dir=" + p.Dir}
	if node != "" {
		argv = append(argv, "--node="+node)
	}
	return argv
}

func etcdArgs(kube string, s *SitePlan) []string {
	return []string{
		kube, "etcd", "--name=" + s.Name, "--data-dir=" + filepath.Join(s.Dir, "etcd"),
		"--listen-client-urls=https://127.0.0.1:2379", "--advertise-client-urls=https://127.0.0.1:2379",
		"--listen-peer-urls=http://127.0.0.1:2380", "--initial-advertise-peer-urls=http://127.0.0.1:2380",
		"--initial-cluster=" + s.Name + "=http://127.0.0.1:2380",
		"--cert-file=" + s.pki("etcd.crt"), "--key-file=" + s.pki("etcd.key"),
		"--trusted-ca-file=" + s.pki("ca.crt"), "--client-cert-auth",
		"--unsafe-no-fsync", "--log-level=warn",
	}
}

func apiserverArgs(kube string, s *SitePlan) []string {
	return []string{
		kube, "kube-apiserver",
		"--advertise-address=" + s.Nodes[0].addr().String(), "--bind-address=0.0.0.0", fmt.Sprintf("--secure-port=%d", apiPort),
		"--etcd-servers=https://127.0.0.1:2379", "--etcd-cafile=" + s.pki("ca.crt"),
		"--etcd-certfile=" + s.pki("etcd.crt"), "--etcd-keyfile=" + s.pki("etcd.key"),
		"--service-cluster-ip-range=" + s.svcRange().String(),
		"--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction", "--allow-privileged=true",
		"--client-ca-file=" + s.pki("ca.crt"),
		"--tls-cert-file=" + s.pki("apiserver.crt"), "--tls-private-key-file=" + s.pki("apiserver.key"),
		"--kubelet-client-certificate=" + s.pki("apiserver-kubelet-client.crt"),
		"--kubelet-client-key=" + s.pki("apiserver-kubelet-client.key"),
		"--kubelet-certificate-authority=" + s.pki("ca.crt"), "--kubelet-preferred-address-types=InternalIP",
		"--service-account-issuer=https://kubernetes.default.svc.cluster.local",
		"--service-account-key-file=" + s.pki("sa.pub"), "--service-account-signing-key-file=" + s.pki("sa.key"),
		"--requestheader-client-ca-file=" + s.pki("front-proxy-ca.crt"), "--requestheader-allowed-names=front-proxy-client",
		"--requestheader-extra-headers-prefix=X-Remote-Extra-", "--requestheader-group-headers=X-Remote-Group",
		"--requestheader-username-headers=X-Remote-User",
		"--proxy-client-cert-file=" + s.pki("front-proxy-client.crt"), "--proxy-client-key-file=" + s.pki("front-proxy-client.key"),
		"--profiling=false",
	}
}

func managerArgs(kube string, s *SitePlan) []string {
	config := s.pki("kube-controller-manager.kubeconfig")
	return []string{
		kube, "kube-controller-manager",
		"--kubeconfig=" + config, "--authentication-kubeconfig=" + config, "--authorization-kubeconfig=" + config,
		"--service-account-private-key-file=" + s.pki("sa.key"), "--root-ca-file=" + s.pki("ca.crt"),
		"--cluster-signing-cert-file=" + s.pki("ca.crt"), "--cluster-signing-key-file=" + s.pki("ca.key"),
		"--allocate-node-cidrs=false", "--service-cluster-ip-range=" + s.svcRange().String(),
		"--leader-elect=false", "--use-service-account-credentials", "--profiling=false",
		"--kube-api-qps=300", "--kube-api-burst=600", "--pvclaimbinder-sync-period=1s",
		"--node-monitor-period=1s", "--node-monitor-grace-period=20s",
	}
}

func schedulerArgs(kube string, s *SitePlan) []string {
	config := s.pki("kube-scheduler.kubeconfig")
	return []string{
		kube, "kube-scheduler", "--kubeconfig=" + config,
		"--authentication-kubeconfig=" + config, "--authorization-kubeconfig=" + config, "--leader-elect=false",
	}
}
