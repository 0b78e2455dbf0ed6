package reload

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"heddle.dev/heddle/internal/pki"
)

// node is an exported node: it says back what it hears, in TLS.
func node(t *testing.T, cert tls.Certificate) string {
	t.Helper()
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{cert}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				_, _ = io.Copy(c, c)
			}()
		}
	}()
	return l.Addr().String()
}

func certificate(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := pki.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	ca, err := pki.NewRoot(pki.IssuerRequest{CommonName: "node", Key: key, Lifetime: time.Hour, Now: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{ca.Cert.Raw}, PrivateKey: key}
}

// tunnel connects to a node by its name, and says something.
func tunnel(address, sni string) (*tls.Conn, error) {
	c, err := tls.DialWithDialer(&net.Dialer{Timeout: 5 * time.Second}, "tcp", address, &tls.Config{ServerName: sni, InsecureSkipVerify: true})
	if err != nil {
		return nil, err
	}
	return c, speak(c)
}

func speak(c *tls.Conn) error {
	_ = c.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := fmt.Fprintln(c, "hello"); err != nil {
		return err
	}
	line, err := bufio.NewReader(c).ReadString('\n')
	if err == nil && line != "hello\n" {
		return fmt.Errorf("it says %q", line)
	}
	return err
}

// TestTakenBack: a connection to a node that is not exported any more ends soon; those of workers that have none such go on.
func TestTakenBack(t *testing.T) {
	const program, module = "/usr/sbin/nginx", "/usr/lib/nginx/modules/ngx_stream_module.so"
	if _, err := os.Stat(module); err != nil {
		t.Skip("nginx is not there: apt-get install nginx-light libnginx-mod-stream")
	}
	s, pid, listen := site{folder: t.TempDir()}, filepath.Join(t.TempDir(), "nginx.pid"), freePort(t)
	cert := certificate(t)
	peer, orderer := "peer.trade "+node(t, cert), "orderer.trade "+node(t, cert)
	config := func(exports ...string) string {
		return fmt.Sprintf("load_module %s; daemon off; worker_processes 1; worker_shutdown_timeout 2h; pid %s; error_log stderr; events {}\nstream {\n"+
			"\tmap $ssl_preread_server_name $node {\n\t\t%s;\n\t\tdefault \"\";\n\t}\n\tserver { listen %s; ssl_preread on; proxy_pass $node; }\n}\n",
			module, pid, strings.Join(exports, ";\n\t\t"), listen)
	}
	s.write(t, config(peer))
	cmd := exec.Command(program, "-e", "stderr", "-c", filepath.Join(s.folder, "nginx.conf"))
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		_ = cmd.Wait()
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		Run(ctx, Options{
			Folders: []string{s.folder}, Config: filepath.Join(s.folder, "nginx.conf"), PIDFile: pid, Every: 20 * time.Millisecond,
			Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
		})
		close(done)
	}()
	defer func() {
		cancel()
		<-done
	}()
	open := func(sni string) (c *tls.Conn) {
		t.Helper()
		eventually(t, sni+" answers", func() bool {
			var err error
			c, err = tunnel(listen, sni)
			return err == nil
		})
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	before := open("peer.trade")
	s.write(t, config(peer, orderer))
	back := open("orderer.trade")
	s.write(t, config(peer))
	eventually(t, "the connection to what was taken back ends", func() bool { return speak(back) != nil })
	if err := speak(before); err != nil {
		t.Errorf("a connection of another worker: %v", err)
	}
	open("peer.trade")
	eventually(t, "it is not exported any more", func() bool {
		c, err := tunnel(listen, "orderer.trade")
		if err == nil {
			c.Close()
		}
		return err != nil
	})
	if err := speak(before); err != nil {
		t.Errorf("a connection of another worker, later: %v", err)
	}
}

func TestFindSockets(t *testing.T) {
	const table = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0401010A:9C40 0403600A:1B8B 01 00000000:00000000 00:00000000 00000000     0        0 4711 1 0 20 4 30 10 -1
   1: 0401010A:9C41 0403600A:1B8A 01 00000000:00000000 00:00000000 00000000     0        0 4712 1 0 20 4 30 10 -1
   2: 0000000000000000FFFF00000401010A:9C42 0000000000000000FFFF00000403600A:1B8B 01 0:0 00:0 0 0 0 4713 1
   3: B80D0120000000000000000001000000:9C43 B80D0120000000000000000007000000:1B8B 01 0:0 00:0 0 0 0 4714 1
   4: nonsense 0403600A 01 a b c d e 4715
   5: x ZZ:1B8B 01 a b c d e f 4716
`
	got := map[string]bool{}
	to := map[netip.AddrPort]bool{netip.MustParseAddrPort("10.96.3.4:7051"): true, netip.MustParseAddrPort("[2001:db8::7]:7051"): true}
	if err := findSockets(strings.NewReader(table), to, got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]bool{"4711": true, "4713": true, "4714": true}, got); diff != "" {
		t.Error(diff)
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
