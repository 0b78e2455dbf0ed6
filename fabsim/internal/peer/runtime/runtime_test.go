package runtime

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	pb "github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"google.golang.org/protobuf/proto"

	"heddle.dev/heddle/fabsim/internal/node"
)

// pipe is a contract's end of a stream.
type pipe struct{ toPeer, toContract chan *pb.ChaincodeMessage }

func (p pipe) Send(message *pb.ChaincodeMessage) error {
	p.toContract <- message
	return nil
}

func (p pipe) Recv() (*pb.ChaincodeMessage, error) {
	message, ok := <-p.toPeer
	if !ok {
		return nil, io.EOF
	}
	return message, nil
}

// host refuses everything that is not the state's.
type host struct{ Host }

func (host) Capability(string) (keyLevel, purge bool, err error) { return false, false, nil }

func testRuntime(t *testing.T, change func(*Options)) *Runtime {
	t.Helper()
	o := Options{
		BuildDir: t.TempDir(), Host: host{}, Log: node.NewLogger("test"), Environ: os.Environ(),
		StartupTimeout: 5 * time.Second, ExecuteTimeout: 5 * time.Second, QueryLimit: 10, MaxBatch: 10,
		Load: func(string) ([]byte, []byte, error) { return []byte(`{"type":"test"}`), code(t, "main", "x"), nil },
	}
	change(&o)
	r, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// register connects a contract as if it had been launched.
func register(t *testing.T, r *Runtime, id string) (pipe, <-chan error) {
	t.Helper()
	r.mu.Lock()
	r.starting[id] = &launch{id: id, done: make(chan struct{})}
	r.mu.Unlock()
	p := pipe{make(chan *pb.ChaincodeMessage), make(chan *pb.ChaincodeMessage, 10)}
	ended := make(chan error, 1)
	go func() { ended <- r.serve(p, "") }()
	name, err := proto.Marshal(&pb.ChaincodeID{Name: id})
	if err != nil {
		t.Fatal(err)
	}
	p.toPeer <- &pb.ChaincodeMessage{Type: pb.ChaincodeMessage_REGISTER, Payload: name}
	for _, want := range []pb.ChaincodeMessage_Type{pb.ChaincodeMessage_REGISTERED, pb.ChaincodeMessage_READY} {
		if got := <-p.toContract; got.GetType() != want {
			t.Fatalf("got %s, want %s", got.GetType(), want)
		}
	}
	return p, ended
}

// answer has the contract send messages, each after one of the peer's.
func (p pipe) answer(messages ...*pb.ChaincodeMessage) {
	for _, message := range messages {
		got := <-p.toContract
		message.Txid, message.ChannelId = got.GetTxid(), got.GetChannelId()
		p.toPeer <- message
	}
}

func TestExecute(t *testing.T) {
	for name, c := range map[string]struct {
		answers []*pb.ChaincodeMessage
		end     bool
		want    pb.ChaincodeMessage_Type
		err     error
	}{
		"completed": {[]*pb.ChaincodeMessage{{Type: pb.ChaincodeMessage_COMPLETED}}, false, pb.ChaincodeMessage_COMPLETED, nil},
		"error":     {[]*pb.ChaincodeMessage{{Type: pb.ChaincodeMessage_ERROR}}, false, pb.ChaincodeMessage_ERROR, nil},
		"a request that is refused": {[]*pb.ChaincodeMessage{
			{Type: pb.ChaincodeMessage_GET_STATE_METADATA}, {Type: pb.ChaincodeMessage_COMPLETED},
		}, false, pb.ChaincodeMessage_COMPLETED, nil},
		"the contract dies": {nil, true, 0, errStream},
	} {
		t.Run(name, func(t *testing.T) {
			r := testRuntime(t, func(*Options) {})
			p, _ := register(t, r, "cc:1")
			go func() {
				p.answer(c.answers...)
				if c.end {
					<-p.toContract
					close(p.toPeer)
				}
			}()
			got, err := r.Execute(t.Context(), "cc:1", &Call{Channel: "trade", TxID: "t1", Namespace: "cc"}, &pb.ChaincodeInput{})
			if !errors.Is(err, c.err) || got.GetType() != c.want {
				t.Errorf("got %s, %v", got.GetType(), err)
			}
		})
	}
}

func TestExecuteTimesOut(t *testing.T) {
	r := testRuntime(t, func(o *Options) { o.ExecuteTimeout = 10 * time.Millisecond })
	register(t, r, "cc:1")
	_, err := r.Execute(t.Context(), "cc:1", &Call{TxID: "t1"}, &pb.ChaincodeInput{})
	if !errors.Is(err, errTimeout) {
		t.Errorf("got %v", err)
	}
}

func TestStrangersAreRefused(t *testing.T) {
	name, err := proto.Marshal(&pb.ChaincodeID{Name: "cc:1"})
	if err != nil {
		t.Fatal(err)
	}
	for title, c := range map[string]struct {
		first   *pb.ChaincodeMessage
		allowed string
		want    string
	}{
		"not launched":    {&pb.ChaincodeMessage{Type: pb.ChaincodeMessage_REGISTER, Payload: name}, "", "peer will not accept external chaincode connection cc:1"},
		"another's key":   {&pb.ChaincodeMessage{Type: pb.ChaincodeMessage_REGISTER, Payload: name}, "cc:2", "is not authorized to register as cc:1"},
		"nameless":        {&pb.ChaincodeMessage{Type: pb.ChaincodeMessage_REGISTER}, "", "chaincodeID name is empty"},
		"no registration": {&pb.ChaincodeMessage{Type: pb.ChaincodeMessage_GET_STATE}, "", "cannot handle message (GET_STATE) while in created state"},
	} {
		t.Run(title, func(t *testing.T) {
			r := testRuntime(t, func(*Options) {})
			p := pipe{make(chan *pb.ChaincodeMessage, 1), make(chan *pb.ChaincodeMessage, 1)}
			p.toPeer <- c.first
			if err := r.serve(p, c.allowed); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

func code(tb testing.TB, name, content string) []byte {
	tb.Helper()
	var out bytes.Buffer
	zipped := gzip.NewWriter(&out)
	w := tar.NewWriter(zipped)
	if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o600, Size: int64(len(content)), Typeflag: tar.TypeReg}); err != nil {
		tb.Fatal(err)
	}
	if _, err := w.Write([]byte(content)); err != nil {
		tb.Fatal(err)
	}
	if err := errors.Join(w.Close(), zipped.Close()); err != nil {
		tb.Fatal(err)
	}
	return out.Bytes()
}

// TestIndexesOutliveTheBuild: what builders made may be gone when a contract is committed; its indexes are not.
func TestIndexesOutliveTheBuild(t *testing.T) {
	const file = "META-INF/statedb/couchdb/indexes/a.json"
	installed := true
	r := testRuntime(t, func(o *Options) {
		o.Builders = []Builder{builder(t, map[string]string{
			"detect": "true", "build": `cp -r "$1/." "$3"`, "release": `cp -r "$1/META-INF/statedb" "$2"`,
		})}
		o.Load = func(string) ([]byte, []byte, error) {
			if !installed {
				return nil, nil, errors.New("not installed")
			}
			return []byte("{}"), code(t, file, "{}"), nil
		}
	})
	for _, gone := range []bool{false, true} {
		if gone {
			if err := os.RemoveAll(r.o.BuildDir); err != nil {
				t.Fatal(err)
			}
		}
		found, err := r.Indexes(t.Context(), "a:1")
		if err != nil || len(found[""]) != 1 {
			t.Errorf("with the build gone (%t): %v, %v", gone, found, err)
		}
	}
	installed = false
	if found, err := r.Indexes(t.Context(), "b:1"); err != nil || len(found) != 0 {
		t.Errorf("of a package that is not installed: %v, %v", found, err)
	}
}

// builder writes the programs of an external builder.
func builder(t *testing.T, programs map[string]string) Builder {
	t.Helper()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "bin"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, text := range programs {
		if err := os.WriteFile(filepath.Join(dir, "bin", name), []byte("#!/bin/sh\nset -e\n"+text+"\n"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	return Builder{Name: filepath.Base(dir), Path: dir, PropagateEnvironment: []string{"SEEN"}}
}

func TestBuild(t *testing.T) {
	for name, c := range map[string]struct {
		programs map[string]string
		want     string
	}{
		"builds":        {map[string]string{"detect": "exit 0", "build": `cp "$1/main" "$3/"`}, ""},
		"not its kind":  {map[string]string{"detect": "exit 1"}, "docker build failed: docker build is disabled"},
		"fails":         {map[string]string{"detect": "exit 0", "build": "exit 3"}, "external builder failed to build"},
		"fails at last": {map[string]string{"detect": "exit 0", "build": "exit 0", "release": "exit 1"}, "external builder failed to release"},
	} {
		t.Run(name, func(t *testing.T) {
			b := builder(t, c.programs)
			r := testRuntime(t, func(o *Options) { o.Builders = []Builder{b} })
			err := r.Build(t.Context(), "cc:1", []byte("{}"), code(t, "main", "x"))
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Fatalf("got %v, want %q", err, c.want)
			}
			if c.want == "" {
				if _, err := os.Stat(filepath.Join(r.dir("cc:1"), "bld", "main")); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// TestBuildersSeeLittle: only what is named of the environment reaches them.
func TestBuildersSeeLittle(t *testing.T) {
	b := builder(t, map[string]string{"detect": "exit 0", "build": `echo "$SEEN-$HIDDEN" > "$3/env"`})
	r := testRuntime(t, func(o *Options) {
		o.Builders, o.Environ = []Builder{b}, append(os.Environ(), "SEEN=yes", "HIDDEN=no")
	})
	if err := r.Build(t.Context(), "cc:1", []byte("{}"), code(t, "main", "x")); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(filepath.Join(r.dir("cc:1"), "bld", "env"))
	if err != nil || strings.TrimSpace(string(got)) != "yes-" {
		t.Errorf("got %q, %v", got, err)
	}
}

// TestLaunchFails tells the caller how a contract ended before it connected.
func TestLaunchFails(t *testing.T) {
	b := builder(t, map[string]string{"detect": "exit 0", "build": "exit 0", "run": "exit 7"})
	r := testRuntime(t, func(o *Options) { o.Builders = []Builder{b} })
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	_, err := r.Execute(ctx, "cc:1", &Call{TxID: "t1"}, &pb.ChaincodeInput{})
	if err == nil || !strings.Contains(err.Error(), "container exited with 7") {
		t.Errorf("got %v", err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestUnpackStaysInside(t *testing.T) {
	for _, name := range []string{"../x", "/x", "a/../../x"} {
		dir := t.TempDir()
		if err := unpack(code(t, name, "x"), filepath.Join(dir)); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

func FuzzUnpack(f *testing.F) {
	f.Add(code(f, "main", "x"))
	f.Fuzz(func(t *testing.T, raw []byte) { _ = unpack(raw, t.TempDir()) })
}
