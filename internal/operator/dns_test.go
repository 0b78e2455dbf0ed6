package operator

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"heddle.dev/heddle/internal/specs"
)

func TestCompleteDNS(t *testing.T) {
	file := filepath.Join(t.TempDir(), "resolv.conf")
	text := "# kubelet\nsearch heddle-system.svc.k8s.example svc.k8s.example k8s.example\nnameserver 10.96.0.10\nnameserver bad\nnameserver\noptions ndots:5\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		given specs.LinkSettings
		file  string
		want  specs.LinkSettings
	}{
		"from the pod": {file: file, want: specs.LinkSettings{DNS: []string{"10.96.0.10"}, Domain: "k8s.example"}},
		"as given":     {specs.LinkSettings{DNS: []string{"10.0.0.1"}, Domain: "a.b"}, file, specs.LinkSettings{DNS: []string{"10.0.0.1"}, Domain: "a.b"}},
		"no file":      {file: file + "x", want: specs.LinkSettings{Domain: "cluster.local"}},
	} {
		t.Run(name, func(t *testing.T) {
			completeDNS(&c.given, c.file)
			if diff := cmp.Diff(c.want, c.given); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}
