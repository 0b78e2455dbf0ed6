package endorser

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	pb "github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"github.com/hyperledger/fabric-x-common/protoutil"
	"google.golang.org/protobuf/proto"

	"heddle.dev/heddle/fabsim/internal/channel"
	"heddle.dev/heddle/fabsim/internal/peer/ledger"
	"heddle.dev/heddle/fabsim/internal/peer/lifecycle"
	"heddle.dev/heddle/fabsim/internal/peer/runtime"
	"heddle.dev/heddle/fabsim/internal/peer/validate"
)

// initializedKey is written, with the version, when a contract that asks for
// it has been initialised.
const initializedKey = "\x00" + string(utf8.MaxRune) + "initialized"

// contractInfo is what is needed to call a contract.
type contractInfo struct {
	version, packageID string
	enforceInit        bool
}

// find finds a contract on the channel. That it looks at the sequence of the
// definition is part of every simulation.
func (e *Endorser) find(ctx context.Context, x *execution, name string) (*contractInfo, error) {
	if ledger.IsSystem(name) {
		return &contractInfo{version: "syscc"}, nil
	}
	if x.simulator == nil {
		return nil, fmt.Errorf("could not get channel config for channel '%s'", x.channel)
	}
	sequence, err := lifecycle.Sequence(ctx, name, lifecycle.Public(x.simulator))
	if err != nil {
		return nil, fmt.Errorf("could not get current sequence for chaincode '%s' on channel '%s': %w", name, x.channel, err)
	}
	if sequence == 0 {
		if err := lifecycle.Legacy(ctx, x.simulator, name); err != nil {
			return nil, err
		}
		return nil, fmt.Errorf("chaincode %s not found", name)
	}
	local, err := e.o.Lifecycle.Local(ctx, x.simulator.Ledger(), name)
	if err != nil {
		return nil, fmt.Errorf("could not get approved chaincode info from cache: %w", err)
	}
	switch {
	case local == nil || local.Definition.Sequence != sequence:
		return nil, fmt.Errorf("chaincode cache at another sequence but current sequence is %d, chaincode definition for '%s' changed during invoke", sequence, name)
	case !local.Approved:
		return nil, fmt.Errorf("chaincode definition for '%s' at sequence %d on channel '%s' has not yet been approved by this org", name, sequence, x.channel)
	case local.PackageID == "":
		return nil, fmt.Errorf("chaincode definition for '%s' exists, but chaincode is not installed", name)
	}
	return &contractInfo{
		version: local.Definition.Endorsement.GetVersion(), packageID: local.PackageID, enforceInit: local.Definition.Endorsement.GetInitRequired(),
	}, nil
}

// execute calls a contract and reads its answer.
func (e *Endorser) execute(ctx context.Context, x *execution, name string, input *pb.ChaincodeInput) (*pb.Response, *pb.ChaincodeEvent, error) {
	message, err := e.call(ctx, x, name, input)
	if err != nil {
		return nil, nil, fmt.Errorf("failed to execute transaction %s: %w", x.txID, err)
	}
	switch message.GetType() {
	case pb.ChaincodeMessage_COMPLETED:
	case pb.ChaincodeMessage_ERROR:
		return nil, nil, fmt.Errorf("transaction returned with failure: %s", message.GetPayload())
	default:
		return nil, nil, fmt.Errorf("unexpected response type %d for transaction %s", message.GetType(), x.txID)
	}
	response := &pb.Response{}
	if err := proto.Unmarshal(message.GetPayload(), response); err != nil {
		return nil, nil, fmt.Errorf("failed to unmarshal response for transaction %s: %w", x.txID, err)
	}
	if response.GetStatus() >= errorThreshold {
		return response, nil, nil
	}
	event := message.GetChaincodeEvent()
	if event != nil {
		event.ChaincodeId, event.TxId = name, x.txID
	}
	return response, event, nil
}

// call calls a contract, the peer's own or another.
func (e *Endorser) call(ctx context.Context, x *execution, name string, input *pb.ChaincodeInput) (*pb.ChaincodeMessage, error) {
	if name == "lscc" {
		return nil, errors.New("could not launch chaincode lscc.syscc: the lifecycle before 2.0 is not there")
	}
	if ledger.IsSystem(name) {
		raw, err := proto.Marshal(e.system(ctx, x, name, input.GetArgs()))
		if err != nil {
			return nil, fmt.Errorf("write response: %w", err)
		}
		return &pb.ChaincodeMessage{Type: pb.ChaincodeMessage_COMPLETED, Payload: raw, Txid: x.txID, ChannelId: x.channel}, nil
	}
	info, err := e.find(ctx, x, name)
	if err != nil {
		return nil, fmt.Errorf("invalid invocation: [channel %s] failed to get chaincode container info for %s: %w", x.channel, name, err)
	}
	first, err := initialises(ctx, x, name, input, info)
	if err != nil {
		return nil, fmt.Errorf("invalid invocation: %w", err)
	}
	return e.runtime.Execute(ctx, info.packageID, &runtime.Call{
		Channel: x.channel, TxID: x.txID, Namespace: name, Proposal: x.proposal.Signed, Simulator: x.simulator, Init: first,
	}, input)
}

// initialises tells whether this is the call that a contract wants first, and
// enforces that it comes first and once.
func initialises(ctx context.Context, x *execution, name string, input *pb.ChaincodeInput, info *contractInfo) (bool, error) {
	needed := false
	if info.enforceInit {
		value, err := x.simulator.GetState(ctx, name, initializedKey)
		if err != nil {
			return false, fmt.Errorf("could not get 'initialized' key: %w", err)
		}
		needed = !bytes.Equal(value, []byte(info.version))
	}
	switch {
	case input.GetIsInit() && !info.enforceInit:
		return false, fmt.Errorf("chaincode '%s' does not require initialization but called as init", name)
	case input.GetIsInit() && !needed:
		return false, fmt.Errorf("chaincode '%s' is already initialized but called as init", name)
	case input.GetIsInit():
		if err := x.simulator.SetState(ctx, name, initializedKey, []byte(info.version)); err != nil {
			return false, fmt.Errorf("could not set 'initialized' key: %w", err)
		}
		return true, nil
	case needed:
		return false, fmt.Errorf("chaincode '%s' has not been initialized for this version, must call as init first", name)
	}
	return false, nil
}

// Invoke lets a contract call another; it is of runtime.Host.
func (e *Endorser) Invoke(ctx context.Context, from *runtime.Call, target string, input *pb.ChaincodeInput) (*pb.ChaincodeMessage, error) {
	target, id, other := strings.Cut(target, "/")
	name, _, _ := strings.Cut(target, ":")
	if !other || id == "" {
		id = from.Channel
	}
	proposal, err := Open(from.Proposal)
	if err != nil {
		return nil, err
	}
	if !ledger.IsSystem(name) {
		by, err := proposal.SignedData()
		if err != nil {
			return nil, err
		}
		if err := e.o.Access.Check(ChaincodeToAnother, id, by); err != nil {
			return nil, err
		}
	}
	x := &execution{channel: id, txID: from.TxID, proposal: proposal, simulator: from.Simulator}
	if id != from.Channel {
		ch := e.o.Channel(id)
		if ch == nil {
			return nil, fmt.Errorf("failed to find ledger for channel: %s", id)
		}
		x.simulator = ch.Ledger().NewSimulator(from.TxID)
		defer x.simulator.Close()
	}
	out, err := e.call(ctx, x, name, input)
	if err != nil {
		return nil, fmt.Errorf("execute failed: %w", err)
	}
	return out, nil
}

// Capability is of runtime.Host.
func (e *Endorser) Capability(id string) (keyLevel, purge bool, err error) {
	ch := e.o.Channel(id)
	if ch == nil {
		return false, false, fmt.Errorf("application config does not exist for %s", id)
	}
	applications, ok := ch.Config().ApplicationConfig()
	if !ok {
		return false, false, fmt.Errorf("application config does not exist for %s", id)
	}
	return applications.Capabilities().KeyLevelEndorsement(), applications.Capabilities().PurgePvtData(), nil
}

// Permission is of runtime.Host. What it reads of the collection's definition
// is part of the simulation.
func (e *Endorser) Permission(ctx context.Context, call *runtime.Call, collection string) (runtime.Permission, error) {
	config, err := lifecycle.Collection(ctx, call.Namespace, collection, lifecycle.Public(call.Simulator))
	if err != nil {
		return runtime.Permission{}, err
	}
	if config == nil {
		return runtime.Permission{}, fmt.Errorf("collection %s/%s/%s could not be found", call.Channel, call.Namespace, collection)
	}
	all := runtime.Permission{Read: true, Write: true}
	if !config.GetMemberOnlyRead() && !config.GetMemberOnlyWrite() {
		return all, nil
	}
	ch := e.o.Channel(call.Channel)
	if ch == nil {
		return runtime.Permission{}, errors.New("the channel is gone")
	}
	proposal, err := Open(call.Proposal)
	if err != nil {
		return runtime.Permission{}, err
	}
	by, err := proposal.SignedData()
	if err != nil {
		return runtime.Permission{}, err
	}
	if IsMember(ch.Config(), config, by) {
		return all, nil
	}
	return runtime.Permission{Read: !config.GetMemberOnlyRead(), Write: !config.GetMemberOnlyWrite()}, nil
}

// IsMember tells whether whoever signed belongs to a collection.
func IsMember(config *channel.Config, collection *pb.StaticCollectionConfig, by []*protoutil.SignedData) bool {
	policy, err := validate.Signature(config, collection.GetMemberOrgsPolicy().GetSignaturePolicy())
	return err == nil && policy.EvaluateSignedData(by) == nil
}
