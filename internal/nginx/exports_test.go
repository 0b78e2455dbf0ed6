package nginx

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestExports: what was rendered is read back.
func TestExports(t *testing.T) {
	for name, c := range cases() {
		text, err := c.Render()
		if err != nil {
			t.Fatal(err)
		}
		var want []Route
		if l, ok := c.(Link); ok && len(l.Exports) > 0 {
			want = sorted(l.Exports)
		}
		if diff := cmp.Diff(want, Exports(text)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func FuzzExports(f *testing.F) {
	f.Add(exportsBegin + "\n\t\tpeer0-banka.trade 10.96.3.4:7051;\n\t\tdefault \"\";\n\t}")
	f.Add(exportsBegin)
	f.Fuzz(func(t *testing.T, config string) {
		for _, r := range Exports(config) {
			if r.SNI == "default" || checkAddress(r.To) != nil {
				t.Errorf("took %+v", r)
			}
		}
	})
}
