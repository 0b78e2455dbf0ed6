package builder

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"syscall"
	"time"

	"github.com/vishvananda/netlink"

	"heddle.dev/heddle/internal/specs/launch"
)

// callBytes is less than any call takes (its proposal alone has a certificate), and more than keepalives take between
// two looks.
const callBytes = 512

// idlePace is how a contract is looked at.
type idlePace struct {
	// look is how often its traffic is looked at, and again how often the settings of one that is quiet.
	look, again time.Duration
	// min is how long a contract stays whatever the settings say.
	min time.Duration
}

func usualPace() idlePace {
	return idlePace{look: 2 * time.Second, again: time.Minute, min: launch.MinIdleSeconds * time.Second}
}

// quiet measures for how long a contract has had no call.
type quiet struct {
	bytes uint64
	since time.Time
}

// observe takes how many bytes have gone between contract and peer so far; not ok while they are not connected.
func (q *quiet) observe(bytes uint64, ok bool, now time.Time) time.Duration {
	if !ok || bytes < q.bytes || bytes-q.bytes >= callBytes || q.since.IsZero() {
		q.since = now
	}
	q.bytes = bytes
	return now.Sub(q.since)
}

// rest deletes the contract's pod when it has had no call for as long as the settings say. The peer launches it anew at
// the next call. What the settings say may change meanwhile.
func (f *follower) rest(ctx context.Context, podIP string, pace idlePace) {
	_, port, err := net.SplitHostPort(f.contract.Address)
	if err != nil {
		return // an address without a port was refused by the shim already
	}
	tick := time.NewTicker(pace.look)
	defer tick.Stop()
	var q quiet
	read := time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			bytes, ok, err := traffic(podIP, port)
			if err != nil {
				f.say("cannot see whether %s is called, so it stays: %v", f.name, err)
				return
			}
			calm := q.observe(bytes, ok, now)
			if calm < pace.min || !f.due(calm) && now.Sub(read) < pace.again {
				continue
			}
			read = now
			if f.retire(ctx, calm) {
				return
			}
		}
	}
}

// due tells by the settings as they were read last.
func (f *follower) due(calm time.Duration) bool {
	after := time.Duration(f.settings.IdleSeconds) * time.Second
	return after > 0 && calm >= after
}

// retire reads the settings again and deletes the pod if it has been quiet for long enough.
func (f *follower) retire(ctx context.Context, calm time.Duration) bool {
	if err := f.configure(ctx); err != nil {
		f.say("%v", err)
		return false
	}
	if !f.due(calm) {
		return false
	}
	f.idle.Store(true)
	grace := url.Values{"gracePeriodSeconds": {strconv.Itoa(launch.IdleGraceSeconds)}}
	if err := f.api.do(ctx, http.MethodDelete, f.path("pods", f.name), grace, nil, nil); err != nil && !isCode(err, http.StatusNotFound) {
		f.idle.Store(false)
		f.say("cannot delete idle pod %s: %v", f.name, err)
		return false
	}
	f.say("%s had no call for %s and goes until the next one", f.contract.PackageID, calm.Round(time.Second))
	return true
}

// traffic counts the bytes between the contract's pod and the peer's port: the kernel knows of each connection in the pod
// that peer and builder share (sock_diag(7)).
func traffic(podIP, port string) (uint64, bool, error) {
	there := net.ParseIP(podIP)
	total, found := uint64(0), false
	for _, family := range []uint8{syscall.AF_INET, syscall.AF_INET6} {
		sockets, err := netlink.SocketDiagTCPInfo(family)
		if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
			return 0, false, fmt.Errorf("read connections: %w", err)
		}
		for _, s := range sockets {
			if s.InetDiagMsg == nil || s.TCPInfo == nil || s.TCPInfo.State != netlink.TCP_ESTABLISHED {
				continue
			}
			id := &s.InetDiagMsg.ID
			if id.Destination.Equal(there) && strconv.Itoa(int(id.SourcePort)) == port {
				found, total = true, total+s.TCPInfo.Bytes_acked+s.TCPInfo.Bytes_received
			}
		}
	}
	return total, found, nil
}
