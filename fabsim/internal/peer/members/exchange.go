package members

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	cb "github.com/hyperledger/fabric-protos-go-apiv2/common"
	"github.com/hyperledger/fabric-x-common/protoutil"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// Messages of fabsim.Peers travel as JSON in envelopes that the sender signs:
//
//	Tell   statement -> statement
//	Push   private data -> nothing
//	Pull   what is wanted -> private data

type statement struct {
	Endpoint string          `json:"endpoint"`
	At       time.Time       `json:"at"`
	Channels map[string]View `json:"channels"`
	// Known are endpoints of other peers that tell.
	Known []string `json:"known"`
}

// Private is private data of one transaction: a marshalled TxPvtReadWriteSet.
type Private struct {
	Channel string `json:"channel"`
	TxID    string `json:"txId"`
	Height  uint64 `json:"height"`
	Set     []byte `json:"set"`
}

// Wanted is private data that a peer lacks.
type Wanted struct {
	Channel    string `json:"channel"`
	TxID       string `json:"txId"`
	Block      uint64 `json:"block"`
	Tx         uint64 `json:"tx"`
	Namespace  string `json:"namespace"`
	Collection string `json:"collection"`
}

const service = "fabsim.Peers"

// Register adds the service to a server.
func (r *Registry) Register(server grpc.ServiceRegistrar) {
	method := func(name string, serve func(context.Context, string, []byte) (any, error)) grpc.MethodDesc {
		return grpc.MethodDesc{MethodName: name, Handler: func(_ any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
			in := &cb.Envelope{}
			if err := decode(in); err != nil {
				return nil, err
			}
			creator, text, err := r.open(in)
			if err != nil {
				return nil, status.Error(codes.PermissionDenied, err.Error())
			}
			out, err := serve(ctx, creator, text)
			if err != nil {
				return nil, err
			}
			return r.seal(out)
		}}
	}
	server.RegisterService(&grpc.ServiceDesc{
		ServiceName: service, HandlerType: (*any)(nil), Metadata: "fabsim",
		Methods: []grpc.MethodDesc{method("Tell", r.hear), method("Push", r.pushed), method("Pull", r.pulled)},
	}, r)
}

// seal signs a message.
func (r *Registry) seal(message any) (*cb.Envelope, error) {
	text, err := json.Marshal(message)
	if err != nil {
		return nil, fmt.Errorf("write message: %w", err)
	}
	header, err := r.o.Identity.SignatureHeader()
	if err != nil {
		return nil, err
	}
	signer, err := proto.Marshal(header)
	if err != nil {
		return nil, fmt.Errorf("write message: %w", err)
	}
	payload, err := proto.Marshal(&cb.Payload{Header: &cb.Header{SignatureHeader: signer}, Data: text})
	if err != nil {
		return nil, fmt.Errorf("write message: %w", err)
	}
	signature, err := r.o.Identity.Sign(payload)
	if err != nil {
		return nil, err
	}
	return &cb.Envelope{Payload: payload, Signature: signature}, nil
}

// open checks a message and gives its creator, who is of a channel or of the
// own organisation.
func (r *Registry) open(in *cb.Envelope) (string, []byte, error) {
	payload, header := &cb.Payload{}, &cb.SignatureHeader{}
	if err := proto.Unmarshal(in.GetPayload(), payload); err != nil {
		return "", nil, fmt.Errorf("read message: %w", err)
	}
	if err := proto.Unmarshal(payload.GetHeader().GetSignatureHeader(), header); err != nil {
		return "", nil, fmt.Errorf("read message: %w", err)
	}
	id, err := protoutil.UnmarshalIdentity(header.GetCreator())
	if err != nil {
		return "", nil, fmt.Errorf("read sender: %w", err)
	}
	identity, err := r.o.Identity.MSP.DeserializeIdentity(id)
	for _, config := range r.o.Configs() {
		if err == nil {
			break
		}
		identity, err = config.MSPManager().DeserializeIdentity(id)
	}
	if err != nil {
		return "", nil, fmt.Errorf("find sender: %w", err)
	}
	if err := errors.Join(identity.Validate(), identity.Verify(in.GetPayload(), in.GetSignature())); err != nil {
		return "", nil, fmt.Errorf("check sender: %w", err)
	}
	return string(header.GetCreator()), payload.GetData(), nil
}

// call sends a message to a peer and reads the answer.
func (r *Registry) call(ctx context.Context, address, method string, message, answer any) (string, error) {
	conn, err := r.Conn(address)
	if err != nil {
		return "", err
	}
	in, err := r.seal(message)
	if err != nil {
		return "", err
	}
	out := &cb.Envelope{}
	if err := conn.Invoke(ctx, "/"+service+"/"+method, in, out); err != nil {
		return "", err //nolint:wrapcheck // its code is looked at
	}
	creator, text, err := r.open(out)
	if err != nil {
		return "", err
	}
	if err := json.Unmarshal(text, answer); err != nil {
		return "", fmt.Errorf("read answer: %w", err)
	}
	return creator, nil
}

func (r *Registry) statement(ctx context.Context) *statement {
	out := &statement{Endpoint: r.o.Endpoint, At: time.Now(), Channels: r.o.Views(ctx)}
	r.mu.Lock()
	defer r.mu.Unlock()
	for address, m := range r.known {
		if m.Identity != nil && time.Since(m.seen) <= forgotten {
			out.Known = append(out.Known, address)
		}
	}
	return out
}

func (r *Registry) tell(ctx context.Context, address string) {
	answer := &statement{}
	creator, err := r.call(ctx, address, "Tell", r.statement(ctx), answer)
	if status.Code(err) == codes.Unimplemented {
		// A real peer is there: it says nothing, but it lives.
		r.mu.Lock()
		r.known[address] = &Member{Endpoint: address, seen: time.Now()}
		r.mu.Unlock()
		return
	}
	if err != nil {
		r.o.Log.Debugf("Cannot tell %s: %s", address, err)
		return
	}
	r.learn(creator, answer)
}

func (r *Registry) learn(creator string, s *statement) {
	id, err := protoutil.UnmarshalIdentity([]byte(creator))
	if err != nil || s.Endpoint == "" || s.Endpoint == r.o.Endpoint {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.known[s.Endpoint] = &Member{MSPID: id.GetMspId(), Endpoint: s.Endpoint, Identity: []byte(creator), Channels: s.Channels, seen: time.Now()}
	for _, address := range s.Known {
		if r.known[address] == nil && address != r.o.Endpoint && len(r.known) < maxKnown {
			r.known[address] = &Member{Endpoint: address}
		}
	}
}

// maxKnown bounds what others can make a peer remember.
const maxKnown = 1000

func (r *Registry) hear(ctx context.Context, creator string, text []byte) (any, error) {
	s := &statement{}
	if err := json.Unmarshal(text, s); err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	r.learn(creator, s)
	return r.statement(ctx), nil
}

func (r *Registry) pushed(ctx context.Context, _ string, text []byte) (any, error) {
	p := &Private{}
	if err := json.Unmarshal(text, p); err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	if err := r.o.Store(ctx, p); err != nil {
		return nil, status.Error(codes.FailedPrecondition, err.Error())
	}
	return struct{}{}, nil
}

func (r *Registry) pulled(ctx context.Context, creator string, text []byte) (any, error) {
	w := &Wanted{}
	if err := json.Unmarshal(text, w); err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	out, err := r.o.Fetch(ctx, w, creator)
	if err != nil {
		return nil, status.Error(codes.NotFound, err.Error())
	}
	return out, nil
}

// Push brings private data to a peer.
func (r *Registry) Push(ctx context.Context, to *Member, p *Private) error {
	_, err := r.call(ctx, to.Endpoint, "Push", p, &struct{}{})
	return err
}

// Pull asks a peer for private data.
func (r *Registry) Pull(ctx context.Context, from *Member, w *Wanted) (*Private, error) {
	out := &Private{}
	_, err := r.call(ctx, from.Endpoint, "Pull", w, out)
	return out, err
}
