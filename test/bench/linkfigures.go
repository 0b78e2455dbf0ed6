package main

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	cb "github.com/hyperledger/fabric-protos-go-apiv2/common"
	ab "github.com/hyperledger/fabric-protos-go-apiv2/orderer"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/timestamppb"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/fabric/admin"
	"heddle.dev/heddle/internal/fabric/identity"
	"heddle.dev/heddle/internal/pki"
	"heddle.dev/heddle/test/harness"
)

const (
	// connections are made one after the other in a round.
	connections = 40
	// callers make calls at once, over one connection, for so long.
	callers = 32
	calling = 4 * time.Second
	// largeBlocks of blockSize are delivered again and again, for so long.
	largeBlocks = 24
	blockSize   = 200_000
	delivering  = 3 * time.Second
)

// linkFigures are what one round finds out about one network.
type linkFigures struct {
	tps, p50, connect, blocks, nginxRPC, nginxTx, calls float64
}

func (f linkFigures) String() string {
	return fmt.Sprintf("%.1f transactions/s, p50 %.0f ms, new connection %.2f ms, blocks %.0f MiB/s, %.0f calls/s, nginx %.1f us a call and %.0f us a transaction",
		f.tps, f.p50, f.connect, f.blocks, f.calls, f.nginxRPC, f.nginxTx)
}

// figures measures one thing after the other.
func (b *bench) figures(ctx context.Context, n *banks) (linkFigures, error) {
	var f linkFigures
	before, err := n.nginx(ctx)
	if err != nil {
		return f, err
	}
	got, err := b.drive(ctx, n.clients)
	if err != nil {
		return f, err
	}
	after, err := n.nginx(ctx)
	if err != nil {
		return f, err
	}
	if lost := got.Started - len(got.Acks); len(got.Acks) == 0 || 100*lost > got.Started {
		return f, fmt.Errorf("judge load: more than one in a hundred failed: %s", got)
	}
	f.tps, f.p50 = got.TPS(), float64(got.Latency(0.5).Microseconds())/1000
	f.nginxTx = float64((after - before).Microseconds()) / float64(len(got.Acks))
	if f.connect, err = n.connect(ctx); err != nil {
		return f, err
	}
	if f.blocks, err = n.deliver(ctx); err != nil {
		return f, err
	}
	if before, err = n.nginx(ctx); err != nil {
		return f, err
	}
	calls, err := n.call(ctx)
	if err != nil {
		return f, err
	}
	if after, err = n.nginx(ctx); err != nil {
		return f, err
	}
	f.calls = float64(calls) / calling.Seconds()
	f.nginxRPC = float64((after - before).Microseconds()) / float64(calls)
	return f, nil
}

// nginx is the time of processors that every nginx on the network's way has used.
func (n *banks) nginx(ctx context.Context) (time.Duration, error) {
	if n.siteA == n.siteB {
		return 0, nil
	}
	var sum time.Duration
	for _, site := range n.sites() {
		for _, where := range []struct{ namespace, component string }{
			{harness.SystemNamespace, v1alpha1.ComponentGateway}, {n.name, v1alpha1.ComponentLink},
		} {
			var pods corev1.PodList
			if err := site.List(ctx, &pods, client.InNamespace(where.namespace), client.MatchingLabels{v1alpha1.LabelComponent: where.component}); err != nil {
				return 0, err
			}
			if len(pods.Items) == 0 {
				return 0, fmt.Errorf("namespace %q has no pod of the %s", where.namespace, where.component)
			}
			for i := range pods.Items {
				spent, err := site.CPU(&pods.Items[i], "nginx")
				if err != nil {
					return 0, err
				}
				sum += spent
			}
		}
	}
	return sum, nil
}

// dialBankB prepares a connection from site A to bank B's peer.
func (n *banks) dialBankB(ctx context.Context) (*grpc.ClientConn, error) {
	roots, err := n.siteA.TLSRoots(ctx, n.name, "bankb")
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(roots)
	host := "peer0-bankb." + n.name
	return grpc.NewClient("passthrough:///"+host+":7051",
		grpc.WithTransportCredentials(credentials.NewClientTLSFromCert(pool, host)), grpc.WithContextDialer(n.siteA.Dial))
}

// ping is a call that every peer answers.
func ping(ctx context.Context, conn *grpc.ClientConn) error {
	return conn.Invoke(ctx, "/gossip.Gossip/Ping", &emptypb.Empty{}, &emptypb.Empty{})
}

// connect is the time of a new connection to bank B's peer with its first call, in milliseconds.
func (n *banks) connect(ctx context.Context) (float64, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	var took []float64
	for range connections {
		conn, err := n.dialBankB(ctx)
		if err != nil {
			return 0, err
		}
		began := time.Now()
		err = ping(ctx, conn)
		took = append(took, float64(time.Since(began).Microseconds())/1000)
		if err := errors.Join(err, conn.Close()); err != nil {
			return 0, fmt.Errorf("call bank B's peer: %w", err)
		}
	}
	return median(took), nil
}

// call counts the calls of bank B's peer that are answered.
func (n *banks) call(ctx context.Context) (int64, error) {
	conn, err := n.dialBankB(ctx)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	if err := ping(ctx, conn); err != nil {
		return 0, fmt.Errorf("call bank B's peer: %w", err)
	}
	var count atomic.Int64
	var failed atomic.Value
	end := time.Now().Add(calling)
	var all sync.WaitGroup
	for range callers {
		all.Go(func() {
			for time.Now().Before(end) {
				if err := ping(ctx, conn); err != nil {
					failed.Store(err)
					return
				}
				count.Add(1)
			}
		})
	}
	all.Wait()
	if err, ok := failed.Load().(error); ok {
		return 0, fmt.Errorf("call bank B's peer: %w", err)
	}
	return count.Load(), nil
}

// orderer connects bank B, at its site, to an orderer at site A.
func (n *banks) orderer(ctx context.Context) (*grpc.ClientConn, *identity.Identity, error) {
	user, err := n.siteB.Admin(ctx, n.name, "bankb")
	if err != nil {
		return nil, nil, err
	}
	key, err := pki.ParseKey(user.Key)
	if err != nil {
		return nil, nil, errors.New("read the administrator of bank B")
	}
	id, err := identity.New(user.MSPID, user.Cert, key)
	if err != nil {
		return nil, nil, err
	}
	roots, err := n.siteB.TLSRoots(ctx, n.name, "ord")
	if err != nil {
		return nil, nil, err
	}
	conn, err := admin.Target{
		Address: "orderer0-ord." + n.name + ":7050", ServerName: "orderer0-ord." + n.name, Roots: roots,
		DialContext: func(ctx context.Context, _, address string) (net.Conn, error) { return n.siteB.Dial(ctx, address) },
	}.Connect()
	return conn, id, err
}

// writeBlocks has bank B order messages that no contract knows: peers mark them as such, and keep them. Each is a block.
func (n *banks) writeBlocks(ctx context.Context) error {
	conn, id, err := n.orderer(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	o := admin.NewOrderer(conn, id, time.Now)
	newest, err := o.Newest(ctx, channelName)
	if err != nil {
		return err
	}
	n.blocks[0] = newest.GetHeader().GetNumber() + 1
	for i := range uint64(largeBlocks) {
		filler := &cb.ConfigValue{Value: make([]byte, blockSize)}
		_, _ = rand.Read(filler.Value) // never fails
		message, err := id.Envelope(&cb.ChannelHeader{Type: int32(cb.HeaderType_MESSAGE), ChannelId: channelName, Timestamp: timestamppb.Now()}, filler)
		if err != nil {
			return err
		}
		if err := o.Broadcast(ctx, message); err != nil {
			return err
		}
		n.blocks[1] = n.blocks[0] + i
		err = retry(ctx, func(ctx context.Context) error {
			_, err := o.Block(ctx, channelName, n.blocks[1])
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// deliver reads the large blocks over one connection again and again, and returns MiB a second.
func (n *banks) deliver(ctx context.Context) (float64, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	conn, id, err := n.orderer(ctx)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	// The first time connects, and fills the machine's caches.
	if _, err := n.readBlocks(ctx, conn, id); err != nil {
		return 0, err
	}
	began, sum := time.Now(), 0
	for time.Since(began) < delivering {
		bytes, err := n.readBlocks(ctx, conn, id)
		if err != nil {
			return 0, err
		}
		sum += bytes
	}
	return float64(sum) / (1 << 20) / time.Since(began).Seconds(), nil
}

// readBlocks reads each of the large blocks once, and counts their bytes.
func (n *banks) readBlocks(ctx context.Context, conn *grpc.ClientConn, id *identity.Identity) (int, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // ends the stream
	at := func(number uint64) *ab.SeekPosition {
		return &ab.SeekPosition{Type: &ab.SeekPosition_Specified{Specified: &ab.SeekSpecified{Number: number}}}
	}
	header := &cb.ChannelHeader{Type: int32(cb.HeaderType_DELIVER_SEEK_INFO), ChannelId: channelName, Timestamp: timestamppb.Now()}
	envelope, err := id.Envelope(header, &ab.SeekInfo{Start: at(n.blocks[0]), Stop: at(n.blocks[1]), Behavior: ab.SeekInfo_FAIL_IF_NOT_READY})
	if err != nil {
		return 0, err
	}
	stream, err := ab.NewAtomicBroadcastClient(conn).Deliver(ctx)
	if err != nil {
		return 0, fmt.Errorf("read blocks: %w", err)
	}
	if err := stream.Send(envelope); err != nil {
		return 0, fmt.Errorf("read blocks: %w", err)
	}
	bytes := 0
	for range n.blocks[1] - n.blocks[0] + 1 {
		answer, err := stream.Recv()
		if err != nil {
			return 0, fmt.Errorf("read blocks: %w", err)
		}
		size := proto.Size(answer.GetBlock())
		if size < blockSize {
			return 0, fmt.Errorf("read blocks: one has %d bytes (%s)", size, answer.GetStatus())
		}
		bytes += size
	}
	return bytes, nil
}
