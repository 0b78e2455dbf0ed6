package validate

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	cb "github.com/hyperledger/fabric-protos-go-apiv2/common"
	mb "github.com/hyperledger/fabric-protos-go-apiv2/msp"
	pb "github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"github.com/hyperledger/fabric-x-common/common/cauthdsl"
	fpolicies "github.com/hyperledger/fabric-x-common/common/policies"
	"github.com/hyperledger/fabric-x-common/common/policydsl"
	"github.com/hyperledger/fabric-x-common/protoutil"
	"google.golang.org/protobuf/proto"

	"heddle.dev/heddle/fabsim/internal/channel"
	"heddle.dev/heddle/fabsim/internal/peer/ledger"
	"heddle.dev/heddle/fabsim/internal/peer/lifecycle"
	"heddle.dev/heddle/fabsim/internal/peer/rwset"
	"heddle.dev/heddle/fabsim/internal/peer/tx"
)

// Policy finds an endorsement policy: one of its own, or one of the channel's
// by name.
func Policy(config *channel.Config, raw []byte) (fpolicies.Policy, error) {
	application := &pb.ApplicationPolicy{}
	if err := proto.Unmarshal(raw, application); err != nil {
		return nil, fmt.Errorf("read endorsement policy: %w", err)
	}
	switch kind := application.GetType().(type) {
	case *pb.ApplicationPolicy_SignaturePolicy:
		return Signature(config, kind.SignaturePolicy)
	case *pb.ApplicationPolicy_ChannelConfigPolicyReference:
		policy, ok := config.PolicyManager().GetPolicy(kind.ChannelConfigPolicyReference)
		if !ok {
			return nil, fmt.Errorf("failed to retrieve policy for reference %s", kind.ChannelConfigPolicyReference)
		}
		return policy, nil
	default:
		return nil, errors.New("read endorsement policy: it is of an unknown kind")
	}
}

// Signature makes a policy of its description.
func Signature(config *channel.Config, envelope *cb.SignaturePolicyEnvelope) (fpolicies.Policy, error) {
	policy, err := (&cauthdsl.EnvelopeBasedPolicyProvider{Deserializer: config.MSPManager()}).NewPolicy(envelope)
	if err != nil {
		return nil, fmt.Errorf("make endorsement policy: %w", err)
	}
	return policy, nil
}

// ContractPolicy is the endorsement policy of a contract; nil if it is not
// defined.
func ContractPolicy(ctx context.Context, config *channel.Config, name string, from lifecycle.Readable) ([]byte, error) {
	if name == lifecycle.Namespace {
		return lifecyclePolicy(config)
	}
	d, err := lifecycle.Defined(ctx, name, from)
	if err != nil || d == nil {
		return nil, err
	}
	return d.Validation.GetValidationParameter(), nil
}

// lifecyclePolicy falls back on most organisations where the channel has none.
func lifecyclePolicy(config *channel.Config) ([]byte, error) {
	if _, ok := config.PolicyManager().GetPolicy(lifecycle.LifecyclePolicy); ok {
		return lifecycle.PolicyReference(lifecycle.LifecyclePolicy)
	}
	members := lifecycle.Members(config)
	return ofSignature(policydsl.SignedByNOutOfGivenRole(int32(len(members)/2+1), mb.MSPRole_MEMBER, members)) //nolint:gosec // it is small
}

func ofSignature(envelope *cb.SignaturePolicyEnvelope) ([]byte, error) {
	raw, err := proto.Marshal(&pb.ApplicationPolicy{Type: &pb.ApplicationPolicy_SignaturePolicy{SignaturePolicy: envelope}})
	if err != nil {
		return nil, fmt.Errorf("write endorsement policy: %w", err)
	}
	return raw, nil
}

var errNoOrg = errors.New("no org found in channel with that MSP ID")

// CollectionPolicy is the endorsement policy of a collection; nil if it has
// none of its own.
func CollectionPolicy(ctx context.Context, config *channel.Config, contract, collection string, from lifecycle.Readable) ([]byte, error) {
	mspID, implicit := lifecycle.ImplicitOrg(collection)
	if implicit {
		return implicitPolicy(config, mspID)
	}
	static, err := lifecycle.Collection(ctx, contract, collection, from)
	if err != nil {
		return nil, err
	}
	if static == nil {
		return nil, errNoCollection
	}
	if static.GetEndorsementPolicy() == nil {
		return nil, nil
	}
	raw, err := proto.Marshal(static.GetEndorsementPolicy())
	if err != nil {
		return nil, fmt.Errorf("write endorsement policy: %w", err)
	}
	return raw, nil
}

var errNoCollection = errors.New("no such collection")

func implicitPolicy(config *channel.Config, mspID string) ([]byte, error) {
	applications, ok := config.ApplicationConfig()
	if !ok {
		return nil, errNoOrg
	}
	for name, org := range applications.Organizations() {
		if org.MSPID() != mspID {
			continue
		}
		reference := "/Channel/Application/" + name + "/Endorsement"
		if _, ok := config.PolicyManager().GetPolicy(reference); ok {
			return lifecycle.PolicyReference(reference)
		}
		return ofSignature(policydsl.SignedByAnyMember([]string{mspID}))
	}
	return nil, errNoOrg
}

// policies judges the endorsements of one block's transactions, in order.
type policies struct {
	config *channel.Config
	ledger *ledger.Ledger
	cache  map[string]fpolicies.Policy
	// changed are keys whose own policy an earlier transaction of the block
	// changes: who writes them now was endorsed under the old one.
	changed map[[3]string]bool
}

func newPolicies(config *channel.Config, on *ledger.Ledger) *policies {
	return &policies{config: config, ledger: on, cache: map[string]fpolicies.Policy{}, changed: map[[3]string]bool{}}
}

func (p *policies) satisfied(raw []byte, by []*protoutil.SignedData) bool {
	policy, ok := p.cache[string(raw)]
	if !ok {
		var err error
		if policy, err = Policy(p.config, raw); err != nil {
			return false
		}
		p.cache[string(raw)] = policy
	}
	return policy.EvaluateSignedData(by) == nil
}

// endorsed judges one transaction: every namespace that it writes to, and the
// contract that was called.
func (p *policies) endorsed(ctx context.Context, t *tx.Transaction, action *tx.Action) (pb.TxValidationCode, []*rwset.Space, error) {
	spaces, called, code := written(t, action)
	if code != pb.TxValidationCode_VALID {
		return code, nil, nil
	}
	byName := map[string]*rwset.Space{called: {Name: called}}
	for _, space := range spaces {
		if space.Name == called || space.Writes() {
			byName[space.Name] = space
		}
	}
	signatures := signedData(action)
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		policy, err := ContractPolicy(ctx, p.config, name, lifecycle.Committed(p.ledger))
		if err != nil {
			return 0, nil, err
		}
		if len(policy) == 0 {
			return pb.TxValidationCode_INVALID_CHAINCODE, nil, nil
		}
		ok, err := p.spaceEndorsed(ctx, byName[name], policy, signatures)
		if err != nil {
			return 0, nil, err
		}
		if !ok {
			return pb.TxValidationCode_ENDORSEMENT_POLICY_FAILURE, nil, nil
		}
	}
	p.note(spaces)
	return pb.TxValidationCode_VALID, spaces, nil
}

// written reads what a transaction did and checks that its parts fit.
func written(t *tx.Transaction, action *tx.Action) ([]*rwset.Space, string, pb.TxValidationCode) {
	extension := &pb.ChaincodeHeaderExtension{}
	if err := proto.Unmarshal(t.Channel.GetExtension(), extension); err != nil {
		return nil, "", pb.TxValidationCode_BAD_HEADER_EXTENSION
	}
	spaces, err := rwset.Parse(action.GetResults())
	if err != nil {
		return nil, "", pb.TxValidationCode_BAD_RWSET
	}
	if extension.GetChaincodeId() == nil || action.GetChaincodeId() == nil {
		return nil, "", pb.TxValidationCode_INVALID_OTHER_REASON
	}
	called := extension.GetChaincodeId().GetName()
	if called == "" || called != action.GetChaincodeId().GetName() || action.GetChaincodeId().GetVersion() == "" {
		return nil, "", pb.TxValidationCode_INVALID_CHAINCODE
	}
	if event, err := action.Event(); err != nil || event != nil && event.GetChaincodeId() != called {
		return nil, "", pb.TxValidationCode_INVALID_OTHER_REASON
	}
	seen := map[string]bool{}
	for _, space := range spaces {
		if seen[space.Name] {
			return nil, "", pb.TxValidationCode_ILLEGAL_WRITESET
		}
		seen[space.Name] = true
	}
	return spaces, called, pb.TxValidationCode_VALID
}

func signedData(action *tx.Action) []*protoutil.SignedData {
	var out []*protoutil.SignedData
	for _, endorsement := range action.Endorsements {
		id, err := protoutil.UnmarshalIdentity(endorsement.GetEndorser())
		if err != nil {
			continue
		}
		out = append(out, &protoutil.SignedData{
			Data: slices.Concat(action.Response, endorsement.GetEndorser()), Identity: id, Signature: endorsement.GetSignature(),
		})
	}
	return out
}

// spaceEndorsed judges the writes to one namespace: keys with a policy of their
// own by it, others by that of their collection or else of the contract. At
// least one policy has to be looked at.
func (p *policies) spaceEndorsed(ctx context.Context, space *rwset.Space, contract []byte, by []*protoutil.SignedData) (bool, error) {
	j := &spaceJudge{policies: p, space: space.Name, contract: contract, by: by, checked: map[string]bool{}}
	for _, at := range targets(space) {
		if ok, err := j.key(ctx, at.coll, at.key); !ok || err != nil {
			return false, err
		}
	}
	return j.any || p.satisfied(contract, by), nil
}

type target struct{ coll, key string }

// targets are the keys that are written, in the order in which they are judged.
func targets(space *rwset.Space) []target {
	var out []target
	for _, write := range space.KV.GetWrites() {
		out = append(out, target{"", write.GetKey()})
	}
	for _, write := range space.KV.GetMetadataWrites() {
		out = append(out, target{"", write.GetKey()})
	}
	for _, coll := range space.Collections {
		for _, write := range coll.Hashed.GetHashedWrites() {
			out = append(out, target{coll.Name, string(write.GetKeyHash())})
		}
	}
	for _, coll := range space.Collections {
		for _, write := range coll.Hashed.GetMetadataWrites() {
			out = append(out, target{coll.Name, string(write.GetKeyHash())})
		}
	}
	return out
}

type spaceJudge struct {
	*policies

	space    string
	contract []byte
	by       []*protoutil.SignedData
	checked  map[string]bool
	any      bool
}

func (j *spaceJudge) key(ctx context.Context, coll, key string) (bool, error) {
	if j.changed[[3]string{j.space, coll, key}] {
		return false, nil
	}
	metadata, err := j.ledger.GetMetadata(ctx, j.space, coll, key)
	if err != nil {
		return false, err
	}
	if own := metadata[ledger.ValidationParameter]; len(own) > 0 {
		envelope := &cb.SignaturePolicyEnvelope{}
		if proto.Unmarshal(own, envelope) != nil {
			return false, nil //nolint:nilerr // nobody meets a policy that cannot be read
		}
		raw, err := ofSignature(envelope)
		if err != nil {
			return false, err
		}
		j.any = true
		return j.satisfied(raw, j.by), nil
	}
	return j.own(ctx, coll)
}

// own checks the policy of a collection or of the contract, once.
func (j *spaceJudge) own(ctx context.Context, coll string) (bool, error) {
	if coll != "" {
		if j.checked[coll] {
			return true, nil
		}
		policy, err := CollectionPolicy(ctx, j.config, j.space, coll, lifecycle.Committed(j.ledger))
		if errors.Is(err, errNoOrg) || errors.Is(err, errNoCollection) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		if len(policy) > 0 {
			j.any, j.checked[coll] = true, true
			return j.satisfied(policy, j.by), nil
		}
	}
	if j.checked[""] {
		return true, nil
	}
	j.any, j.checked[""] = true, true
	return j.satisfied(j.contract, j.by), nil
}

// note remembers which keys' policies a valid transaction changes.
func (p *policies) note(spaces []*rwset.Space) {
	for _, space := range spaces {
		for _, write := range space.KV.GetMetadataWrites() {
			p.changed[[3]string{space.Name, "", write.GetKey()}] = true
		}
		for _, coll := range space.Collections {
			for _, write := range coll.Hashed.GetMetadataWrites() {
				p.changed[[3]string{space.Name, coll.Name, string(write.GetKeyHash())}] = true
			}
		}
	}
}
