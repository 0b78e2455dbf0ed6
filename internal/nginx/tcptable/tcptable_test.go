package tcptable

import (
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParse(t *testing.T) {
	const table = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0401010A:9C40 0403600A:1B8B 01 00000000:00000000 00:00000000 00000000     0        0 4711 1 0 20 4 30 10 -1
   1: 0100007F:20FB 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4712 1 0 20 4 30 10 -1
   2: 0000000000000000FFFF00000401010A:9C42 0000000000000000FFFF00000403600A:1B8B 01 0:0 00:0 0 0 0 4713 1
   3: B80D0120000000000000000001000000:9C43 B80D0120000000000000000007000000:1B8B 01 0:0 00:0 0 0 0 4714 1
   4: nonsense 0403600A 01 a b c d e f 4715
   5: x ZZ:1B8B 01 a b c d e f 4716
   6: short
`
	var got []string
	if err := parse(strings.NewReader(table), func(s Socket) {
		got = append(got, fmt.Sprintf("%s %s %t %s", s.Local, s.Remote, s.Established, s.Inode))
	}); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"10.1.1.4:40000 10.96.3.4:7051 true 4711", "127.0.0.1:8443 0.0.0.0:0 false 4712",
		"10.1.1.4:40002 10.96.3.4:7051 true 4713", "[2001:db8::1]:40003 [2001:db8::7]:7051 true 4714",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if err := parse(strings.NewReader(strings.Repeat("\n", maxLines+2)), func(Socket) {}); err == nil {
		t.Error("a table without an end was read")
	}
}

// TestEach: the kernel tells of a connection at both of its ends.
func TestEach(t *testing.T) {
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
	ends := 0
	err = Each(func(s Socket) {
		if s.Established && (s.Local.String() == l.Addr().String() || s.Remote.String() == l.Addr().String()) {
			ends++
		}
	})
	if err != nil || ends != 2 {
		t.Errorf("the kernel tells of %d ends, %v", ends, err)
	}
}

func FuzzParseAddress(f *testing.F) {
	f.Add("0403600A:1B8B")
	f.Add("0000000000000000FFFF00000403600A:1B8B")
	f.Fuzz(func(t *testing.T, text string) {
		if a, ok := parseAddress(text); ok && !a.IsValid() {
			t.Errorf("%q is %v", text, a)
		}
	})
}
