package check

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"syscall"
	"time"
)

// isReset tells whether the other side cut the connection.
func isReset(err error) bool {
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// greet makes one call that every node of Fabric answers, be it with a refusal: what comes back shows that gRPC is
// spoken there. A peer answers the ping of gossip; an orderer says that it does not know it.
func greet(ctx context.Context, conn *tls.Conn, host string) (string, error) {
	if p := conn.ConnectionState().NegotiatedProtocol; p != "h2" {
		return "", fmt.Errorf("it does not speak HTTP/2 (its choice is %q)", p)
	}
	transport := &http.Transport{
		ForceAttemptHTTP2: true, DisableKeepAlives: true,
		DialTLSContext: func(context.Context, string, string) (net.Conn, error) { return conn, nil },
	}
	defer transport.CloseIdleConnections()
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	// The frame of an empty message: not compressed, and 0 bytes long.
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://"+host+"/gossip.Gossip/Ping", bytes.NewReader(make([]byte, 5)))
	if err != nil {
		return "", fmt.Errorf("call the node: %w", err)
	}
	req.Header.Set("Content-Type", "application/grpc")
	req.Header.Set("TE", "trailers")
	start := time.Now()
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return "", fmt.Errorf("call the node: %w", err)
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, io.LimitReader(resp.Body, 1<<16)); err != nil {
		return "", fmt.Errorf("call the node: %w", err)
	}
	status := resp.Header.Get("Grpc-Status")
	if status == "" {
		status = resp.Trailer.Get("Grpc-Status")
	}
	if status == "" {
		return "", fmt.Errorf("it answers with status %d of HTTP and none of gRPC", resp.StatusCode)
	}
	return fmt.Sprintf("gRPC answers in %d ms", time.Since(start).Milliseconds()), nil
}
