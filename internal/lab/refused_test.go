package lab

import (
	"context"
	"os"
	"testing"
	"time"
)

// TestRefused: who asks for a way between two sites that is not open is counted, and nobody else.
func TestRefused(t *testing.T) {
	needRoot(t)
	p := testPlan(t, 2, 1)
	w, err := newWAN(p)
	if err != nil {
		t.Fatal(err)
	}
	defer w.ns.Close()
	defer w.nl.Close()
	var spaces []*os.File
	for i := range p.Sites {
		pid := sandbox(t)
		if err := w.attach(&p.Sites[i], &p.Sites[i].Nodes[0], pid); err != nil {
			t.Fatal(err)
		}
		ns, err := processNetns(pid)
		if err != nil {
			t.Fatal(err)
		}
		defer ns.Close()
		spaces = append(spaces, ns)
	}
	host := p.Sites[1].Nodes[0].addr().String()
	for _, port := range []string{":80", ":81"} {
		l, err := listenIn(t.Context(), spaces[1], host+port)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
	}
	dial := func(port string) error {
		ctx, cancel := context.WithTimeout(t.Context(), 400*time.Millisecond)
		defer cancel()
		c, err := dialIn(ctx, spaces[0], "tcp", host+port)
		if err == nil {
			c.Close()
		}
		return err
	}
	if err := w.firewall(t.Context(), []uint16{80}); err != nil {
		t.Fatal(err)
	}
	// The kernel takes up to a second to see that a link is up.
	eventually(t, 30*time.Second, "the open port answers", func() error { return dial(":80") })
	if have, err := w.refused(t.Context()); err != nil || have.Packets != 0 {
		t.Errorf("nobody asked for a way that is not open, and %+v are counted (%v)", have, err)
	}
	if err := dial(":81"); err == nil {
		t.Error("a port that is not open answers")
	}
	if have, err := w.refused(t.Context()); err != nil || have.Packets == 0 {
		t.Errorf("a connection was refused, and %+v are counted (%v)", have, err)
	}
}

func TestCountOf(t *testing.T) {
	cases := map[string]struct {
		said string
		want uint64
		bad  bool
	}{
		"a counter": {
			said: `{"nftables": [{"metainfo": {"version": "1.0.6"}}, {"counter": {"family": "inet", "name": "refused", "table": "t", "packets": 7, "bytes": 420}}]}`,
			want: 7,
		},
		"none":    {said: `{"nftables": [{"metainfo": {}}]}`, bad: true},
		"no JSON": {said: "table inet t", bad: true},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := countOf([]byte(c.said))
			if got != c.want || (err != nil) != c.bad {
				t.Errorf("got %d, %v", got, err)
			}
		})
	}
}
