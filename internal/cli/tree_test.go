package cli

import "testing"

func TestRunning(t *testing.T) {
	for name, tc := range map[string]struct{ version, build, want string }{
		"nothing":    {"", "", ""},
		"no build":   {"3.1.5", "", "runs 3.1.5"},
		"a commit":   {"3.1.5", "1a2b3c4", "runs 3.1.5"},
		"a stand-in": {"3.1.5", "simulated", "runs 3.1.5 (simulated)"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := running(tc.version, tc.build); got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}
