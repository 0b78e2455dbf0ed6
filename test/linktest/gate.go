// Package linktest stands in for the public port of a site in tests that run without machines: it routes by SNI, as the
// gateway's nginx does, and can be cut or made silent, as a network can.
package linktest

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"slices"
	"sync"
	"testing"
	"time"
)

// Gate is a public port.
type Gate struct {
	// Route leads a name of SNI to an address; an empty one cuts the caller off.
	route   func(sni string) string
	address string

	mu     sync.Mutex
	l      net.Listener
	silent bool
	hangUp bool
	conns  []net.Conn
	names  []string
}

// NewGate opens a public port until the test ends.
func NewGate(t *testing.T, route func(sni string) string) *Gate {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := &Gate{route: route, l: l, address: l.Addr().String()}
	go g.serve(l)
	t.Cleanup(func() { g.Shut(t, true) })
	return g
}

// Address of the port.
func (g *Gate) Address() string { return g.address }

// Names are those that callers asked for.
func (g *Gate) Names() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.names)
}

// Shut cuts all connections and refuses new ones, or opens again.
func (g *Gate) Shut(t *testing.T, shut bool) {
	t.Helper()
	g.mu.Lock()
	defer g.mu.Unlock()
	if shut {
		_ = g.l.Close()
		g.cutLocked()
		return
	}
	l, err := net.Listen("tcp", g.address)
	if err != nil {
		t.Fatal(err)
	}
	g.l = l
	go g.serve(l)
}

// HangUp takes calls and ends them at once, as a gateway does with nobody behind it, or lets them through again.
func (g *Gate) HangUp(hangUp bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.hangUp = hangUp
	if hangUp {
		g.cutLocked()
	}
}

// Silence lets nothing through any more and tells nobody, or lets new connections through again.
func (g *Gate) Silence(silent bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.silent = silent
	if !silent {
		g.cutLocked()
	}
}

func (g *Gate) cutLocked() {
	for _, c := range g.conns {
		_ = c.Close()
	}
	g.conns = nil
}

func (g *Gate) serve(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go g.pass(c)
	}
}

func (g *Gate) keep(c net.Conn) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.hangUp {
		return false
	}
	g.conns = append(g.conns, c)
	return true
}

func (g *Gate) pass(c net.Conn) {
	defer c.Close()
	if !g.keep(c) {
		return
	}
	name, hello := peek(c)
	g.mu.Lock()
	g.names = append(g.names, name)
	g.mu.Unlock()
	to := g.route(name)
	if to == "" {
		return
	}
	up, err := net.Dial("tcp", to)
	if err != nil {
		return
	}
	defer up.Close()
	if !g.keep(up) {
		return
	}
	if _, err := up.Write(hello); err != nil {
		return
	}
	done := make(chan struct{}, 2)
	go func() { g.copy(up, c); done <- struct{}{} }()
	go func() { g.copy(c, up); done <- struct{}{} }()
	<-done
}

// copy passes bytes on, or swallows them in silence.
func (g *Gate) copy(to, from net.Conn) {
	buf := make([]byte, 16<<10)
	for {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		g.mu.Lock()
		silent := g.silent
		g.mu.Unlock()
		if silent {
			continue
		}
		if _, err := to.Write(buf[:n]); err != nil {
			return
		}
	}
}

// peek reads the name that a caller asks for, and returns what it read.
func peek(c net.Conn) (name string, read []byte) {
	r := &recorder{Conn: c}
	_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
	s := tls.Server(r, &tls.Config{GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		name = hello.ServerName
		return nil, errors.New("only the name was wanted")
	}})
	_ = s.HandshakeContext(context.Background())
	_ = c.SetReadDeadline(time.Time{})
	return name, r.read
}

// recorder keeps what is read, and drops what is written.
type recorder struct {
	net.Conn
	read []byte
}

func (r *recorder) Read(p []byte) (int, error) {
	n, err := r.Conn.Read(p)
	r.read = append(r.read, p[:n]...)
	return n, err
}

func (r *recorder) Write(p []byte) (int, error) { return io.Discard.Write(p) }
