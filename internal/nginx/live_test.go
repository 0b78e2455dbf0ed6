package nginx

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// TestFallback: real nginx goes to a partner's second address in mutual TLS while nobody answers at the first, by number or
// by name.
func TestFallback(t *testing.T) {
	const program = "/usr/sbin/nginx"
	if _, err := os.Stat(program); err != nil {
		t.Skip("nginx is not there: apt-get install nginx-light libnginx-mod-stream")
	}
	keys := writeKeys(t)
	partner := partnerGateway(t, keys)
	_, port, err := net.SplitHostPort(partner)
	if err != nil {
		t.Fatal(err)
	}
	dns := nameServer(t, "gw.bankb.example.")
	for name, endpoints := range map[string][]string{
		"numbers":                 {"127.0.0.1:1", partner},
		"a name that is none":     {"nobody.bankb.example:443", partner},
		"a name with nobody":      {"gw.bankb.example:1", partner},
		"a name, after a number":  {"127.0.0.1:1", "gw.bankb.example:" + port},
		"names, the last is good": {"nobody.bankb.example:443", "127.0.0.1:1", "gw.bankb.example:" + port},
		"names, the first one":    {"gw.bankb.example:" + port, "nobody.bankb.example:443"},
		"one name":                {"gw.bankb.example:" + port},
	} {
		t.Run(name, func(t *testing.T) {
			text, err := Link{Resolvers: []string{"127.0.0.1"}, Partner: endpoints[0], Name: "trade.banka.bankb", Fallbacks: endpoints[1:]}.Render()
			if err != nil {
				t.Fatal(err)
			}
			dir, egress := t.TempDir(), free(t)
			replaced := map[string]string{
				KeyFolder: keys, PIDFile: filepath.Join(dir, "nginx.pid"), "/dev/stderr": "stderr", "/dev/stdout": filepath.Join(dir, "access.log"),
				"listen 8443": "listen " + egress, "listen 8444": "listen " + free(t), "listen 8081": "listen " + free(t),
				"resolver 127.0.0.1": "resolver " + dns,
			}
			for i := range endpoints {
				replaced[fmt.Sprintf("127.0.0.1:%d", portEndpoint+i+1)] = free(t)
			}
			for old, now := range replaced {
				text = strings.ReplaceAll(text, old, now)
			}
			file := filepath.Join(dir, ConfigFile)
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			cmd := exec.CommandContext(t.Context(), program, "-e", "stderr", "-c", file)
			cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) } // a killed master would leave its worker behind
			cmd.Stderr = t.Output()
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			defer cmd.Wait()
			defer cmd.Process.Signal(os.Interrupt)
			var said string
			for end := time.Now().Add(20 * time.Second); said == "" && time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
				said = ask(egress)
			}
			if want := "trade.banka.bankb says hello"; said != want {
				t.Errorf("got %q, want %q", said, want)
			}
		})
	}
}

// partnerGateway says in mutual TLS what it was asked by which name.
func partnerGateway(t *testing.T, keys string) string {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(filepath.Join(keys, "tls.crt"), filepath.Join(keys, "tls.key"))
	if err != nil {
		t.Fatal(err)
	}
	ca := x509.NewCertPool()
	ca.AddCert(pair.Leaf)
	partner, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{
		Certificates: []tls.Certificate{pair}, ClientCAs: ca, ClientAuth: tls.RequireAndVerifyClientCert, MinVersion: tls.VersionTLS13,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = partner.Close() })
	go func() {
		for {
			c, err := partner.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				line, err := bufio.NewReader(c).ReadString('\n')
				if err == nil {
					fmt.Fprintf(c, "%s says %s", c.(*tls.Conn).ConnectionState().ServerName, line)
				}
			}()
		}
	}()
	return partner.Addr().String()
}

// nameServer knows one name, at 127.0.0.1, and no other.
func nameServer(t *testing.T, known string) string {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	go func() {
		buf := make([]byte, 512)
		for {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			var m dnsmessage.Message
			if m.Unpack(buf[:n]) != nil || len(m.Questions) != 1 {
				continue
			}
			m.Response, m.RCode = true, dnsmessage.RCodeNameError
			if q := m.Questions[0]; q.Name.String() == known {
				m.RCode = dnsmessage.RCodeSuccess
				if q.Type == dnsmessage.TypeA {
					m.Answers = []dnsmessage.Resource{{
						Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class, TTL: 1}, Body: &dnsmessage.AResource{A: [4]byte{127, 0, 0, 1}},
					}}
				}
			}
			if raw, err := m.Pack(); err == nil {
				_, _ = conn.WriteTo(raw, from)
			}
		}
	}()
	return conn.LocalAddr().String()
}

// free is an address that nobody listens on.
func free(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func ask(address string) string {
	c, err := net.Dial("tcp", address)
	if err != nil {
		return ""
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(5 * time.Second))
	fmt.Fprintln(c, "hello")
	line, err := bufio.NewReader(c).ReadString('\n')
	if err != nil {
		return ""
	}
	return strings.TrimSpace(line)
}
