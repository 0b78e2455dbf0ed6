package lab

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// systemPath is where Debian puts what a node runs.
const systemPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// packages maps each program that a lab runs to the Debian package that has it.
func packages() [][2]string {
	return [][2]string{
		{"containerd", "containerd"},
		{"ctr", "containerd"},
		{"containerd-shim-runc-v2", "containerd"},
		{"crun", "crun"},
		{"nft", "nftables"},
		{"iptables", "iptables"},
		{"conntrack", "conntrack"},
	}
}

func cniPlugins() []string { return []string{"bridge", "host-local", "loopback", "portmap"} }

// ErrNeeds marks an error that the user can only mend on the machine: rights,
// packages or programs are missing.
var ErrNeeds = errors.New("this machine cannot run a lab yet")

// checkNeeds says in one sentence what is missing.
func checkNeeds(libexec string) error {
	if os.Geteuid() != 0 {
		return fmt.Errorf("%w: it makes namespaces and mounts, so it must run as root: use sudo", ErrNeeds)
	}
	_, err := findCNI()
	if err := checkPackages(func(p string) bool { return findProgram(p) != "" }, err == nil); err != nil {
		return err
	}
	if !exists("/proc/sys/net/bridge") {
		return fmt.Errorf("%w: the kernel does not filter bridged packets; modprobe br_netfilter", ErrNeeds)
	}
	for _, name := range append([]string{"kube"}, baseImages()...) {
		if !exists(filepath.Join(libexec, name)) {
			return fmt.Errorf("%w: no %q in %s: build it with \"make images\", or set HEDDLE_LIBEXEC to the folder that has it",
				ErrNeeds, name, libexec)
		}
	}
	return nil
}

// checkPackages names the programs that are not there, and how to get them.
func checkPackages(have func(program string) bool, cni bool) error {
	var missing, wanted []string
	for _, p := range packages() {
		if !have(p[0]) {
			missing, wanted = append(missing, p[0]), appendNew(wanted, p[1])
		}
	}
	if !cni {
		missing, wanted = append(missing, "CNI plugins"), appendNew(wanted, "containernetworking-plugins")
	}
	if len(missing) == 0 {
		return nil
	}
	return fmt.Errorf("%w: %s not found; apt-get install -y --no-install-recommends %s",
		ErrNeeds, strings.Join(missing, ", "), strings.Join(wanted, " "))
}

// checkWatches makes sure that the nodes' processes can watch their files. The
// kernel limits how many watchers one user has on the whole machine, and a
// kubelet that gets none fails again and again.
func checkWatches(p *Plan) error {
	const firstNode, otherNode = 22, 10
	wanted := 0
	for _, s := range p.Sites {
		wanted += firstNode + otherNode*(len(s.Nodes)-1)
	}
	var open []int
	defer func() {
		for _, fd := range open {
			_ = unix.Close(fd)
		}
	}()
	for range wanted {
		fd, err := unix.InotifyInit1(unix.IN_CLOEXEC)
		if errors.Is(err, unix.EMFILE) {
			return fmt.Errorf("%w: this lab needs %d inotify instances and only %d are free; sysctl fs.inotify.max_user_instances=1024",
				ErrNeeds, wanted, len(open))
		}
		if err != nil {
			return fmt.Errorf("look for free inotify instances: %w", err)
		}
		open = append(open, fd)
	}
	return nil
}

func findProgram(name string) string {
	for dir := range strings.SplitSeq(systemPath, ":") {
		if path, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return path
		}
	}
	return ""
}

// findCNI finds the folder of the pod network plugins.
func findCNI() (string, error) {
	for _, dir := range []string{"/usr/lib/cni", "/opt/cni/bin", "/usr/libexec/cni"} {
		complete := true
		for _, name := range cniPlugins() {
			if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
				complete = false
			}
		}
		if complete {
			return dir, nil
		}
	}
	return "", fmt.Errorf("find CNI plugins %s: none of the usual folders has them all", strings.Join(cniPlugins(), ", "))
}

func appendNew(list []string, s string) []string {
	for _, have := range list {
		if have == s {
			return list
		}
	}
	return append(list, s)
}

// findLibexec says where the programs that are built beside heddle are:
// HEDDLE_LIBEXEC, else heddle's own folder.
func findLibexec(heddle string) (string, error) {
	if dir := os.Getenv("HEDDLE_LIBEXEC"); dir != "" {
		return filepath.Abs(dir)
	}
	return filepath.Dir(heddle), nil
}

// findHeddle says which program runs the lab's own processes: this one, or,
// when this one is something else (a test), the one in HEDDLE_LIBEXEC.
func findHeddle() (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("find this program: %w", err)
	}
	if self, err = filepath.EvalSymlinks(self); err != nil {
		return "", fmt.Errorf("find this program: %w", err)
	}
	if name := filepath.Base(self); name == "heddle" || name == "kubectl-heddle" {
		return self, nil
	}
	if dir := os.Getenv("HEDDLE_LIBEXEC"); dir != "" {
		if path := filepath.Join(dir, "heddle"); exists(path) {
			return filepath.Abs(path)
		}
	}
	return "", fmt.Errorf("%w: %q is not heddle: set HEDDLE_LIBEXEC to the folder that has heddle and kube", ErrNeeds, self)
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
