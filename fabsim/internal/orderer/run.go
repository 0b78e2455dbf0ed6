package orderer

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"time"

	ab "github.com/hyperledger/fabric-protos-go-apiv2/orderer"
	"golang.org/x/sync/errgroup"

	"heddle.dev/heddle/fabsim/internal/blocks"
	"heddle.dev/heddle/fabsim/internal/deliver"
	"heddle.dev/heddle/fabsim/internal/node"
	"heddle.dev/heddle/fabsim/internal/orderer/admission"
	"heddle.dev/heddle/fabsim/internal/orderer/cluster"
	"heddle.dev/heddle/fabsim/internal/orderer/consensus"
	"heddle.dev/heddle/fabsim/internal/orderer/participation"
	"heddle.dev/heddle/fabsim/internal/orderer/registry"
)

// Run is a simulated orderer with the settings of an environment. It ends
// orderly with ctx, and with an error if a setting is wrong.
func Run(ctx context.Context, environ []string, stderr io.Writer) error {
	if err := node.InitLogging(stderr, environ); err != nil {
		return err
	}
	log := node.NewLogger("orderer.common.server")
	settings, err := readConfig(environ)
	if err != nil {
		return fmt.Errorf("read settings: %w", err)
	}
	node.LogStart(log, "orderer")
	return serve(ctx, settings, log)
}

// serve starts the parts in the order that they need one another in.
func serve(ctx context.Context, settings *config, log *node.Logger) error {
	identity, err := node.LoadIdentity(settings.mspDir, settings.mspID)
	if err != nil {
		return err
	}
	files, err := settings.clusterFiles()
	if err != nil {
		return err
	}
	servers, err := listen(ctx, settings)
	if err != nil {
		return err
	}
	store, err := blocks.Open(blocks.Options{Dir: settings.ledger, Metrics: servers.ops.Metrics()})
	if err != nil {
		return err
	}
	defer store.Close()
	group, ctx := errgroup.WithContext(ctx)
	channels, err := openChannels(ctx, settings, files, identity, store, servers)
	if err != nil {
		return err
	}
	defer channels.Wait()
	delivery := deliver.New(deliver.Options{
		Channel: func(id string) deliver.Channel {
			if c := channels.Channel(id); c != nil {
				return c
			}
			return nil
		},
		TimeWindow: settings.timeWindow, MutualTLS: settings.serverTLS.RequireClientCert,
		SkipExpiry: settings.skipExpiry, Metrics: servers.ops.Metrics(),
	})
	ab.RegisterAtomicBroadcastServer(servers.grpc, newService(channels, delivery, servers.ops, node.NewLogger("orderer.common.broadcast")))
	servers.admin.Handler(settings, channels)
	log.Infof("Beginning to serve requests on %s, participation on %s, operations on %s",
		servers.grpc.Addr(), servers.admin.Addr(), servers.ops.Addr())
	group.Go(func() error { return servers.ops.Serve(ctx) })
	group.Go(func() error { return servers.admin.Serve(ctx) })
	group.Go(func() error { return servers.grpc.Serve(ctx) })
	group.Go(func() error { return node.GiveBack(ctx) })
	return group.Wait()
}

func openChannels(
	ctx context.Context, settings *config, files *clusterFiles, identity *node.Identity, store *blocks.Store, servers *servers,
) (*registry.Registry, error) {
	service := cluster.NewService(node.NewLogger("orderer.common.cluster"))
	ab.RegisterClusterServer(servers.grpc, service)
	options := registry.Options{
		Store: store, Dir: settings.ledger, WALDir: settings.walDir, SnapDir: settings.snapDir,
		Identity: identity, Certificate: files.server, Client: files.client, Roots: files.roots,
		Timeout: settings.rpcTimeout, Tick: settings.tick, Suspicion: settings.suspicion,
		Gate:    &admission.Gate{Identity: identity, SkipExpiry: settings.skipExpiry, Now: time.Now},
		Service: service, Consensus: consensus.NewMetrics(servers.ops.Registry), Metrics: registry.NewMetrics(servers.ops.Registry),
		Log: node.NewLogger("orderer.consensus.etcdraft"),
	}
	return registry.Open(ctx, options)
}

// servers are the three listeners.
type servers struct {
	grpc  *node.Server
	admin *admin
	ops   *node.Operations
}

func listen(ctx context.Context, settings *config) (*servers, error) {
	serverTLS, err := node.LoadTLS(settings.serverTLS)
	if err != nil {
		return nil, fmt.Errorf("general: %w", err)
	}
	adminTLS, err := node.LoadTLS(settings.adminTLS)
	if err != nil {
		return nil, fmt.Errorf("admin: %w", err)
	}
	opsTLS, err := node.LoadTLS(settings.opsTLS)
	if err != nil {
		return nil, fmt.Errorf("operations: %w", err)
	}
	out := &servers{admin: &admin{}}
	ops := settings.ops
	ops.TLS = opsTLS
	if out.ops, err = node.NewOperations(ctx, ops); err != nil {
		return nil, err
	}
	if out.admin.HTTPServer, err = node.NewHTTPServer(ctx, settings.admin, adminTLS, out.admin); err != nil {
		return nil, err
	}
	server := settings.server
	server.TLS = serverTLS
	if out.grpc, err = node.NewServer(ctx, server); err != nil {
		return nil, err
	}
	return out, nil
}

// admin is the server of the participation API, which gets its handler once
// the channels are there.
type admin struct {
	*node.HTTPServer

	handler http.Handler
}

// Handler sets the handler, before serving begins.
func (a *admin) Handler(settings *config, channels *registry.Registry) {
	var handler http.Handler = &participation.Handler{Channels: channels, MaxBody: settings.maxBody, Disabled: settings.disabled}
	if settings.adminTLS.Enabled {
		handler = node.RequireCertificate(handler)
	}
	mux := http.NewServeMux()
	mux.Handle(participation.Base, handler)
	a.handler = mux
}

// ServeHTTP answers a request.
func (a *admin) ServeHTTP(w http.ResponseWriter, r *http.Request) { a.handler.ServeHTTP(w, r) }
