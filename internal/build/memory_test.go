package build

import (
	"os"
	"path/filepath"
	"testing"
)

func TestMemoryKills(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		want int
	}{
		"version 1":       {"oom_kill_disable 0\nunder_oom 0\noom_kill 3\n", 3},
		"version 2":       {"low 0\nhigh 0\nmax 12\noom 2\noom_kill 1\noom_group_kill 0\n", 1},
		"none":            {"oom_kill 0\n", 0},
		"an older kernel": {"oom_kill_disable 0\nunder_oom 0\n", 0},
		"no number":       {"oom_kill x\n", 0},
		"nothing":         {"", 0},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "events")
			if err := os.WriteFile(file, []byte(c.text), 0o600); err != nil {
				t.Fatal(err)
			}
			if got := memoryKills([]string{file + "-other", file}); got != c.want {
				t.Errorf("%d, want %d", got, c.want)
			}
		})
	}
	if got := memoryKills(nil); got != 0 {
		t.Errorf("%d without a file", got)
	}
}
