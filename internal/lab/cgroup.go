package lab

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// hierarchy is one mounted tree of control groups.
type hierarchy struct {
	root string
	v2   bool
}

const cgroupMount = "/sys/fs/cgroup"

// hierarchies lists the mounted trees: one when the machine has version 2
// only, else all of version 1 (and the version 2 tree beside them).
func hierarchies() ([]hierarchy, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(cgroupMount, &st); err != nil {
		return nil, fmt.Errorf("look at %s: %w", cgroupMount, err)
	}
	if st.Type == unix.CGROUP2_SUPER_MAGIC {
		return []hierarchy{{root: cgroupMount, v2: true}}, nil
	}
	mounts, err := readMounts()
	if err != nil {
		return nil, err
	}
	return cgroupMounts(mounts), nil
}

// cgroupMounts picks the trees below /sys/fs/cgroup out of a mount list.
func cgroupMounts(mounts []mount) []hierarchy {
	var out []hierarchy
	for _, m := range mounts {
		if filepath.Dir(m.target) != cgroupMount || (m.kind != "cgroup" && m.kind != "cgroup2") {
			continue
		}
		h := hierarchy{root: m.target, v2: m.kind == "cgroup2"}
		if !slices.Contains(out, h) {
			out = append(out, h)
		}
	}
	return out
}

// unified says whether the machine has version 2 only.
func unified(hs []hierarchy) bool { return len(hs) == 1 && hs[0].root == cgroupMount && hs[0].v2 }

// makeCgroup makes a group (a path from the root, each part is made) in every
// tree. In version 2 the controllers are handed down to all but the last part.
func makeCgroup(hs []hierarchy, path string) error {
	for _, h := range hs {
		dir := h.root
		for part := range strings.SplitSeq(path, "/") {
			if h.v2 {
				if err := handDown(dir, unified(hs)); err != nil {
					return err
				}
			}
			parent := dir
			dir = filepath.Join(dir, part)
			if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
				return fmt.Errorf("make control group: %w", err)
			}
			if err := copyCpuset(parent, dir); err != nil {
				return err
			}
		}
	}
	return nil
}

// controllers are what a kubelet asks for in version 2; the last two it can do
// without.
func controllers() []controller {
	return []controller{{"cpuset", true}, {"cpu", true}, {"memory", true}, {"pids", true}, {"io", false}, {"hugetlb", false}}
}

type controller struct {
	name     string
	required bool
}

// handDown enables a version 2 group's controllers for the groups below it.
// Beside version 1 trees that is of no use, and not done.
func handDown(dir string, wanted bool) error {
	if !wanted {
		return nil
	}
	file := filepath.Join(dir, "cgroup.subtree_control")
	enabled, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("read controllers: %w", err)
	}
	for _, c := range controllers() {
		if slices.Contains(strings.Fields(string(enabled)), c.name) {
			continue
		}
		// One by one: the kernel takes all of a list or nothing.
		err := appendFile(file, "+"+c.name)
		if err != nil && c.required {
			return fmt.Errorf("hand the controller %q down in %q (is a process directly in that group?): %w", c.name, dir, err)
		}
	}
	return nil
}

func appendFile(file, text string) error {
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}

// copyCpuset fills what version 1 leaves empty: a group with an empty set
// takes no process.
func copyCpuset(parent, dir string) error {
	for _, name := range []string{"cpuset.cpus", "cpuset.mems"} {
		own, err := os.ReadFile(filepath.Join(dir, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		if len(bytes.TrimSpace(own)) > 0 {
			continue
		}
		value, err := os.ReadFile(filepath.Join(parent, name))
		if err != nil {
			return err
		}
		if len(bytes.TrimSpace(value)) == 0 {
			continue
		}
		if err := os.WriteFile(filepath.Join(dir, name), value, 0); err != nil {
			return fmt.Errorf("copy %s to %q: %w", name, dir, err)
		}
	}
	return nil
}

// joinCgroup moves this process into a group.
func joinCgroup(hs []hierarchy, path string) error {
	for _, h := range hs {
		file := filepath.Join(h.root, path, "cgroup.procs")
		if err := os.WriteFile(file, []byte("0"), 0); err != nil {
			return fmt.Errorf("join control group %q: %w", path, err)
		}
	}
	return nil
}

// cgroupProcs lists the processes of a group and of all below it.
func cgroupProcs(hs []hierarchy, path string) ([]int, error) {
	var out []int
	for _, h := range hs {
		err := filepath.WalkDir(filepath.Join(h.root, path), func(file string, d fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			if err != nil || d.IsDir() || d.Name() != "cgroup.procs" {
				return err
			}
			raw, err := os.ReadFile(file) //nolint:gosec // G122: the kernel's own files, no links in them
			if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENODEV) {
				return nil
			}
			out = append(out, parsePids(raw)...)
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("list processes of control group %q: %w", path, err)
		}
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}

// parsePids reads one process id a line. Zero is a process of a pid namespace
// that cannot be seen from here: it cannot be killed by number either.
func parsePids(raw []byte) []int {
	var out []int
	lines := bufio.NewScanner(bytes.NewReader(raw))
	for lines.Scan() {
		if pid, err := strconv.Atoi(lines.Text()); err == nil && pid > 0 {
			out = append(out, pid)
		}
	}
	return out
}

// removeCgroup removes a group and all below it, deepest first. It fails with
// EBUSY while processes are in it.
func removeCgroup(hs []hierarchy, path string) error {
	for _, h := range hs {
		var dirs []string
		err := filepath.WalkDir(filepath.Join(h.root, path), func(file string, d fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			if err == nil && d.IsDir() {
				dirs = append(dirs, file)
			}
			return err
		})
		if err != nil {
			return fmt.Errorf("list control group %q: %w", path, err)
		}
		slices.Reverse(dirs)
		for _, d := range dirs {
			if err := unix.Rmdir(d); err != nil && !errors.Is(err, unix.ENOENT) {
				return fmt.Errorf("remove control group %q: %w", d, err)
			}
		}
	}
	return nil
}
