package pki

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestAttributes(t *testing.T) {
	key, err := NewKey()
	if err != nil {
		t.Fatal(err)
	}
	root, err := NewRoot(IssuerRequest{CommonName: "root", Key: key, Lifetime: time.Hour, Now: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]map[string]string{
		"none": nil,
		"some": {"role": "teller", "branch": "7"},
	} {
		t.Run(name, func(t *testing.T) {
			cert, err := root.Enrol(EnrolRequest{
				CommonName: "alice", Role: RoleClient, Public: key.Public(), Attributes: want, Lifetime: time.Minute, Now: time.Now(),
			})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, AttributesOf(cert)); diff != "" {
				t.Error(diff)
			}
		})
	}
}
