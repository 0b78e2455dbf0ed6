package node

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"runtime/debug"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthgrpc "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
)

const (
	// MaxMessageSize is the most that a node receives or sends in one message
	// unless it is told otherwise.
	MaxMessageSize = 100 * 1024 * 1024

	connectionTimeout = 5 * time.Second
	stopGrace         = 300 * time.Millisecond // deliveries never end by themselves
)

// ServerOptions of a gRPC server.
type ServerOptions struct {
	// Address to listen on.
	Address string
	// TLS, or nil for none.
	TLS *TLS
	// MinInterval is how seldom clients have to ping; one that pings more
	// often is sent away. Interval and Timeout are those of the server's own
	// pings. Zero means Fabric's values: 60 s, 2 h, 20 s.
	MinInterval, Interval, Timeout time.Duration
	// MaxRecv and MaxSend limit messages; zero means MaxMessageSize.
	MaxRecv, MaxSend int
	// Unary and Stream see every call first; optional.
	Unary  []grpc.UnaryServerInterceptor
	Stream []grpc.StreamServerInterceptor
}

// Server is a gRPC server with the health service. A service that it does not
// have is answered with UNIMPLEMENTED and its name.
type Server struct {
	*grpc.Server

	listener net.Listener
}

// NewServer listens, but serves only once Serve is called.
func NewServer(ctx context.Context, o ServerOptions) (*Server, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", o.Address)
	if err != nil {
		return nil, fmt.Errorf("listen for gRPC: %w", err)
	}
	creds := insecure.NewCredentials()
	if o.TLS != nil {
		creds = credentials.NewTLS(o.TLS.GRPC())
	}
	server := grpc.NewServer(
		grpc.Creds(creds),
		grpc.ConnectionTimeout(connectionTimeout),
		grpc.MaxRecvMsgSize(or(o.MaxRecv, MaxMessageSize)),
		grpc.MaxSendMsgSize(or(o.MaxSend, MaxMessageSize)),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: or(o.Interval, 2*time.Hour), Timeout: or(o.Timeout, 20*time.Second)}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: or(o.MinInterval, time.Minute), PermitWithoutStream: true}),
		grpc.ChainUnaryInterceptor(append([]grpc.UnaryServerInterceptor{surviveUnary}, o.Unary...)...),
		grpc.ChainStreamInterceptor(append([]grpc.StreamServerInterceptor{surviveStream}, o.Stream...)...),
	)
	status := health.NewServer()
	status.SetServingStatus("", healthgrpc.HealthCheckResponse_SERVING)
	healthgrpc.RegisterHealthServer(server, status)
	return &Server{Server: server, listener: listener}, nil
}

// surviveUnary and surviveStream turn a panic in one call into an error of
// that call: the libraries below panic at some malformed messages.
func surviveUnary(ctx context.Context, request any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (response any, err error) {
	defer survive(info.FullMethod, &err)
	return next(ctx, request)
}

func surviveStream(server any, stream grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) (err error) {
	defer survive(info.FullMethod, &err)
	return next(server, stream)
}

func survive(method string, err *error) {
	if cause := recover(); cause != nil {
		NewLogger("grpc.survive").Errorf("%s panicked: %v\n%s", method, cause, debug.Stack())
		*err = status.Errorf(codes.Internal, "%s failed", method)
	}
}

func or[T comparable](value, otherwise T) T {
	var zero T
	if value == zero {
		return otherwise
	}
	return value
}

// Addr is where the server listens, with the port that it was given.
func (s *Server) Addr() string { return s.listener.Addr().String() }

// Serve serves until ctx ends, then lets calls finish for a moment.
func (s *Server) Serve(ctx context.Context) error {
	stopped := context.AfterFunc(ctx, func() {
		hard := time.AfterFunc(stopGrace, s.Stop)
		defer hard.Stop()
		s.GracefulStop()
	})
	defer stopped()
	if err := s.Server.Serve(s.listener); err != nil && !errors.Is(err, grpc.ErrServerStopped) {
		return fmt.Errorf("serve gRPC: %w", err)
	}
	return nil
}

// ClientCertificate is the TLS certificate that the caller of a gRPC method
// showed, or nil.
func ClientCertificate(ctx context.Context) *x509.Certificate {
	from, ok := peer.FromContext(ctx)
	if !ok {
		return nil
	}
	info, ok := from.AuthInfo.(credentials.TLSInfo)
	if !ok || len(info.State.PeerCertificates) == 0 {
		return nil
	}
	return info.State.PeerCertificates[0]
}

// RemoteAddress is where the caller of a gRPC method is.
func RemoteAddress(ctx context.Context) string {
	from, ok := peer.FromContext(ctx)
	if !ok || from.Addr == nil {
		return ""
	}
	return from.Addr.String()
}

// DialOptions of connections to other nodes.
type DialOptions struct {
	// Roots (PEM) that the other node's certificate has to come from. None
	// means a connection without TLS.
	Roots [][]byte
	// Certificate that is shown; optional.
	Certificate *tls.Certificate
	// ServerName that the other's certificate has to bear, if it is not the
	// host of the address.
	ServerName string
	// Verify judges the other's certificate once its authority is known to be
	// right; optional.
	Verify func(certificate *x509.Certificate) error
}

// Dial prepares a connection to another node; it is made at the first call.
func Dial(address string, o DialOptions) (*grpc.ClientConn, error) {
	creds := insecure.NewCredentials()
	if len(o.Roots) > 0 {
		pool := x509.NewCertPool()
		for _, root := range o.Roots {
			pool.AppendCertsFromPEM(root)
		}
		config := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: pool, ServerName: o.ServerName}
		if o.Certificate != nil {
			config.Certificates = []tls.Certificate{*o.Certificate}
		}
		if o.Verify != nil {
			config.VerifyConnection = func(state tls.ConnectionState) error { return o.Verify(state.PeerCertificates[0]) }
		}
		creds = credentials.NewTLS(config)
	}
	conn, err := grpc.NewClient("passthrough:///"+address,
		grpc.WithTransportCredentials(creds),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(MaxMessageSize), grpc.MaxCallSendMsgSize(MaxMessageSize)),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 2 * time.Minute, Timeout: 20 * time.Second, PermitWithoutStream: true}),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: dialBackoff(), MinConnectTimeout: connectionTimeout}),
	)
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", address, err)
	}
	return conn, nil
}
