package lab

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

func TestNewPlan(t *testing.T) {
	cases := map[string]struct {
		name  string
		sites int
		nodes []int
		want  string // sites and nodes
		bad   string // part of the error
	}{
		"one":                {name: "a", sites: 1, nodes: []int{1}, want: "site1: site1-n1"},
		"one number for all": {name: "a", sites: 2, nodes: []int{2}, want: "site1: site1-n1 site1-n2; site2: site2-n1 site2-n2"},
		"one for each":       {name: "a", sites: 2, nodes: []int{2, 1}, want: "site1: site1-n1 site1-n2; site2: site2-n1"},
		"no site":            {name: "a", sites: 0, nodes: []int{1}, bad: "sites: 0"},
		"too many sites":     {name: "a", sites: 21, nodes: []int{1}, bad: "sites: 21"},
		"no node":            {name: "a", sites: 1, nodes: []int{0}, bad: "nodes: 0"},
		"too many nodes":     {name: "a", sites: 1, nodes: []int{101}, bad: "nodes: 101"},
		"numbers missing":    {name: "a", sites: 3, nodes: []int{1, 2}, bad: "one for each of the 3"},
		"name with slash":    {name: "../a", sites: 1, nodes: []int{1}, bad: `"../a"`},
		"name too long":      {name: strings.Repeat("a", 21), sites: 1, nodes: []int{1}, bad: "at most 20"},
		"no name":            {name: "", sites: 1, nodes: []int{1}, bad: `""`},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			p, err := newPlan(tc.name, "/labs/a", tc.sites, tc.nodes)
			if tc.bad != "" {
				if err == nil || !strings.Contains(err.Error(), tc.bad) {
					t.Fatalf("error %v, want one with %q", err, tc.bad)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var sites []string
			for _, s := range p.Sites {
				var nodes []string
				for _, n := range s.Nodes {
					nodes = append(nodes, n.Name)
				}
				sites = append(sites, s.Name+": "+strings.Join(nodes, " "))
			}
			if diff := cmp.Diff(tc.want, strings.Join(sites, "; ")); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestAddresses(t *testing.T) {
	p := testPlan(t, 20, 100)
	s, n := &p.Sites[1], &p.Sites[1].Nodes[2]
	got := []string{
		n.addr().String(), n.podRange().String(), n.mac().String(), n.port(), s.gateway().String(), s.podRange().String(),
		s.svcRange().String(), s.apiService().String(), s.dnsService().String(), s.apiURL(),
	}
	want := []string{
		"10.200.2.13", "10.104.3.0/24", "02:00:0a:c8:02:0d", "v2-3", "10.200.2.1", "10.104.0.0/16",
		"10.105.0.0/16", "10.105.0.1", "10.105.0.10", "https://10.200.2.11:6443",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// TestRangesApart takes the largest lab there can be.
func TestRangesApart(t *testing.T) {
	p := testPlan(t, maxSites, maxNodes)
	var all []netip.Prefix
	seen := map[string]bool{}
	for i := range p.Sites {
		s := &p.Sites[i]
		all = append(all, s.ranges()...)
		for j := range s.Nodes {
			n := &s.Nodes[j]
			if !s.nodeRange().Contains(n.addr()) || !s.podRange().Overlaps(n.podRange()) {
				t.Fatalf("node %s is not in its site's ranges", n.Name)
			}
			for _, key := range []string{n.addr().String(), n.mac().String(), n.port(), n.podRange().String()} {
				if seen[key] {
					t.Fatalf("%s is used twice", key)
				}
				seen[key] = true
			}
			if len(n.port()) > 15 {
				t.Fatalf("link name %q is longer than the kernel allows", n.port())
			}
		}
	}
	for i, a := range all {
		for _, b := range all[i+1:] {
			if a.Overlaps(b) {
				t.Fatalf("ranges %s and %s overlap", a, b)
			}
		}
	}
}

func TestLookups(t *testing.T) {
	p := testPlan(t, 2, 2)
	if s, n, err := p.node("site2-n1"); err != nil || s.Name != "site2" || n.Index != 1 {
		t.Errorf("node site2-n1: %v %v %v", s, n, err)
	}
	if _, _, err := p.node("site3-n1"); err == nil || !strings.Contains(err.Error(), `"site3-n1"`) {
		t.Errorf("unknown node: %v", err)
	}
	if _, err := p.site("x"); err == nil || !strings.Contains(err.Error(), "site1 to site2") {
		t.Errorf("unknown site: %v", err)
	}
	if !p.sameShape(testPlan(t, 2, 2)) || p.sameShape(testPlan(t, 2, 1)) || p.sameShape(testPlan(t, 1, 2)) {
		t.Error("sameShape is wrong")
	}
	if labID("/labs/a") == labID("/labs/b") {
		t.Error("two folders have one id")
	}
	if diff := cmp.Diff("site1 (nodes: 2), site2 (nodes: 2)", p.shape()); diff != "" {
		t.Error(diff)
	}
}

func testPlan(t *testing.T, sites int, nodes ...int) *Plan {
	t.Helper()
	p, err := newPlan("test", "/labs/test", sites, nodes)
	if err != nil {
		t.Fatal(err)
	}
	p.Heddle, p.Libexec = "/opt/heddle/heddle", "/opt/heddle"
	return p
}

func TestCommandLinesBelong(t *testing.T) {
	p := testPlan(t, 1, 1)
	proc := func(argv []string) []byte { return []byte(strings.Join(argv, "\x00") + "\x00") }
	cases := map[string]struct {
		cmdline []byte
		want    bool
	}{
		"supervisor":        {proc(p.role("supervisor", "")), true},
		"node":              {proc(p.role("node", "site1-n1")), true},
		"another lab":       {proc((&Plan{ID: "0000", Dir: p.Dir}).role("node", "site1-n1")), false},
		"an editor":         {proc([]string{"vi", "lab", "internal", "--lab-id=" + p.ID}), false},
		"the command":       {proc([]string{"heddle", "lab", "up", "--name", "test"}), false},
		"a kernel thread":   {nil, false},
		"only its folder":   {proc([]string{"tail", "-f", p.Dir}), false},
		"id with an ending": {proc([]string{"h", "lab", "internal", "node", "--lab-id=" + p.ID + "0"}), false},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got := belongs(tc.cmdline, p.ID); got != tc.want {
				t.Errorf("belongs(%q) = %t", tc.cmdline, got)
			}
		})
	}
}

func TestCloseInherited(t *testing.T) {
	var ends [2]int
	if err := unix.Pipe2(ends[:], 0); err != nil { // as a shell leaves its files open
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = unix.Close(ends[0]), unix.Close(ends[1]) })
	if err := closeInherited(); err != nil {
		t.Fatal(err)
	}
	for _, fd := range ends {
		if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
			t.Errorf("file %d goes on to other programs (flags %d, %v)", fd, flags, err)
		}
	}
}

func TestKillPending(t *testing.T) {
	status := func(own, shared string) string {
		return "Name:\ta\nState:\tS (sleeping)\nSigQ:\t1/9\nSigPnd:\t" + own + "\nShdPnd:\t" + shared + "\nSigBlk:\tffffffffffffffff\n"
	}
	const none, kill, hangup = "0000000000000000", "0000000000000100", "0000000000000001"
	for name, tc := range map[string]struct {
		status string
		want   bool
	}{
		"nothing":      {status(none, none), false},
		"another":      {status(hangup, hangup), false},
		"to the whole": {status(none, kill), true},
		"to a thread":  {status(kill, none), true},
		"empty":        {"", false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := killPending([]byte(tc.status)); got != tc.want {
				t.Errorf("killPending = %t", got)
			}
		})
	}
}

func TestStatDying(t *testing.T) {
	line := func(state string, flags int) string {
		return fmt.Sprintf("12 (a) b (c) %s 1 12 12 0 -1 %d 100 0 0", state, flags)
	}
	cases := map[string]struct {
		stat string
		want bool
	}{
		"sleeping": {line("S", 4194560), false},
		"exiting":  {line("D", 4194560|4), true},
		"zombie":   {line("Z", 4194560), true},
		"dead":     {line("X", 4194560), true},
		"cut off":  {"12 (a", true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got := statDying([]byte(tc.stat)); got != tc.want {
				t.Errorf("statDying = %t", got)
			}
		})
	}
}
