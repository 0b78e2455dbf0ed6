package runtime

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	pb "github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"google.golang.org/protobuf/proto"

	"heddle.dev/heddle/fabsim/internal/node"
)

// Ends of an execution, in Fabric's words: gateways look for the second.
var (
	errTimeout = errors.New("timeout expired while executing transaction")
	errStream  = errors.New("chaincode stream terminated")
)

// Stream is a connection to a contract, whoever made it.
type Stream interface {
	Send(message *pb.ChaincodeMessage) error
	Recv() (*pb.ChaincodeMessage, error)
}

// session is a contract that is connected.
type session struct {
	runtime *Runtime
	stream  Stream
	id      string
	done    chan struct{}

	sendMu sync.Mutex

	mu     sync.Mutex
	active map[string]chan *pb.ChaincodeMessage
}

// serve speaks with a contract until the stream ends. allowed, if it is set,
// is the only package that may be at the other end.
func (r *Runtime) serve(stream Stream, allowed string) error {
	first, err := stream.Recv()
	if err != nil {
		return fmt.Errorf("receive from chaincode support stream failed: %w", err)
	}
	s, err := r.register(stream, first, allowed)
	if err != nil {
		return err
	}
	defer r.deregister(s)
	for {
		message, err := stream.Recv()
		if err != nil {
			return fmt.Errorf("receive from chaincode support stream failed: %w", err)
		}
		if message.GetType() != pb.ChaincodeMessage_KEEPALIVE {
			s.deliver(message)
		}
	}
}

func (r *Runtime) register(stream Stream, first *pb.ChaincodeMessage, allowed string) (*session, error) {
	if first.GetType() != pb.ChaincodeMessage_REGISTER {
		return nil, fmt.Errorf("[%s] Fabric side handler cannot handle message (%s) while in created state", first.GetTxid(), first.GetType())
	}
	id := &pb.ChaincodeID{}
	if err := proto.Unmarshal(first.GetPayload(), id); err != nil {
		return nil, fmt.Errorf("read registration: %w", err)
	}
	if id.GetName() == "" {
		return nil, errors.New("error in handling register chaincode, chaincodeID name is empty")
	}
	if allowed != "" && allowed != id.GetName() {
		return nil, fmt.Errorf("chaincode %s with given certificate is not authorized to register as %s", allowed, id.GetName())
	}
	s := &session{runtime: r, stream: stream, id: id.GetName(), done: make(chan struct{}), active: map[string]chan *pb.ChaincodeMessage{}}
	if err := r.admit(s); err != nil {
		return nil, err
	}
	ready, err := proto.Marshal(&pb.ChaincodeAdditionalParams{
		UseWriteBatch: true, MaxSizeWriteBatch: r.o.MaxBatch, UseGetMultipleKeys: true, MaxSizeGetMultipleKeys: r.o.MaxBatch,
	})
	if err == nil {
		err = s.send(&pb.ChaincodeMessage{Type: pb.ChaincodeMessage_REGISTERED})
	}
	if err == nil {
		err = s.send(&pb.ChaincodeMessage{Type: pb.ChaincodeMessage_READY, Payload: ready})
	}
	if err != nil {
		r.deregister(s)
		return nil, err
	}
	r.ready(s)
	return s, nil
}

func (s *session) send(message *pb.ChaincodeMessage) error {
	s.sendMu.Lock()
	defer s.sendMu.Unlock()
	if err := s.stream.Send(message); err != nil {
		return fmt.Errorf("error sending %s: %w", message.GetType(), err)
	}
	return nil
}

func key(channel, txID string) string { return channel + "/" + txID }

// deliver hands a message to the call that it belongs to.
func (s *session) deliver(message *pb.ChaincodeMessage) {
	s.mu.Lock()
	defer s.mu.Unlock()
	box, ok := s.active[key(message.GetChannelId(), message.GetTxid())]
	if !ok {
		s.runtime.o.Log.Debugf("Contract %s sent %s for a transaction that has ended", s.id, message.GetType())
		return
	}
	select {
	case box <- message:
	default:
		s.runtime.o.Log.Errorf("Contract %s has another request pending, cannot take %s", s.id, message.GetType())
	}
}

// execute calls the contract and serves what it asks until it is done.
func (s *session) execute(ctx context.Context, call *Call, payload []byte) (*pb.ChaincodeMessage, error) {
	box := make(chan *pb.ChaincodeMessage, 8)
	name := key(call.Channel, call.TxID)
	s.mu.Lock()
	if _, taken := s.active[name]; taken {
		s.mu.Unlock()
		return nil, fmt.Errorf("txid: %s(%s) exists", call.TxID, call.Channel)
	}
	s.active[name] = box
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.active, name)
		s.mu.Unlock()
		call.close()
	}()
	kind := pb.ChaincodeMessage_TRANSACTION
	if call.Init {
		kind = pb.ChaincodeMessage_INIT
	}
	if err := s.send(&pb.ChaincodeMessage{
		Type: kind, Payload: payload, Txid: call.TxID, ChannelId: call.Channel, Proposal: call.Proposal,
	}); err != nil {
		return nil, err
	}
	return s.converse(ctx, call, box)
}

func (s *session) converse(ctx context.Context, call *Call, box <-chan *pb.ChaincodeMessage) (*pb.ChaincodeMessage, error) {
	timer := time.NewTimer(s.runtime.o.ExecuteTimeout)
	defer timer.Stop()
	for {
		select {
		case message := <-box:
			if message.GetType() == pb.ChaincodeMessage_COMPLETED || message.GetType() == pb.ChaincodeMessage_ERROR {
				return message, nil
			}
			if err := s.send(s.answer(ctx, call, message)); err != nil {
				return nil, err
			}
		case <-timer.C:
			return nil, errTimeout
		case <-s.done:
			return nil, errStream
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (s *session) answer(ctx context.Context, call *Call, message *pb.ChaincodeMessage) *pb.ChaincodeMessage {
	out := &pb.ChaincodeMessage{Type: pb.ChaincodeMessage_RESPONSE, Txid: message.GetTxid(), ChannelId: message.GetChannelId()}
	err := fmt.Errorf("[%s] Fabric side handler cannot handle message (%s) while in ready state", message.GetTxid(), message.GetType())
	if handle := handlerOf(message.GetType()); handle != nil {
		out.Payload, err = handle(ctx, s.runtime, call, message.GetPayload())
	}
	if err != nil {
		out.Type = pb.ChaincodeMessage_ERROR
		out.Payload = []byte(fmt.Sprintf("%s failed: transaction ID: %s: %s", message.GetType(), message.GetTxid(), err))
	}
	return out
}

// Register serves a contract that dialled the peer. Its certificate says which
// package it is.
func (r *Runtime) Register(stream pb.ChaincodeSupport_RegisterServer) error {
	allowed, err := r.identities.allowed(node.ClientCertificate(stream.Context()))
	if err != nil {
		return err
	}
	return r.serve(stream, allowed)
}
