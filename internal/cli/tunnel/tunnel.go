// Package tunnel keeps a port of this machine connected to a port of a pod, through the API server. It works on any
// cluster that the user's kubeconfig reaches. When the pod goes, the next connection finds its successor.
// It knows nothing of Fabric; the commands of internal/cli are above it.
package tunnel

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/transport/spdy"
	"k8s.io/streaming/pkg/httpstream"
)

// Options say what a tunnel connects.
type Options struct {
	// Config reaches the API server.
	Config *rest.Config
	// Namespace of the pod.
	Namespace string
	// Pod names the pod that serves now; it is asked again when the connection to the last one broke.
	Pod func(ctx context.Context) (string, error)
	// Local is the port of this machine; 0 takes a free one.
	Local int32
	// Remote is the port of the pod.
	Remote int32
	// Failed hears of connections that could not be made after the tunnel was opened; may be nil.
	Failed func(error)
}

// Tunnel is an open local port.
type Tunnel struct {
	opts     Options
	listener net.Listener
	request  atomic.Int64
	cancel   context.CancelFunc
	wg       sync.WaitGroup

	mu   sync.Mutex
	conn httpstream.Connection
}

// Open listens and connects to the pod once, so that what cannot work fails here.
func Open(ctx context.Context, opts Options) (*Tunnel, error) {
	address := net.JoinHostPort("127.0.0.1", strconv.Itoa(int(opts.Local)))
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", address, err)
	}
	ctx, cancel := context.WithCancel(ctx)
	t := &Tunnel{opts: opts, listener: listener, cancel: cancel}
	if _, err := t.connection(ctx); err != nil {
		t.Close()
		return nil, err
	}
	t.wg.Go(func() { t.accept(ctx) })
	context.AfterFunc(ctx, func() { _ = listener.Close() })
	return t, nil
}

// Address is the local end, as host:port.
func (t *Tunnel) Address() string { return t.listener.Addr().String() }

// Port is the local port.
func (t *Tunnel) Port() int32 {
	if a, ok := t.listener.Addr().(*net.TCPAddr); ok {
		return int32(a.Port) //nolint:gosec // a port fits
	}
	return 0
}

// Close ends the tunnel and every connection through it.
func (t *Tunnel) Close() {
	t.cancel()
	_ = t.listener.Close()
	t.mu.Lock()
	if t.conn != nil {
		_ = t.conn.Close()
	}
	t.mu.Unlock()
	t.wg.Wait()
}

func (t *Tunnel) accept(ctx context.Context) {
	for {
		local, err := t.listener.Accept()
		if err != nil {
			return
		}
		t.wg.Go(func() {
			defer local.Close()
			if err := t.serve(ctx, local); err != nil && ctx.Err() == nil && t.opts.Failed != nil {
				t.opts.Failed(err)
			}
		})
	}
}

// connection is the one to the pod; a broken one is replaced.
func (t *Tunnel) connection(ctx context.Context) (httpstream.Connection, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.conn != nil {
		select {
		case <-t.conn.CloseChan():
			_ = t.conn.Close()
			t.conn = nil
		default:
			return t.conn, nil
		}
	}
	pod, err := t.opts.Pod(ctx)
	if err != nil {
		return nil, err
	}
	dialer, err := newDialer(t.opts.Config, t.opts.Namespace, pod)
	if err != nil {
		return nil, err
	}
	conn, err := dial(ctx, dialer)
	if err != nil {
		return nil, fmt.Errorf("forward a port to pod %s/%s: %w", t.opts.Namespace, pod, err)
	}
	t.conn = conn
	return conn, nil
}

// dial gives up when ctx ends, which the dialer itself cannot.
func dial(ctx context.Context, dialer httpstream.Dialer) (httpstream.Connection, error) {
	type answer struct {
		conn httpstream.Connection
		err  error
	}
	answers := make(chan answer, 1)
	go func() {
		conn, protocol, err := dialer.Dial(portforward.PortForwardProtocolV1Name)
		if err == nil && protocol != portforward.PortForwardProtocolV1Name {
			_ = conn.Close()
			err = fmt.Errorf("the API server speaks %q", protocol)
		}
		answers <- answer{conn, err}
	}()
	select {
	case a := <-answers:
		return a.conn, a.err
	case <-ctx.Done():
		go func() {
			if a := <-answers; a.err == nil {
				_ = a.conn.Close()
			}
		}()
		return nil, ctx.Err()
	}
}

// newDialer tries WebSockets first, as proxies let them pass, and SPDY after it, for older API servers.
func newDialer(cfg *rest.Config, namespace, pod string) (httpstream.Dialer, error) {
	clientset, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", cfg.Host, err)
	}
	url := clientset.CoreV1().RESTClient().Post().Resource("pods").Namespace(namespace).Name(pod).SubResource("portforward").URL()
	transport, upgrader, err := spdy.RoundTripperFor(cfg)
	if err != nil {
		return nil, fmt.Errorf("prepare port forwarding: %w", err)
	}
	old := spdy.NewDialerForStreaming(upgrader, &http.Client{Transport: transport}, http.MethodPost, url)
	websocket, err := portforward.NewSPDYOverWebsocketDialerForStreaming(url, cfg)
	if err != nil {
		return nil, fmt.Errorf("prepare port forwarding: %w", err)
	}
	return portforward.NewFallbackDialerForStreaming(websocket, old, func(err error) bool {
		return httpstream.IsUpgradeFailure(err) || httpstream.IsHTTPSProxyError(err)
	}), nil
}

// serve carries one local connection.
func (t *Tunnel) serve(ctx context.Context, local net.Conn) error {
	conn, err := t.connection(ctx)
	if err != nil {
		return err
	}
	failure, data, err := t.streams(conn)
	if err != nil {
		// The connection died without a sign: the next one is made anew.
		_ = conn.Close()
		return err
	}
	defer conn.RemoveStreams(failure, data)
	remote := make(chan error, 1)
	go func() {
		text, err := io.ReadAll(io.LimitReader(failure, 64<<10))
		if err == nil && len(text) > 0 {
			err = errors.New(string(text))
		}
		remote <- err
	}()
	done := make(chan struct{}, 2)
	go func() {
		_, _ = io.Copy(local, data)
		done <- struct{}{}
	}()
	go func() {
		_, _ = io.Copy(data, local)
		_ = data.Close()
		done <- struct{}{}
	}()
	select {
	case <-done:
	case <-ctx.Done():
	case <-conn.CloseChan():
	}
	_ = data.Reset()
	_ = local.Close()
	select {
	case err = <-remote:
	case <-ctx.Done():
	case <-conn.CloseChan():
	}
	if err != nil {
		_ = conn.Close()
		return fmt.Errorf("forward a port: %w", err)
	}
	return nil
}

// streams opens the pair of streams that carries one connection.
func (t *Tunnel) streams(conn httpstream.Connection) (failure, data httpstream.Stream, err error) {
	headers := http.Header{}
	headers.Set(corev1.PortHeader, strconv.Itoa(int(t.opts.Remote)))
	headers.Set(corev1.PortForwardRequestIDHeader, strconv.FormatInt(t.request.Add(1), 10))
	headers.Set(corev1.StreamType, corev1.StreamTypeError)
	failure, err = conn.CreateStream(headers)
	if err != nil {
		return nil, nil, fmt.Errorf("open a stream: %w", err)
	}
	// Nothing is ever sent on it.
	_ = failure.Close()
	headers.Set(corev1.StreamType, corev1.StreamTypeData)
	data, err = conn.CreateStream(headers)
	if err != nil {
		conn.RemoveStreams(failure)
		return nil, nil, fmt.Errorf("open a stream: %w", err)
	}
	return failure, data, nil
}

// InUse says that Open failed because somebody else listens on the port.
func InUse(err error) bool { return errors.Is(err, syscall.EADDRINUSE) }
