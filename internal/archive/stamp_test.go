package archive

import (
	"os"
	"path/filepath"
	"testing"
)

// TestStamp: it changes with the files that would be packed, and with nothing else.
func TestStamp(t *testing.T) {
	dir := t.TempDir()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	last := ""
	for _, step := range []struct {
		name, file, content string
		changes             bool
	}{
		{"a file comes", "main.go", "package main", true},
		{"nothing", "", "", false},
		{"it is written", "main.go", "package main // more", true},
		{"what to ignore is said", IgnoreFile, "*.log\n", false},
		{"an ignored file comes", "a.log", "x", false},
		{"another comes", "sub/b.go", "x", true},
	} {
		if step.file != "" {
			name := filepath.Join(dir, step.file)
			if err := os.MkdirAll(filepath.Dir(name), 0o750); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(name, []byte(step.content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		now, err := Stamp(t.Context(), root)
		if err != nil {
			t.Fatal(err)
		}
		if (now != last) != step.changes {
			t.Errorf("%s: changed %t", step.name, now != last)
		}
		last = now
	}
}
