package image

import (
	"os"
	"slices"
	"testing"
)

// TestNginxSpec packs this machine's nginx; what is packed has to hold every library that the module needs, too.
func TestNginxSpec(t *testing.T) {
	tools, err := FindNginx(os.Args[0])
	if err != nil {
		t.Skip(err)
	}
	spec, err := NginxSpec(tools, "1.2.3")
	if err != nil {
		t.Fatal(err)
	}
	var paths []string
	for _, f := range spec.Files {
		if slices.Contains(paths, f.Path) {
			t.Errorf("%s is packed twice", f.Path)
		}
		paths = append(paths, f.Path)
	}
	module, err := os.ReadFile(tools.Module)
	if err != nil {
		t.Fatal(err)
	}
	libraries, err := ModuleLibraries(module)
	if err != nil || len(libraries) == 0 {
		t.Fatalf("the module needs %d libraries, %v", len(libraries), err)
	}
	want := []string{nginxProgram, nginxModule}
	for _, l := range libraries {
		want = append(want, l.Path)
	}
	for _, path := range want {
		if !slices.Contains(paths, path) {
			t.Errorf("%s is not packed: %q", path, paths)
		}
	}
	if spec.User != fabricUser || spec.Labels["org.opencontainers.image.version"] != "1.2.3" {
		t.Errorf("user %q, labels %v", spec.User, spec.Labels)
	}
	if _, err := ModuleLibraries([]byte("no library")); err == nil {
		t.Error("a text passed for a module")
	}
}
