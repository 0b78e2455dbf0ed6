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
)

// TestFallback: real nginx goes to a partner's second address in mutual TLS while nobody answers at the first.
func TestFallback(t *testing.T) {
	const program = "/usr/sbin/nginx"
	if _, err := os.Stat(program); err != nil {
		t.Skip("nginx is not there: apt-get install nginx-light libnginx-mod-stream")
	}
	keys := writeKeys(t)
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
	defer partner.Close()
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
	text, err := Link{Resolvers: []string{"127.0.0.1"}, Partner: "127.0.0.1:1", Name: "trade.banka.bankb", Fallbacks: []string{partner.Addr().String()}}.Render()
	if err != nil {
		t.Fatal(err)
	}
	dir, egress := t.TempDir(), free(t)
	for old, now := range map[string]string{
		KeyFolder: keys, PIDFile: filepath.Join(dir, "nginx.pid"), "/dev/stderr": "stderr", "/dev/stdout": filepath.Join(dir, "access.log"),
		"listen 8443": "listen " + egress, "listen 8444": "listen " + free(t), "listen 8081": "listen " + free(t),
	} {
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
