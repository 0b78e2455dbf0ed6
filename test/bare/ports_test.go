package bare

import "testing"

// TestFreePorts: nodes that start at the same time have different ports, though none listens yet.
func TestFreePorts(t *testing.T) {
	seen := map[string]bool{}
	for range 300 {
		ports, err := freePorts(3)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range ports {
			if seen[p] {
				t.Fatalf("port %s was drawn twice", p)
			}
			seen[p] = true
		}
	}
}
