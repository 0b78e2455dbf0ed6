package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const profile = `mode: set
heddle.dev/heddle/internal/pki/a.go:1.1,2.2 3 1
heddle.dev/heddle/internal/pki/a.go:3.1,4.2 1 0
heddle.dev/heddle/internal/pki/a.go:3.1,4.2 1 1
heddle.dev/heddle/internal/lab/policy/b.go:1.1,2.2 4 0
heddle.dev/heddle/api/v1alpha1/zz_generated.deepcopy.go:1.1,2.2 100 0
heddle.dev/heddle/cmd/heddle/main.go:1.1,2.2 100 0
`

func TestParseAndReport(t *testing.T) {
	packages, err := parse(strings.NewReader(profile))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]count{"internal/pki": {4, 4}, "internal/lab/policy": {4, 0}, "cmd/heddle": {100, 0}}
	if diff := cmp.Diff(want, packages, cmp.AllowUnexported(count{})); diff != "" {
		t.Errorf("packages (-want +got):\n%s", diff)
	}
	var out bytes.Buffer
	if err := report(&out, packages, 80); err == nil || !strings.Contains(err.Error(), "room 2 ") {
		t.Errorf("got %v, want room 2 to be named", err)
	}
	if err := report(&out, packages, 0); err != nil {
		t.Error(err)
	}
	if strings.Contains(out.String(), "cmd/heddle") {
		t.Error("a main counts")
	}
}

func TestParseRefuses(t *testing.T) {
	for _, line := range []string{"a.go:1.1,2.2 3", "a.go:1.1,2.2 x 1"} {
		if _, err := parse(strings.NewReader(line)); err == nil {
			t.Errorf("%q was read", line)
		}
	}
}

func TestRoomOf(t *testing.T) {
	cases := map[string]int{
		"api/v1alpha1": 0, "internal/fabric/msp": 0, "internal/specs/peer": 1, "internal/controller/peer": 2,
		"internal/builder": 2, "internal/buildx": -1, "internal/controller/controllertest": -1, "internal/cli": -1, "cmd/heddle": -1,
	}
	for pkg, want := range cases {
		if got := roomOf(pkg); got != want {
			t.Errorf("%s is in room %d, want %d", pkg, got, want)
		}
	}
}
