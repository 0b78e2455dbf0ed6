package peer

import (
	"context"
	"errors"
	"fmt"
	"net"

	cb "github.com/hyperledger/fabric-protos-go-apiv2/common"
	dpb "github.com/hyperledger/fabric-protos-go-apiv2/discovery"
	gpb "github.com/hyperledger/fabric-protos-go-apiv2/gateway"
	frwset "github.com/hyperledger/fabric-protos-go-apiv2/ledger/rwset"
	pb "github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"github.com/hyperledger/fabric-x-common/protoutil"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"heddle.dev/heddle/fabsim/internal/channel"
	"heddle.dev/heddle/fabsim/internal/deliver"
	"heddle.dev/heddle/fabsim/internal/node"
	"heddle.dev/heddle/fabsim/internal/peer/discovery"
	"heddle.dev/heddle/fabsim/internal/peer/endorser"
	"heddle.dev/heddle/fabsim/internal/peer/gateway"
	"heddle.dev/heddle/fabsim/internal/peer/tx"
)

// servers listens: for clients, and for contracts.
func (p *Peer) servers(ctx context.Context) ([]func(context.Context) error, error) {
	server, err := node.NewServer(ctx, node.ServerOptions{
		Address: p.settings.listen, TLS: p.tls, MinInterval: p.settings.keepaliveMin, MaxRecv: p.settings.maxRecv, MaxSend: p.settings.maxSend,
	})
	if err != nil {
		return nil, err
	}
	pb.RegisterEndorserServer(server, p.endorser)
	pb.RegisterDeliverServer(server, &events{peer: p, deliver: deliver.New(deliver.Options{
		Channel: p.deliverChannel, TimeWindow: p.settings.timeWindow, MutualTLS: p.settings.tls.RequireClientCert, Metrics: p.ops.Metrics(),
	})})
	p.members.Register(server)
	if p.settings.gateway {
		gpb.RegisterGatewayServer(server, gateway.New(gateway.Options{
			Local: p.endorser, Members: p.members, Channel: p.lifecycleChannel, Access: p.access, MSPID: p.settings.mspID,
			EndorseTimeout: p.settings.endorseTimeout, BroadcastTimeout: p.settings.broadcastTimeout, TLS: p.settings.tls.Enabled,
			Log: node.NewLogger("gateway"),
		}))
	}
	if p.settings.discovery {
		dpb.RegisterDiscoveryServer(server, discovery.New(discovery.Options{
			Members: p.members, Channel: p.lifecycleChannel, MSP: p.identity.MSP, OrgMembers: p.settings.orgMembersMayDiscover,
			MutualTLS: p.settings.tls.RequireClientCert, Log: node.NewLogger("discovery"),
		}))
	}
	out := []func(context.Context) error{server.Serve}
	if p.settings.chaincodeListen == p.settings.listen {
		pb.RegisterChaincodeSupportServer(server, p.runtime)
		return out, nil
	}
	contracts, err := p.contractServer(ctx)
	return append(out, contracts), err
}

// contractServer is for contracts that dial the peer.
func (p *Peer) contractServer(ctx context.Context) (func(context.Context) error, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", p.settings.chaincodeListen)
	if err != nil {
		return nil, fmt.Errorf("listen for contracts: %w", err)
	}
	options := []grpc.ServerOption{grpc.MaxRecvMsgSize(node.MaxMessageSize), grpc.MaxSendMsgSize(node.MaxMessageSize)}
	if config := p.runtime.ServerTLS(); config != nil {
		options = append(options, grpc.Creds(credentials.NewTLS(config)))
	}
	server := grpc.NewServer(options...)
	pb.RegisterChaincodeSupportServer(server, p.runtime)
	return func(ctx context.Context) error {
		stop := context.AfterFunc(ctx, server.Stop)
		defer stop()
		if err := server.Serve(listener); err != nil && !errors.Is(err, grpc.ErrServerStopped) {
			return fmt.Errorf("serve contracts: %w", err)
		}
		return nil
	}, nil
}

func (p *Peer) deliverChannel(id string) deliver.Channel {
	if j := p.channels.get(id); j != nil {
		return j
	}
	return nil
}

// events is the Deliver service.
type events struct {
	pb.UnimplementedDeliverServer

	peer    *Peer
	deliver *deliver.Server
}

func (e *events) check(resource string) func(*cb.Envelope, string) error {
	return func(envelope *cb.Envelope, id string) error {
		signed, err := channel.SignedBy(envelope)
		if err != nil {
			return fmt.Errorf("read request: %w", err)
		}
		return e.peer.access.Check(resource, id, signed)
	}
}

// Deliver gives whole blocks.
func (e *events) Deliver(stream pb.Deliver_DeliverServer) error {
	return e.deliver.Handle(stream.Context(), stream, wholeBlocks{stream}, e.check(endorser.EventBlock))
}

// DeliverFiltered gives what became of transactions.
func (e *events) DeliverFiltered(stream pb.Deliver_DeliverFilteredServer) error {
	return e.deliver.Handle(stream.Context(), stream, filteredBlocks{wholeBlocks{stream}}, e.check(endorser.EventFiltered))
}

// DeliverWithPrivateData gives blocks and the private data that the client may
// see.
func (e *events) DeliverWithPrivateData(stream pb.Deliver_DeliverWithPrivateDataServer) error {
	find := func(j *joined, ns, name string) (*pb.StaticCollectionConfig, error) {
		return j.collection(stream.Context(), ns, name)
	}
	return e.deliver.Handle(stream.Context(), stream, privateBlocks{wholeBlocks{stream}, e.peer, find}, e.check(endorser.EventBlock))
}

type wholeBlocks struct {
	stream interface {
		Send(response *pb.DeliverResponse) error
	}
}

func (w wholeBlocks) SendStatusResponse(status cb.Status) error {
	return w.stream.Send(&pb.DeliverResponse{Type: &pb.DeliverResponse_Status{Status: status}})
}

func (w wholeBlocks) SendBlockResponse(block *cb.Block, _ string, _ deliver.Chain, _ *deliver.SignedData) error {
	return w.stream.Send(&pb.DeliverResponse{Type: &pb.DeliverResponse_Block{Block: block}})
}

func (wholeBlocks) DataType() string { return "block" }

type filteredBlocks struct{ wholeBlocks }

func (f filteredBlocks) SendBlockResponse(block *cb.Block, _ string, _ deliver.Chain, _ *deliver.SignedData) error {
	filtered := filter(block)
	return f.stream.Send(&pb.DeliverResponse{Type: &pb.DeliverResponse_FilteredBlock{FilteredBlock: filtered}})
}

func (filteredBlocks) IsFiltered() bool { return true }

func (filteredBlocks) DataType() string { return "filtered_block" }

// filter leaves of a block what became of its transactions and their events,
// without payloads.
func filter(block *cb.Block) *pb.FilteredBlock {
	out := &pb.FilteredBlock{Number: block.GetHeader().GetNumber()}
	for i, raw := range block.GetData().GetData() {
		t, err := tx.Parse(raw)
		if err != nil {
			continue
		}
		out.ChannelId = t.Channel.GetChannelId()
		one := &pb.FilteredTransaction{Txid: t.Channel.GetTxId(), Type: t.Type, TxValidationCode: tx.Code(block, i)}
		if t.Type == cb.HeaderType_ENDORSER_TRANSACTION {
			actions := &pb.FilteredTransactionActions{}
			if action, err := t.Action(); err == nil {
				if event, err := action.Event(); err == nil && event != nil {
					event.Payload = nil
					actions.ChaincodeActions = append(actions.ChaincodeActions, &pb.FilteredChaincodeAction{ChaincodeEvent: event})
				}
			}
			one.Data = &pb.FilteredTransaction_TransactionActions{TransactionActions: actions}
		}
		out.FilteredTransactions = append(out.FilteredTransactions, one)
	}
	return out
}

type privateBlocks struct {
	wholeBlocks

	peer *Peer
	// collection finds a collection in the time of the stream.
	collection func(j *joined, ns, name string) (*pb.StaticCollectionConfig, error)
}

func (b privateBlocks) SendBlockResponse(block *cb.Block, id string, _ deliver.Chain, signed *deliver.SignedData) error {
	j := b.peer.channels.get(id)
	if j == nil {
		return b.SendStatusResponse(cb.Status_NOT_FOUND)
	}
	sets, err := j.ledger.Private(block.GetHeader().GetNumber())
	if err != nil {
		return err
	}
	out := &pb.BlockAndPrivateData{Block: block, PrivateDataMap: map[uint64]*frwset.TxPvtReadWriteSet{}}
	for index, set := range sets {
		seen, err := b.visible(j, set, signed)
		if err != nil {
			return err
		}
		if len(seen.GetNsPvtRwset()) > 0 {
			out.PrivateDataMap[index] = seen
		}
	}
	return b.stream.Send(&pb.DeliverResponse{Type: &pb.DeliverResponse_BlockAndPrivateData{BlockAndPrivateData: out}})
}

func (privateBlocks) DataType() string { return "block_and_pvtdata" }

// visible leaves of a set the collections that the client is a member of.
func (b privateBlocks) visible(j *joined, set *frwset.TxPvtReadWriteSet, signed *deliver.SignedData) (*frwset.TxPvtReadWriteSet, error) {
	out := &frwset.TxPvtReadWriteSet{DataModel: set.GetDataModel()}
	for _, ns := range set.GetNsPvtRwset() {
		kept := &frwset.NsPvtReadWriteSet{Namespace: ns.GetNamespace()}
		for _, coll := range ns.GetCollectionPvtRwset() {
			collection, err := b.collection(j, ns.GetNamespace(), coll.GetCollectionName())
			if err != nil {
				return nil, err
			}
			if collection != nil && endorser.IsMember(j.Config(), collection, []*protoutil.SignedData{signed}) {
				kept.CollectionPvtRwset = append(kept.CollectionPvtRwset, coll)
			}
		}
		if len(kept.GetCollectionPvtRwset()) > 0 {
			out.NsPvtRwset = append(out.NsPvtRwset, kept)
		}
	}
	return out, nil
}
