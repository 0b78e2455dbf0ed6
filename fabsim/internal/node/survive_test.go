package node_test

import (
	"testing"

	ab "github.com/hyperledger/fabric-protos-go-apiv2/orderer"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"heddle.dev/heddle/fabsim/internal/node"
)

type panics struct {
	ab.UnimplementedAtomicBroadcastServer

	none []int
}

func (p panics) Broadcast(ab.AtomicBroadcast_BroadcastServer) error {
	p.none[0]++
	return nil
}

// TestPanic lets one call fail, not the node.
func TestPanic(t *testing.T) {
	server, err := node.NewServer(t.Context(), node.ServerOptions{Address: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	ab.RegisterAtomicBroadcastServer(server, panics{})
	during(t, server.Serve)
	conn, err := node.Dial(server.Addr(), node.DialOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for range 2 {
		stream, err := ab.NewAtomicBroadcastClient(conn).Broadcast(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := stream.Recv(); status.Code(err) != codes.Internal {
			t.Errorf("got %v", err)
		}
	}
}
