package traffic

import (
	"errors"
	"flag"
	"fmt"
	"math"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/common/expfmt"

	"heddle.dev/heddle/internal/pki"
)

var update = flag.Bool("update", false, "write golden files")

// notes are messages as nginx 1.22 sends them.
var notes = []string{
	`<190>Nov 27 11:40:01 nginx: {"time":"2026-11-27T11:40:01+00:00","port":"8444","from":"10.1.0.4","sni":"peer0-banka.trade","to":"10.96.3.4:7051","status":"200","in":1200,"out":3400,"seconds":12.345}`,
	`<190>Nov 27 11:40:02 nginx: {"time":"2026-11-27T11:40:02+00:00","port":"8444","from":"10.1.0.4","sni":"peer0-banka.trade","to":"10.96.3.4:7051","status":"200","in":800,"out":600,"seconds":0.655}`,
	`<190>Nov 27 11:40:03 nginx: {"time":"2026-11-27T11:40:03+00:00","port":"8444","from":"10.1.0.4","sni":"orderer9-banka.trade","to":"","status":"500","in":517,"out":0,"seconds":0.002}`,
	`<190>Nov 27 11:40:03 nginx: {"time":"2026-11-27T11:40:03+00:00","port":"8444","from":"10.1.0.4","sni":"","to":"","status":"403","in":0,"out":0,"seconds":0.001}`,
	`<190>Nov 27 11:40:04 nginx: {"time":"2026-11-27T11:40:04+00:00","port":"8443","from":"10.1.0.9","sni":"peer0-bankb.trade","to":"192.0.2.7:443, 192.0.2.8:443","status":"200","in":10,"out":20,"seconds":1.000}`,
	`<190>Nov 27 11:40:04 nginx: {"time":"2026-11-27T11:40:04+00:00","port":"8443","from":"10.1.0.9","sni":"peer0-bankb.trade","to":"192.0.2.7:443","status":"502","in":10,"out":0,"seconds":5.000}`,
	`<190>Nov 27 11:40:05 nginx: {"time":"2026-11-27T11:40:05+00:00","port":"8443","from":"10.1.0.9","sni":"\u0000\"}evil\n","to":"192.0.2.7:443","status":"200","in":1,"out":1,"seconds":0}`,
	`<190>Nov 27 11:40:05 nginx: {"time":"2026-11-27T11:40:05+00:00","port":"9999","from":"10.1.0.9","sni":"x","to":"y","status":"200","in":1,"out":1,"seconds":0}`,
}

func sockets() (map[int]int, error) { return map[int]int{8444: 3, 8443: 2, 8082: 1}, nil }

func golden(t *testing.T, c *Counter, file string) {
	t.Helper()
	r := prometheus.NewRegistry()
	if err := r.Register(c); err != nil {
		t.Fatal(err)
	}
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	for _, f := range families {
		if _, err := expfmt.MetricFamilyToText(&out, f); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join("testdata", file)
	if *update {
		if err := os.WriteFile(path, []byte(out.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), out.String()); diff != "" {
		t.Error(diff)
	}
	problems, err := testutil.GatherAndLint(r)
	for _, p := range problems {
		// All of Heddle's metrics of certificates are in days.
		if p.Metric != "heddle_link_certificate_days_left" {
			t.Errorf("%+v", p)
		}
	}
	if err != nil {
		t.Error(err)
	}
}

// TestMetrics: what nginx notes comes in by its own way, and what it cannot have said counts nowhere.
func TestMetrics(t *testing.T) {
	certificate, ends := certificate(t)
	now := func() time.Time { return ends.Add(-36 * time.Hour) }
	for file, o := range map[string]Options{
		"link.prom":    {Link: "bank-b", Network: "trade", Sockets: sockets, Certificate: certificate, Now: now},
		"gateway.prom": {Sockets: sockets},
	} {
		t.Run(file, func(t *testing.T) {
			conn, err := net.ListenPacket("udp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			c := New(o)
			done := make(chan error, 1)
			go func() { done <- c.Listen(t.Context(), conn) }()
			to, err := net.Dial("udp", conn.LocalAddr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer to.Close()
			// The last one tells when all the others have been read.
			all := append([]string{"noise", "{", strings.Repeat("x", 9000), `{"port":"8444","status":"200","in":-1}`}, notes...)
			all = append(all, `{"port":"8443","sni":"last.trade","to":"x","status":"200","in":1,"out":1,"seconds":0}`)
			for _, note := range all {
				if _, err := fmt.Fprint(to, note); err != nil {
					t.Fatal(err)
				}
			}
			for end := time.Now().Add(20 * time.Second); !c.knows("last.trade"); time.Sleep(5 * time.Millisecond) {
				if time.Now().After(end) {
					t.Fatal("not all notes were read within 20 s")
				}
			}
			golden(t, c, file)
		})
	}
}

// certificate writes one, and returns its file and its end.
func certificate(t *testing.T) (string, time.Time) {
	t.Helper()
	key, err := pki.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	ca, err := pki.NewRoot(pki.IssuerRequest{CommonName: "trade.bankb.banka", Key: key, Lifetime: 30 * 24 * time.Hour, Now: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "tls.crt")
	if err := os.WriteFile(path, pki.EncodeCerts(ca.Cert), 0o600); err != nil {
		t.Fatal(err)
	}
	return path, ca.Cert.NotAfter
}

func (c *Counter) knows(node string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.nodes[Out][node] || c.nodes[Public][node]
}

// TestNamesAreBounded: a caller that asks for ever other names makes no more metrics than there is room for.
func TestNamesAreBounded(t *testing.T) {
	c := New(Options{Link: "bank-b", Network: "trade", Sockets: sockets})
	for i := range 10 * maxNodes {
		c.count(entry{Port: 8443, SNI: fmt.Sprintf("node%d.trade", i), To: "192.0.2.7:443", Status: "200"})
		c.count(entry{Port: 8444, SNI: fmt.Sprintf("node%d.trade", i), Status: "500"})
	}
	if n := testutil.CollectAndCount(c, "heddle_link_connections_total"); n != maxNodes+2 {
		t.Errorf("%d series, want %d", n, maxNodes+2)
	}
}

// TestNotRead: whoever asks is told of sockets and certificates that cannot be read.
func TestNotRead(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "tls.crt")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, o := range map[string]Options{
		"sockets":              {Sockets: func() (map[int]int, error) { return nil, errors.New("gone") }},
		"no certificate":       {Sockets: sockets, Certificate: empty + "x"},
		"an empty certificate": {Sockets: sockets, Certificate: empty},
	} {
		r := prometheus.NewPedanticRegistry()
		o.Link, o.Network = "bank-b", "trade"
		if err := r.Register(New(o)); err != nil {
			t.Fatal(err)
		}
		if _, err := r.Gather(); err == nil {
			t.Errorf("%s: nobody is told", name)
		}
	}
}

// TestOpenSockets: connections that are there now are counted at the port that took them.
func TestOpenSockets(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	open, err := openSockets()
	if err != nil || open[l.Addr().(*net.TCPAddr).Port] != 1 {
		t.Errorf("the kernel tells of %d connections, %v", open[l.Addr().(*net.TCPAddr).Port], err)
	}
}

func FuzzParse(f *testing.F) {
	for _, n := range notes {
		f.Add([]byte(n))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		e, err := parse(line)
		if err != nil {
			return
		}
		if e.In < 0 || e.Out < 0 || e.Seconds < 0 || math.IsNaN(e.Seconds) || len(e.Status) != 3 {
			t.Errorf("took %+v", e)
		}
		New(Options{Link: "l", Network: "n", Sockets: sockets}).count(e)
	})
}
