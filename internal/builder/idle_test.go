package builder

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"heddle.dev/heddle/internal/specs/launch"
)

func TestQuiet(t *testing.T) {
	start := time.Unix(0, 0)
	type look struct {
		bytes uint64
		lost  bool
	}
	for name, c := range map[string]struct {
		looks []look
		want  time.Duration
	}{
		"the first look":        {[]look{{bytes: 9000}}, 0},
		"no call":               {[]look{{bytes: 9000}, {bytes: 9000}, {bytes: 9000}}, 2 * time.Second},
		"keepalives are none":   {[]look{{bytes: 9000}, {bytes: 9100}, {bytes: 9200}}, 2 * time.Second},
		"a call":                {[]look{{bytes: 9000}, {bytes: 9000}, {bytes: 9512}}, 0},
		"a call and then none":  {[]look{{bytes: 9000}, {bytes: 12000}, {bytes: 12000}}, time.Second},
		"not connected":         {[]look{{bytes: 9000}, {lost: true}}, 0},
		"another connection":    {[]look{{bytes: 9000}, {bytes: 9000}, {bytes: 200}}, 0},
		"many small do not add": {[]look{{bytes: 0}, {bytes: 500}, {bytes: 1000}, {bytes: 1500}}, 3 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			var q quiet
			var got time.Duration
			for i, l := range c.looks {
				got = q.observe(l.bytes, !l.lost, start.Add(time.Duration(i)*time.Second))
			}
			if got != c.want {
				t.Errorf("quiet for %s, want %s", got, c.want)
			}
		})
	}
}

// connected is a connection from a contract to a peer's port, and that port.
func connected(t *testing.T, network, address string) (contract, peer net.Conn, port string) {
	t.Helper()
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, err = net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if contract, err = net.Dial("tcp4", net.JoinHostPort("127.0.0.1", port)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { contract.Close() })
	if peer, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { peer.Close() })
	return contract, peer, port
}

func send(t *testing.T, from, to net.Conn, size int) {
	t.Helper()
	if _, err := from.Write(make([]byte, size)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(to, make([]byte, size)); err != nil {
		t.Fatal(err)
	}
}

// TestTraffic: both directions count, of the connections from that pod to that port, also where the peer listens on both
// families.
func TestTraffic(t *testing.T) {
	for name, c := range map[string]struct{ network, address string }{
		"one family": {"tcp4", "127.0.0.1:0"}, "both families": {"tcp", ":0"},
	} {
		t.Run(name, func(t *testing.T) {
			contract, peer, port := connected(t, c.network, c.address)
			send(t, contract, peer, 1000)
			send(t, peer, contract, 500)
			deadline := time.Now().Add(10 * time.Second)
			for {
				n, ok, err := traffic("127.0.0.1", port)
				// The kernel counts one byte more for the opening of a connection.
				if err == nil && ok && n >= 1500 && n <= 1502 {
					break
				}
				if time.Now().After(deadline) { // what was sent is acknowledged a moment later
					t.Fatalf("%d bytes, %v, %v", n, ok, err)
				}
				time.Sleep(10 * time.Millisecond)
			}
			if _, ok, err := traffic("127.0.0.9", port); ok || err != nil {
				t.Errorf("the connection of another pod counts: %v", err)
			}
			contract.Close()
			peer.Close()
			if _, ok, err := traffic("127.0.0.1", port); ok || err != nil {
				t.Errorf("a closed connection counts: %v", err)
			}
		})
	}
}

// TestRest: a contract that is called stays, one that is not goes, by the settings as they are then.
func TestRest(t *testing.T) {
	pace := idlePace{look: 5 * time.Millisecond, again: 20 * time.Millisecond, min: 50 * time.Millisecond}
	settings := make(chan int32, 1)
	deleted := make(chan string, 1)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /api/v1/namespaces/trade/configmaps/cc-asset", func(w http.ResponseWriter, _ *http.Request) {
		text, err := json.Marshal(launch.Settings{IdleSeconds: <-settings})
		if err != nil {
			t.Error(err)
		}
		json.NewEncoder(w).Encode(corev1.ConfigMap{Data: map[string]string{launch.SettingsKey: string(text)}})
	})
	mux.HandleFunc("DELETE /api/v1/namespaces/trade/pods/cc-x", func(_ http.ResponseWriter, r *http.Request) {
		deleted <- r.URL.Query().Get("gracePeriodSeconds")
	})
	_, _, port := connected(t, "tcp4", "127.0.0.1:0")
	var log bytes.Buffer
	f := &follower{launcher: newFake(t, &log, mux)}
	f.contract.Address = "peer0-banka.trade:" + port
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		f.rest(ctx, "127.0.0.1", pace)
	}()
	settings <- 0
	settings <- 3600 // idle contracts are to go now, but this one is not idle for so long
	settings <- 3600
	select {
	case <-deleted:
		t.Fatal("a contract that is to stay was deleted")
	default:
	}
	settings <- 1
	// It is asked for again once the second is over, or a moment before.
	go func() {
		for ctx.Err() == nil {
			select {
			case settings <- 1:
			case <-ctx.Done():
			}
		}
	}()
	select {
	case grace := <-deleted:
		if grace != "3" {
			t.Errorf("deleted with a grace of %q", grace)
		}
	case <-ctx.Done():
		t.Fatal("the idle contract stays")
	}
	<-done
	// Its end is then no failure.
	pod := &corev1.Pod{}
	terminated("")(&pod.Status)
	if err := f.look(ctx, pod); !errors.Is(err, errGone) {
		t.Errorf("the end of an idle contract is %v", err)
	}
}
