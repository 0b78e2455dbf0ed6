package reload

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

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
	const module = "/usr/lib/nginx/modules/ngx_stream_module.so"
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
	s.run(t, Options{Folders: []string{s.folder}, Config: filepath.Join(s.folder, "nginx.conf"), PIDFile: pid})
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
