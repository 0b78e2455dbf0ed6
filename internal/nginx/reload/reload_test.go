package reload

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const patience = 30 * time.Second

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !holds(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not after %s", what, patience)
		}
	}
}

// freePort is one that nobody listens on.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// server greets everybody with its word and then says back what it hears.
func server(t *testing.T, word string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
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
				fmt.Fprintln(c, word)
				_, _ = io.Copy(c, c)
			}()
		}
	}()
	return l.Addr().String()
}

// site is a folder of files as the kubelet keeps them: links into a folder that is replaced as a whole.
type site struct{ folder string }

func (s site) write(t *testing.T, config string) {
	t.Helper()
	dir := filepath.Join(s.folder, fmt.Sprintf("..%d", time.Now().UnixNano()))
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "nginx.conf"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, link := range [][2]string{{dir, "..data"}, {"..data/nginx.conf", "nginx.conf"}} {
		tmp := filepath.Join(s.folder, "..new")
		if err := os.Symlink(link[0], tmp); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(tmp, filepath.Join(s.folder, link[1])); err != nil {
			t.Fatal(err)
		}
	}
}

// run starts nginx with the folder's configuration, and what reloads it, until the test ends.
func (s site) run(t *testing.T, o Options) {
	t.Helper()
	cmd := exec.Command("/usr/sbin/nginx", "-e", "stderr", "-c", filepath.Join(s.folder, "nginx.conf"))
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	o.Every, o.Log = 20*time.Millisecond, slog.New(slog.NewTextHandler(t.Output(), nil))
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan struct{})
	go func() {
		Run(ctx, o)
		close(done)
	}()
	t.Cleanup(func() {
		cancel()
		<-done
		_ = cmd.Process.Signal(os.Interrupt)
		_ = cmd.Wait()
	})
}

func say(t *testing.T, address string) (net.Conn, *bufio.Reader, string) {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		return nil, nil, ""
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(patience))
	r := bufio.NewReader(c)
	word, err := r.ReadString('\n')
	if err != nil {
		return nil, nil, ""
	}
	return c, r, strings.TrimSpace(word)
}

// TestReload: real nginx takes a changed file, goes on with a stream from before, and survives a file that it refuses.
func TestReload(t *testing.T) {
	const module = "/usr/lib/nginx/modules/ngx_stream_module.so"
	if _, err := os.Stat(module); err != nil {
		t.Skip("nginx is not there: apt-get install nginx-light libnginx-mod-stream")
	}
	s, pid, listen := site{folder: t.TempDir()}, filepath.Join(t.TempDir(), "nginx.pid"), freePort(t)
	config := func(to string) string {
		return fmt.Sprintf("load_module %s; daemon off; worker_processes 1; pid %s; error_log stderr; events {} stream { server { listen %s; proxy_pass %s; } }", module, pid, listen, to)
	}
	s.write(t, config(server(t, "one")))
	s.run(t, Options{Folders: []string{s.folder, filepath.Join(s.folder, "none")}, PIDFile: pid})
	var stream net.Conn
	var from *bufio.Reader
	eventually(t, "the first server answers", func() bool {
		var word string
		stream, from, word = say(t, listen)
		return word == "one"
	})
	s.write(t, config(server(t, "two")))
	eventually(t, "the second server answers", func() bool {
		_, _, word := say(t, listen)
		return word == "two"
	})
	s.write(t, "this is none")
	time.Sleep(200 * time.Millisecond)
	if _, _, word := say(t, listen); word != "two" {
		t.Errorf("after a broken file %q answers", word)
	}
	s.write(t, config(server(t, "three")))
	eventually(t, "the third server answers", func() bool {
		_, _, word := say(t, listen)
		return word == "three"
	})
	if _, err := fmt.Fprintln(stream, "still there"); err != nil {
		t.Fatal(err)
	}
	if got, err := from.ReadString('\n'); err != nil || got != "still there\n" {
		t.Errorf("the stream from before the reloads says %q, %v", got, err)
	}
}

// TestOthersAreLeftAlone: a number that is not nginx's any more gets no signal.
func TestOthersAreLeftAlone(t *testing.T) {
	cmd := exec.Command("sleep", "60")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}()
	file := filepath.Join(t.TempDir(), "nginx.pid")
	for _, content := range []string{fmt.Sprintln(cmd.Process.Pid), "1\n", "-1", "0", "", "many"} {
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := reload(file); err == nil {
			t.Errorf("%q got a signal", content)
		}
	}
	if err := cmd.Process.Signal(os.Kill); err != nil {
		t.Errorf("it is gone: %v", err)
	}
}

func TestFingerprint(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string) string {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		sum, err := fingerprint([]string{dir})
		if err != nil {
			t.Fatal(err)
		}
		return sum
	}
	first := write("a", "1")
	if write("..hidden", "2") != first {
		t.Error("a file of the kubelet's counts")
	}
	if write("a", "2") == first || write("a", "1") != first || write("b", "1") == first {
		t.Error("the content does not count")
	}
	if err := os.WriteFile(filepath.Join(dir, "large"), make([]byte, maxFile+1), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := fingerprint([]string{dir}); err == nil {
		t.Error("a file without end was read")
	}
}
