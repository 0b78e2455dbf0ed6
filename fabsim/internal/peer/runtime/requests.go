package runtime

import (
	"context"
	"errors"
	"fmt"

	pb "github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"google.golang.org/protobuf/proto"
)

var errInit = errors.New("private data APIs are not allowed in chaincode Init()")

// handler answers one kind of request; the payload of the answer may be nil.
type handler func(ctx context.Context, r *Runtime, call *Call, raw []byte) ([]byte, error)

func decoded[T any, M interface {
	*T
	proto.Message
}](f func(context.Context, *Runtime, *Call, M) ([]byte, error)) handler {
	return func(ctx context.Context, r *Runtime, call *Call, raw []byte) ([]byte, error) {
		in := M(new(T))
		if err := proto.Unmarshal(raw, in); err != nil {
			return nil, fmt.Errorf("unmarshal failed: %w", err)
		}
		return f(ctx, r, call, in)
	}
}

func handlerOf(kind pb.ChaincodeMessage_Type) handler {
	switch kind {
	case pb.ChaincodeMessage_GET_STATE:
		return decoded(getState)
	case pb.ChaincodeMessage_GET_STATE_MULTIPLE:
		return decoded(getMultiple)
	case pb.ChaincodeMessage_PUT_STATE:
		return decoded(putState)
	case pb.ChaincodeMessage_DEL_STATE:
		return decoded(delState)
	case pb.ChaincodeMessage_PURGE_PRIVATE_DATA:
		return decoded(purge)
	case pb.ChaincodeMessage_GET_PRIVATE_DATA_HASH:
		return decoded(getHash)
	case pb.ChaincodeMessage_GET_STATE_METADATA:
		return decoded(getMetadata)
	case pb.ChaincodeMessage_PUT_STATE_METADATA:
		return decoded(putMetadata)
	case pb.ChaincodeMessage_WRITE_BATCH_STATE:
		return decoded(writeBatch)
	case pb.ChaincodeMessage_GET_STATE_BY_RANGE:
		return decoded(getRange)
	case pb.ChaincodeMessage_GET_QUERY_RESULT:
		return decoded(getQuery)
	case pb.ChaincodeMessage_GET_HISTORY_FOR_KEY:
		return decoded(getHistory)
	case pb.ChaincodeMessage_QUERY_STATE_NEXT:
		return decoded(queryNext)
	case pb.ChaincodeMessage_QUERY_STATE_CLOSE:
		return decoded(queryClose)
	case pb.ChaincodeMessage_INVOKE_CHAINCODE:
		return decoded(invoke)
	default:
		return nil
	}
}

func getState(ctx context.Context, r *Runtime, call *Call, in *pb.GetState) ([]byte, error) {
	if in.GetCollection() == "" {
		return call.Simulator.GetState(ctx, call.Namespace, in.GetKey())
	}
	if err := call.mayRead(ctx, r.o.Host, in.GetCollection()); err != nil {
		return nil, err
	}
	return call.Simulator.GetPrivate(ctx, call.Namespace, in.GetCollection(), in.GetKey())
}

func getMultiple(ctx context.Context, r *Runtime, call *Call, in *pb.GetStateMultiple) ([]byte, error) {
	out := &pb.GetStateMultipleResult{}
	for _, key := range in.GetKeys() {
		value, err := getState(ctx, r, call, &pb.GetState{Key: key, Collection: in.GetCollection()})
		if err != nil {
			return nil, err
		}
		out.Values = append(out.Values, value)
	}
	return proto.Marshal(out)
}

func putState(ctx context.Context, r *Runtime, call *Call, in *pb.PutState) ([]byte, error) {
	if in.GetCollection() == "" {
		return nil, call.Simulator.SetState(ctx, call.Namespace, in.GetKey(), in.GetValue())
	}
	if err := call.mayWrite(ctx, r.o.Host, in.GetCollection()); err != nil {
		return nil, err
	}
	return nil, call.Simulator.SetPrivate(ctx, call.Namespace, in.GetCollection(), in.GetKey(), in.GetValue())
}

func delState(ctx context.Context, r *Runtime, call *Call, in *pb.DelState) ([]byte, error) {
	return putState(ctx, r, call, &pb.PutState{Key: in.GetKey(), Collection: in.GetCollection()})
}

func purge(ctx context.Context, r *Runtime, call *Call, in *pb.DelState) ([]byte, error) {
	_, can, err := r.o.Host.Capability(call.Channel)
	if err != nil {
		return nil, err
	}
	if !can {
		return nil, errors.New("purge private data is not enabled, channel application capability of V2_5 or later is required")
	}
	if in.GetCollection() == "" {
		return nil, errors.New("only applicable for private data")
	}
	if err := call.mayWrite(ctx, r.o.Host, in.GetCollection()); err != nil {
		return nil, err
	}
	return nil, call.Simulator.Purge(ctx, call.Namespace, in.GetCollection(), in.GetKey())
}

func getHash(ctx context.Context, _ *Runtime, call *Call, in *pb.GetState) ([]byte, error) {
	if call.Init {
		return nil, errInit
	}
	return call.Simulator.GetPrivateHash(ctx, call.Namespace, in.GetCollection(), in.GetKey())
}

func keyLevel(r *Runtime, call *Call) error {
	can, _, err := r.o.Host.Capability(call.Channel)
	if err == nil && !can {
		err = errors.New("key level endorsement is not enabled, channel application capability of V1_3 or later is required")
	}
	return err
}

func getMetadata(ctx context.Context, r *Runtime, call *Call, in *pb.GetStateMetadata) ([]byte, error) {
	if err := keyLevel(r, call); err != nil {
		return nil, err
	}
	var found map[string][]byte
	var err error
	if in.GetCollection() == "" {
		found, err = call.Simulator.GetMetadata(ctx, call.Namespace, in.GetKey())
	} else if err = call.mayRead(ctx, r.o.Host, in.GetCollection()); err == nil {
		found, err = call.Simulator.GetPrivateMetadata(ctx, call.Namespace, in.GetCollection(), in.GetKey())
	}
	if err != nil {
		return nil, err
	}
	out := &pb.StateMetadataResult{}
	for name, value := range found {
		out.Entries = append(out.Entries, &pb.StateMetadata{Metakey: name, Value: value})
	}
	return proto.Marshal(out)
}

func putMetadata(ctx context.Context, r *Runtime, call *Call, in *pb.PutStateMetadata) ([]byte, error) {
	if err := keyLevel(r, call); err != nil {
		return nil, err
	}
	metadata := map[string][]byte{in.GetMetadata().GetMetakey(): in.GetMetadata().GetValue()}
	if in.GetCollection() == "" {
		return nil, call.Simulator.SetMetadata(ctx, call.Namespace, in.GetKey(), metadata)
	}
	if err := call.mayWrite(ctx, r.o.Host, in.GetCollection()); err != nil {
		return nil, err
	}
	return nil, call.Simulator.SetPrivateMetadata(ctx, call.Namespace, in.GetCollection(), in.GetKey(), metadata)
}

func writeBatch(ctx context.Context, r *Runtime, call *Call, in *pb.WriteBatchState) ([]byte, error) {
	for _, record := range in.GetRec() {
		var err error
		switch record.GetType() {
		case pb.WriteRecord_PUT_STATE:
			_, err = putState(ctx, r, call, &pb.PutState{Key: record.GetKey(), Value: record.GetValue(), Collection: record.GetCollection()})
		case pb.WriteRecord_DEL_STATE:
			_, err = delState(ctx, r, call, &pb.DelState{Key: record.GetKey(), Collection: record.GetCollection()})
		case pb.WriteRecord_PURGE_PRIVATE_DATA:
			_, err = purge(ctx, r, call, &pb.DelState{Key: record.GetKey(), Collection: record.GetCollection()})
		case pb.WriteRecord_PUT_STATE_METADATA:
			_, err = putMetadata(ctx, r, call, &pb.PutStateMetadata{Key: record.GetKey(), Collection: record.GetCollection(), Metadata: record.GetMetadata()})
		default:
			err = errors.New("unknown operation type")
		}
		if err != nil {
			return nil, err
		}
	}
	return nil, nil
}

func invoke(ctx context.Context, r *Runtime, call *Call, in *pb.ChaincodeSpec) ([]byte, error) {
	out, err := r.o.Host.Invoke(ctx, call, in.GetChaincodeId().GetName(), in.GetInput())
	if err != nil {
		return nil, err
	}
	return proto.Marshal(out)
}
