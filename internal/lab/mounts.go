package lab

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// mount is one line of /proc/self/mountinfo, as far as it is of use here.
type mount struct {
	target string
	kind   string
}

func readMounts() ([]mount, error) {
	raw, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("read mounts: %w", err)
	}
	return parseMounts(raw)
}

// parseMounts reads the form of /proc/PID/mountinfo.
func parseMounts(raw []byte) ([]mount, error) {
	var out []mount
	lines := bufio.NewScanner(bytes.NewReader(raw))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		before, after, found := strings.Cut(lines.Text(), " - ")
		left, right := strings.Fields(before), strings.Fields(after)
		if !found || len(left) < 6 || len(right) < 1 {
			return nil, fmt.Errorf("read mounts: line %q has not the expected form", lines.Text())
		}
		out = append(out, mount{target: unescapeMount(left[4]), kind: right[0]})
	}
	return out, lines.Err()
}

// unescapeMount undoes the kernel's \ooo for blanks and backslashes.
func unescapeMount(s string) string {
	var out strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if v, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				out.WriteByte(byte(v))
				i += 3
				continue
			}
		}
		out.WriteByte(s[i])
	}
	return out.String()
}

// mountsBelow lists the targets at or below dir, the last mounted first.
func mountsBelow(mounts []mount, dir string) []string {
	var out []string
	for i := len(mounts) - 1; i >= 0; i-- {
		if t := mounts[i].target; t == dir || strings.HasPrefix(t, dir+"/") {
			out = append(out, t)
		}
	}
	return out
}

// unmountBelow removes every mount at or below dir from this namespace.
func unmountBelow(dir string) error {
	mounts, err := readMounts()
	if err != nil {
		return err
	}
	for _, target := range mountsBelow(mounts, dir) {
		if err := unix.Unmount(target, unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) {
			return fmt.Errorf("unmount %q: %w", target, err)
		}
	}
	return nil
}

// mountNode gives the calling process, which is process 1 of fresh namespaces,
// a node's view of the file system. The machine's own folders are covered, not
// written to.
func mountNode(p *Plan, n *NodePlan) error {
	// Private first: else what follows would also happen on the machine.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	if err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("mount /proc: %w", err)
	}
	keep := []string{p.Dir, p.Libexec}
	for _, dir := range []string{"/run", "/var/lib", "/var/log"} {
		if err := cover(dir, keep); err != nil {
			return err
		}
	}
	if err := mountSysfs(); err != nil {
		return err
	}
	binds := map[string]string{
		// The device plugins' socket has a fixed path below this folder.
		"/var/lib/kubelet":    n.path("kubelet"),
		"/var/lib/cni":        n.path("cni-state"),
		"/var/log/pods":       n.path("pod-logs"),
		"/var/log/containers": n.path("container-logs"),
	}
	for target, source := range binds {
		if err := bind(source, target, 0); err != nil {
			return err
		}
	}
	if err := bindResolver(n); err != nil {
		return err
	}
	if err := os.MkdirAll("/run/lock", 0o755); err != nil {
		return err
	}
	// Pods with mount propagation need a shared tree.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SHARED, ""); err != nil {
		return fmt.Errorf("make mounts shared: %w", err)
	}
	return nil
}

// bindResolver gives the node a resolv.conf of its own. A machine may have
// none, or a link into a folder that is covered here: without the file lookups
// ask 127.0.0.1 just as well.
func bindResolver(n *NodePlan) error {
	const target = "/etc/resolv.conf"
	err := unix.Mount(n.path(nodeResolverFile), target, "", unix.MS_BIND, "")
	if err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("bind %q: %w", target, err)
	}
	return nil
}

func bind(source, target string, flags uintptr) error {
	if err := os.MkdirAll(target, 0o755); err != nil {
		return err
	}
	if err := unix.Mount(source, target, "", unix.MS_BIND|flags, ""); err != nil {
		return fmt.Errorf("bind %q to %q: %w", source, target, err)
	}
	return nil
}

// cover mounts an empty file system on dir, through which the folders of keep
// that are below dir stay visible.
func cover(dir string, keep []string) error {
	var kept []*os.File
	defer func() {
		for _, f := range kept {
			f.Close()
		}
	}()
	for _, k := range keep {
		if !strings.HasPrefix(k, dir+"/") {
			continue
		}
		f, err := os.Open(k)
		if err != nil {
			return err
		}
		kept = append(kept, f)
	}
	if err := unix.Mount("tmpfs", dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=755"); err != nil {
		return fmt.Errorf("cover %q: %w", dir, err)
	}
	for _, f := range kept {
		if err := bind(fmt.Sprintf("/proc/self/fd/%d", f.Fd()), f.Name(), unix.MS_REC); err != nil {
			return err
		}
	}
	return nil
}

// mountSysfs replaces /sys by one of this network namespace, with the same
// control groups.
func mountSysfs() error {
	const aside = "/run/cgroup-aside"
	if err := bind(cgroupMount, aside, unix.MS_REC); err != nil {
		return err
	}
	if err := unix.Unmount("/sys", unix.MNT_DETACH); err != nil {
		return fmt.Errorf("unmount /sys: %w", err)
	}
	if err := unix.Mount("sysfs", "/sys", "sysfs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("mount /sys: %w", err)
	}
	if err := unix.Mount(aside, cgroupMount, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("bind control groups: %w", err)
	}
	if err := unix.Unmount(aside, unix.MNT_DETACH); err != nil {
		return fmt.Errorf("unmount %q: %w", aside, err)
	}
	if err := os.Remove(filepath.Clean(aside)); err != nil {
		return err
	}
	return hideSecondVersion()
}

// hideSecondVersion takes the tree of control groups of version 2 out of a node
// whose machine has those of version 1 beside it: nothing in a node uses it,
// and crun refuses to choose.
func hideSecondVersion() error {
	hs, err := hierarchies()
	if err != nil || unified(hs) {
		return err
	}
	for _, h := range hs {
		if !h.v2 {
			continue
		}
		if err := unix.Unmount(h.root, unix.MNT_DETACH); err != nil {
			return fmt.Errorf("unmount %q: %w", h.root, err)
		}
	}
	return nil
}
