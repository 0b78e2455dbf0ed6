// Package traffic turns what nginx notes of connections that ended, and the sockets that are open now, into metrics. It
// runs in heddle-link, beside nginx in the pods of gateways and links.
//
// Callers are not trusted: what they say becomes a label only where nginx knew a way for it, and no more than maxNodes
// times. What is lost between nginx and here is lost: the log of the pod has it.
package traffic

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"os"
	"regexp"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"heddle.dev/heddle/internal/nginx"
	"heddle.dev/heddle/internal/nginx/tcptable"
	"heddle.dev/heddle/internal/pki"
)

const (
	// maxLine bounds a note: names and addresses of a connection are far shorter.
	maxLine = 8 << 10
	// maxNodes bounds the names of one direction; those beyond count as otherNode.
	maxNodes  = 256
	otherNode = "other"
)

// Directions of a connection.
const (
	// In: a partner came to a node of this site.
	In = "in"
	// Out: a node of this site went to a partner's.
	Out = "out"
	// Public: somebody came to the gateway.
	Public = "public"
)

// Options say whose connections are counted.
type Options struct {
	// Link is the SiteLink's name and Network the network's. Both empty: they are a gateway's.
	Link, Network string
	// Certificate is the file of the link's own certificate; empty: there is none.
	Certificate string
	// Now is the clock.
	Now func() time.Time
	// Sockets reads how many connections are open on local ports; those of this pod unless given.
	Sockets func() (map[int]int, error)
}

// Counter is a collector of metrics.
type Counter struct {
	opts                                 Options
	connections, received, sent, seconds *prometheus.CounterVec
	open, daysLeft                       *prometheus.Desc

	mu    sync.Mutex
	nodes map[string]map[string]bool // by direction
}

// New makes a counter.
func New(o Options) *Counter {
	if o.Sockets == nil {
		o.Sockets = openSockets
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	fixed := prometheus.Labels{"link": o.Link, "network": o.Network}
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "heddle_link_" + name, Help: help, ConstLabels: fixed}, labels)
	}
	return &Counter{
		opts:        o,
		connections: counter("connections_total", "Connections that ended, by nginx's status: 200 went through, others were refused.", "direction", "node", "status"),
		received:    counter("received_bytes_total", "Bytes that callers sent, of connections that ended.", "direction", "node"),
		sent:        counter("sent_bytes_total", "Bytes that callers got, of connections that ended.", "direction", "node"),
		seconds:     counter("session_seconds_total", "How long the connections that ended were open.", "direction", "node"),
		open:        prometheus.NewDesc("heddle_link_open_connections", "Connections of callers that are open.", []string{"direction"}, fixed),
		daysLeft:    prometheus.NewDesc("heddle_link_certificate_days_left", "Days until the link's own certificate ends; negative when it has ended.", nil, fixed),
		nodes:       map[string]map[string]bool{In: {}, Out: {}, Public: {}},
	}
}

// Describe tells the metrics that there are.
func (c *Counter) Describe(out chan<- *prometheus.Desc) {
	for _, v := range []*prometheus.CounterVec{c.connections, c.received, c.sent, c.seconds} {
		v.Describe(out)
	}
	out <- c.open
	out <- c.daysLeft
}

// Collect tells them.
func (c *Counter) Collect(out chan<- prometheus.Metric) {
	for _, v := range []*prometheus.CounterVec{c.connections, c.received, c.sent, c.seconds} {
		v.Collect(out)
	}
	if c.opts.Certificate != "" {
		if ends, err := endOf(c.opts.Certificate); err != nil {
			out <- prometheus.NewInvalidMetric(c.daysLeft, err)
		} else {
			out <- prometheus.MustNewConstMetric(c.daysLeft, prometheus.GaugeValue, ends.Sub(c.opts.Now()).Hours()/24)
		}
	}
	sockets, err := c.opts.Sockets()
	if err != nil {
		out <- prometheus.NewInvalidMetric(c.open, err)
		return
	}
	for _, port := range c.ports() {
		out <- prometheus.MustNewConstMetric(c.open, prometheus.GaugeValue, float64(sockets[port]), c.direction(port))
	}
}

func (c *Counter) ports() []int {
	if c.opts.Link == "" {
		return []int{nginx.PortPublic}
	}
	return []int{nginx.PortIngress, nginx.PortEgress}
}

func (c *Counter) direction(port int) string {
	gateway := c.opts.Link == ""
	switch {
	case gateway && port == nginx.PortPublic:
		return Public
	case !gateway && port == nginx.PortIngress:
		return In
	case !gateway && port == nginx.PortEgress:
		return Out
	}
	return ""
}

// Listen counts what nginx notes, one message each, until ctx ends.
func (c *Counter) Listen(ctx context.Context, conn net.PacketConn) error {
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	buf := make([]byte, maxLine+1)
	for {
		n, _, err := conn.ReadFrom(buf)
		if ctx.Err() != nil {
			return nil
		}
		if errors.Is(err, net.ErrClosed) {
			return fmt.Errorf("read nginx's notes: %w", err)
		}
		if err != nil || n > maxLine {
			continue // the next one may be good
		}
		if e, err := parse(buf[:n]); err == nil {
			c.count(e)
		}
	}
}

// entry is one connection as nginx notes it.
type entry struct {
	Port    int     `json:"port,string"`
	SNI     string  `json:"sni"`
	To      string  `json:"to"`
	Status  string  `json:"status"`
	In      int64   `json:"in"`
	Out     int64   `json:"out"`
	Seconds float64 `json:"seconds"`
}

var (
	statuses = regexp.MustCompile(`^[1-5][0-9][0-9]$`)
	names    = regexp.MustCompile(`^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$`)
)

// parse reads a note: JSON after what syslog puts before it.
func parse(line []byte) (entry, error) {
	var e entry
	start := bytes.IndexByte(line, '{')
	if start < 0 || len(line) > maxLine {
		return e, errors.New("read nginx's note: it is none")
	}
	if err := json.Unmarshal(line[start:], &e); err != nil {
		return e, fmt.Errorf("read nginx's note: %w", err)
	}
	if e.In < 0 || e.Out < 0 || e.Seconds < 0 || math.IsInf(e.Seconds, 0) || e.Port < 0 || e.Port > math.MaxUint16 || !statuses.MatchString(e.Status) {
		return e, errors.New("read nginx's note: a figure cannot be")
	}
	return e, nil
}

// count adds a connection.
func (c *Counter) count(e entry) {
	direction := c.direction(e.Port)
	if direction == "" {
		return
	}
	node := c.node(direction, e)
	c.connections.WithLabelValues(direction, node, e.Status).Inc()
	c.received.WithLabelValues(direction, node).Add(float64(e.In))
	c.sent.WithLabelValues(direction, node).Add(float64(e.Out))
	c.seconds.WithLabelValues(direction, node).Add(e.Seconds)
}

// node is the name that was asked for, where nginx knew a way for it.
func (c *Counter) node(direction string, e entry) string {
	if e.To == "" || len(e.SNI) > 253 || !names.MatchString(e.SNI) {
		return ""
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	known := c.nodes[direction]
	if !known[e.SNI] && len(known) >= maxNodes {
		return otherNode
	}
	known[e.SNI] = true
	return e.SNI
}

// maxCertificate bounds what is read of a certificate's file.
const maxCertificate = 64 << 10

// endOf is when the first certificate of a file ends.
func endOf(path string) (time.Time, error) {
	f, err := os.Open(path)
	if err != nil {
		return time.Time{}, fmt.Errorf("read certificate: %w", err)
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, maxCertificate))
	if err != nil {
		return time.Time{}, fmt.Errorf("read certificate: %w", err)
	}
	certs, err := pki.ParseCerts(raw)
	if err != nil {
		return time.Time{}, fmt.Errorf("read certificate: %w", err)
	}
	return certs[0].NotAfter, nil
}

// ReadTimeout bounds a scrape's request.
const ReadTimeout = 5 * time.Second

// openSockets counts this network namespace's established connections by local port.
func openSockets() (map[int]int, error) {
	out := map[int]int{}
	err := tcptable.Each(func(s tcptable.Socket) {
		if s.Established {
			out[int(s.Local.Port())]++
		}
	})
	return out, err
}
