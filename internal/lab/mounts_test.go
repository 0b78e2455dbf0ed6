package lab

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const mountInfo = `22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw,discard
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu
38 31 0:35 / /sys/fs/cgroup/pids rw shared:3 master:1 - cgroup cgroup rw,pids
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
50 27 254:0 /a /labs/a\040b/x rw - ext4 /dev/vda rw
51 50 0:44 / /labs/a\040b/x/deep rw - tmpfs tmpfs rw
52 27 0:45 / /labs/a\040bc rw - tmpfs tmpfs rw
53 27 0:46 / /mnt/unified rw - cgroup2 cgroup2 rw
`

func TestParseMounts(t *testing.T) {
	mounts, err := parseMounts([]byte(mountInfo))
	if err != nil {
		t.Fatal(err)
	}
	wantGroups := []hierarchy{
		{root: "/sys/fs/cgroup/cpu"}, {root: "/sys/fs/cgroup/pids"}, {root: "/sys/fs/cgroup/unified", v2: true},
	}
	if diff := cmp.Diff(wantGroups, cgroupMounts(mounts), cmp.AllowUnexported(hierarchy{})); diff != "" {
		t.Error(diff)
	}
	below := map[string][]string{
		"/labs/a b":   {"/labs/a b/x/deep", "/labs/a b/x"},
		"/labs/a b/x": {"/labs/a b/x/deep", "/labs/a b/x"},
		"/labs/a":     nil,
		"/labs/a bc":  {"/labs/a bc"},
	}
	for dir, want := range below {
		if diff := cmp.Diff(want, mountsBelow(mounts, dir)); diff != "" {
			t.Errorf("below %s: %s", dir, diff)
		}
	}
}

func TestParseMountsRefuses(t *testing.T) {
	for name, line := range map[string]string{
		"no separator": "22 27 0:21 / /proc rw,relatime proc proc rw",
		"too short":    "22 27 - proc proc rw",
		"no type":      "22 27 0:21 / /proc rw - ",
	} {
		t.Run(name, func(t *testing.T) {
			if got, err := parseMounts([]byte(line)); err == nil {
				t.Errorf("accepted as %v", got)
			}
		})
	}
}

func TestUnescapeMount(t *testing.T) {
	for in, want := range map[string]string{
		`/a\040b`: "/a b", `/a\134040`: `/a\040`, `/a\011\012`: "/a\t\n", `/a\`: `/a\`, `/a\04`: `/a\04`, `/a\999`: `/a\999`,
	} {
		if got := unescapeMount(in); got != want {
			t.Errorf("unescapeMount(%q) = %q, want %q", in, got, want)
		}
	}
}

func FuzzParseMounts(f *testing.F) {
	f.Add([]byte(mountInfo))
	f.Add([]byte("1 2 3 4 5 6 - x"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		mounts, err := parseMounts(raw)
		if err != nil {
			return
		}
		for _, m := range mounts {
			if m.target == "" || m.kind == "" || strings.ContainsAny(m.kind, " \n") {
				t.Errorf("mount %+v of %q", m, raw)
			}
		}
	})
}
