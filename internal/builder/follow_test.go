package builder

import (
	"bytes"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"heddle.dev/heddle/internal/specs/launch"
)

// fakeAPI stands where what is asked for needs a kubelet, or an API server that misbehaves. It returns the folder with
// token and roots; the environment leads to it.
func fakeAPI(t *testing.T, handler http.Handler) (*httptest.Server, string) {
	t.Helper()
	server := httptest.NewTLSServer(handler)
	t.Cleanup(server.Close)
	host, port, err := net.SplitHostPort(server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	write(t, filepath.Join(folder, tokenFile), "token\n")
	write(t, filepath.Join(folder, rootsFile), string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})))
	t.Setenv("KUBERNETES_SERVICE_HOST", host)
	t.Setenv("KUBERNETES_SERVICE_PORT", port)
	t.Setenv(launch.EnvAPI, folder)
	return server, folder
}

func newFake(t *testing.T, log io.Writer, handler http.Handler) *launcher {
	t.Helper()
	_, folder := fakeAPI(t, handler)
	a, err := newAPI(folder, os.Getenv)
	if err != nil {
		t.Fatal(err)
	}
	return &launcher{
		api: a, log: &sharedLog{to: log}, name: "cc-x", peer: launch.Peer{Network: "trade"},
		contract: launch.Contract{PackageID: "asset:00"},
	}
}

// TestLogOutlivesWatch: the API server ends watches every now and then, and the contract's log goes on.
func TestLogOutlivesWatch(t *testing.T) {
	again := make(chan struct{})
	copied := make(chan struct{})
	watches := 0
	pod := &corev1.Pod{}
	running()(&pod.Status)
	event := func(w http.ResponseWriter, kind string) {
		json.NewEncoder(w).Encode(map[string]any{"type": kind, "object": pod})
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /api/v1/namespaces/trade/pods", func(w http.ResponseWriter, _ *http.Request) {
		if watches++; watches == 1 {
			event(w, "MODIFIED")
			return
		}
		close(again)
		<-copied
		event(w, "DELETED")
	})
	mux.HandleFunc("GET /api/v1/namespaces/trade/pods/cc-x", func(w http.ResponseWriter, _ *http.Request) {
		json.NewEncoder(w).Encode(pod)
	})
	mux.HandleFunc("GET /api/v1/namespaces/trade/pods/cc-x/log", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintln(w, "one")
		w.(http.Flusher).Flush()
		select {
		case <-again:
			fmt.Fprintln(w, "two")
		case <-r.Context().Done():
		}
		w.(http.Flusher).Flush()
		close(copied)
	})
	var log bytes.Buffer
	l := newFake(t, &log, mux)
	if err := l.follow(t.Context(), &corev1.Pod{}); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff("contract: asset one\ncontract: asset two\n", log.String()); diff != "" {
		t.Error(diff)
	}
}

// TestReadTriesAgain while the API server gives no answer that decides.
func TestReadTriesAgain(t *testing.T) {
	asked := 0
	var log bytes.Buffer
	l := newFake(t, &log, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch asked++; {
		case r.URL.Query().Has("watch"):
			http.Error(w, "busy", http.StatusTooManyRequests)
		case asked < 3:
			http.Error(w, "starting", http.StatusServiceUnavailable)
		default:
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	if err := l.follow(t.Context(), &corev1.Pod{}); err != nil {
		t.Error(err)
	}
	if want := "heddle-builder: reads pod cc-x again soon: the API server answers 503: starting\n\n"; log.String() != want {
		t.Errorf("said %q, want %q", log.String(), want)
	}
}

func TestWatchOfNonsense(t *testing.T) {
	for name, text := range map[string]string{
		"nothing": "", "no JSON": "{", "an error": `{"type":"ERROR","object":{"kind":"Status","code":410}}`, "no pod": `{"type":"MODIFIED","object":[]}`,
	} {
		t.Run(name, func(t *testing.T) {
			l := newFake(t, new(bytes.Buffer), http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, text) }))
			f := &follower{launcher: l, created: time.Now()}
			if err := f.watch(t.Context(), &corev1.Pod{}); err != errBroken { //nolint:errorlint // it is that one
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestCopyLines(t *testing.T) {
	long := strings.Repeat("x", maxLogLine)
	for name, c := range map[string]struct{ in, want string }{
		"nothing":       {"", ""},
		"lines":         {"a\nb\n", "contract: asset a\ncontract: asset b\n"},
		"an empty one":  {"\n", "contract: asset \n"},
		"no end":        {"a", "contract: asset a\n"},
		"a long one":    {long + "yz\nb\n", "contract: asset " + long + "…\ncontract: asset yz\ncontract: asset b\n"},
		"with a return": {"a\r\n", "contract: asset a\n"},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			copyLines(&out, strings.NewReader(c.in), "asset", time.Now)
			if diff := cmp.Diff(c.want, out.String()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestCopyLinesBounded: a contract that says too much is cut short, and that is said.
func TestCopyLinesBounded(t *testing.T) {
	start := time.Unix(0, 0)
	calls := 0
	now := func() time.Time {
		// The first call is the start; all lines but the last come within a second.
		if calls++; calls > logBurst+4 {
			return start.Add(time.Second)
		}
		return start
	}
	var out bytes.Buffer
	copyLines(&out, strings.NewReader(strings.Repeat("a\n", logBurst+3)+"b\n"), "asset", now)
	want := strings.Repeat("contract: asset a\n", logBurst) +
		fmt.Sprintf("contract: asset (3 lines left out: more than %d in a second)\n", logBurst) + "contract: asset b\n"
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Error(diff)
	}
}

func TestParseImage(t *testing.T) {
	digest := "sha256:" + strings.Repeat("0a", 32)
	for name, c := range map[string]struct {
		in string
		ok bool
	}{
		"good":              {`{"name":"registry.local:5000/a/b","digest":"` + digest + `"}`, true},
		"more fields":       {`{"name":"a","digest":"` + digest + `","x":1}`, true},
		"no JSON":           {`{`, false},
		"a list":            {`[]`, false},
		"no name":           {`{"digest":"` + digest + `"}`, false},
		"a blank":           {`{"name":"a b","digest":"` + digest + `"}`, false},
		"a line":            {`{"name":"a\nb","digest":"` + digest + `"}`, false},
		"a digest in it":    {`{"name":"a@` + digest + `","digest":"` + digest + `"}`, false},
		"a long name":       {`{"name":"` + strings.Repeat("a", 513) + `","digest":"` + digest + `"}`, false},
		"no digest":         {`{"name":"a"}`, false},
		"a tag":             {`{"name":"a","digest":"latest"}`, false},
		"a short digest":    {`{"name":"a","digest":"sha256:00"}`, false},
		"capitals":          {`{"name":"a","digest":"sha256:` + strings.Repeat("0A", 32) + `"}`, false},
		"another algorithm": {`{"name":"a","digest":"sha512:` + strings.Repeat("0a", 64) + `"}`, false},
		"a second value":    {`{"name":"a","digest":"` + digest + `"}{}`, false},
		"garbage after":     {`{"name":"a","digest":"` + digest + `"}x`, false},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := parseImage([]byte(c.in))
			if (err == nil) != c.ok || c.ok != strings.HasSuffix(got, "@"+digest) {
				t.Errorf("got %q, %v", got, err)
			}
		})
	}
}

func FuzzParseImage(f *testing.F) {
	f.Add([]byte(imageJSON))
	f.Add([]byte(`{"name":"a","digest":"latest"}`))
	f.Fuzz(func(t *testing.T, in []byte) {
		got, err := parseImage(in)
		if err != nil {
			return
		}
		name, digest, ok := strings.Cut(got, "@")
		if !ok || name == "" || !digestPattern.MatchString(digest) {
			t.Errorf("%q is not an image by digest", got)
		}
	})
}
