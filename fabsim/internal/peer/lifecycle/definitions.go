package lifecycle

import (
	"context"
	"fmt"
	"slices"
	"strings"

	pb "github.com/hyperledger/fabric-protos-go-apiv2/peer"
	lb "github.com/hyperledger/fabric-protos-go-apiv2/peer/lifecycle"
	"google.golang.org/protobuf/proto"

	"heddle.dev/heddle/fabsim/internal/channel"
	"heddle.dev/heddle/fabsim/internal/peer/ledger"
)

// simulated is a namespace of records within a simulation: public ones or, of
// an organisation, private ones.
type simulated struct {
	*ledger.Simulator

	org string
}

func (s simulated) Get(ctx context.Context, key string) ([]byte, error) {
	if s.org == "" {
		return s.GetState(ctx, Namespace, key)
	}
	return s.GetPrivate(ctx, Namespace, ImplicitName(s.org), key)
}

func (s simulated) Put(ctx context.Context, key string, value []byte) error {
	if s.org == "" {
		return s.SetState(ctx, Namespace, key, value)
	}
	return s.SetPrivate(ctx, Namespace, ImplicitName(s.org), key, value)
}

func (s simulated) MSPID() string { return s.org }

func (s simulated) GetHash(ctx context.Context, key string) ([]byte, error) {
	return s.GetPrivateHash(ctx, Namespace, ImplicitName(s.org), key)
}

func (call *Call) public() simulated { return simulated{Simulator: call.Simulator} }

func (call *Call) orgs() []Opaque {
	var out []Opaque
	for _, mspID := range Members(call.Config) {
		out = append(out, simulated{call.Simulator, mspID})
	}
	return out
}

// Legacy looks for a contract where the lifecycle before 2.0 kept it. It is
// never there, but that it was looked for is part of what a simulation read.
func Legacy(ctx context.Context, from ledger.Getter, name string) error {
	_, err := from.GetState(ctx, "lscc", name)
	return err
}

func (call *Call) hasPolicy(name string) bool { return hasPolicy(call.Config, name) }

func hasPolicy(config *channel.Config, name string) bool {
	_, ok := config.PolicyManager().GetPolicy(name)
	return ok
}

func (call *Call) onChannel() error {
	if call.Config == nil {
		return fmt.Errorf("no application config for channel '%s'", call.Channel)
	}
	return nil
}

// input is what definitions have in common in requests.
type input interface {
	GetName() string
	GetSequence() int64
	GetVersion() string
	GetEndorsementPlugin() string
	GetValidationPlugin() string
	GetValidationParameter() []byte
	GetInitRequired() bool
	GetCollections() *pb.CollectionConfigPackage
}

func fromInput(in input) *Definition {
	return &Definition{
		Sequence: in.GetSequence(),
		Endorsement: &lb.ChaincodeEndorsementInfo{
			Version: in.GetVersion(), EndorsementPlugin: in.GetEndorsementPlugin(), InitRequired: in.GetInitRequired(),
		},
		Validation:  &lb.ChaincodeValidationInfo{ValidationPlugin: in.GetValidationPlugin(), ValidationParameter: in.GetValidationParameter()},
		Collections: in.GetCollections(),
	}
}

func (c *Contract) approve(ctx context.Context, call *Call, in *lb.ApproveChaincodeDefinitionForMyOrgArgs) (proto.Message, error) {
	if err := call.checkInput(ctx, in); err != nil {
		return nil, fmt.Errorf("error validating chaincode definition: %w", err)
	}
	d := fromInput(in)
	d.Collections = &pb.CollectionConfigPackage{Config: in.GetCollections().GetConfig()}
	packageID := in.GetSource().GetLocalPackage().GetPackageId()
	if err := approve(ctx, call.Channel, in.GetName(), d, packageID, call.hasPolicy, call.public(), simulated{call.Simulator, c.o.MSPID}); err != nil {
		return nil, err
	}
	return &lb.ApproveChaincodeDefinitionForMyOrgResult{}, nil
}

func (c *Contract) queryApproved(ctx context.Context, call *Call, in *lb.QueryApprovedChaincodeDefinitionArgs) (proto.Message, error) {
	if err := call.onChannel(); err != nil {
		return nil, err
	}
	out, err := approvedDefinition(ctx, call.Channel, in.GetName(), in.GetSequence(), call.public(), simulated{call.Simulator, c.o.MSPID})
	if err != nil {
		return nil, err
	}
	return out, nil
}

func (c *Contract) queryAllApproved(ctx context.Context, call *Call, _ *lb.QueryApprovedChaincodeDefinitionsArgs) (proto.Message, error) {
	if err := call.onChannel(); err != nil {
		return nil, err
	}
	prefix := metadataKey(namespaces, "")
	rows, err := call.Simulator.PrivateRange(ctx, Namespace, ImplicitName(c.o.MSPID), prefix, prefix+"\x7f")
	if err != nil {
		return nil, fmt.Errorf("could not fetch metadatas: %w", err)
	}
	names, err := keysOf(ctx, rows)
	if err != nil {
		return nil, err
	}
	out := &lb.QueryApprovedChaincodeDefinitionsResult{}
	for _, key := range names {
		private := strings.TrimPrefix(key, prefix)
		name, sequence, err := splitPrivate(private)
		if err != nil {
			return nil, err
		}
		one, err := readApproved(ctx, private, sequence, simulated{call.Simulator, c.o.MSPID})
		if err != nil {
			return nil, err
		}
		out.ApprovedChaincodeDefinitions = append(out.ApprovedChaincodeDefinitions, &lb.QueryApprovedChaincodeDefinitionsResult_ApprovedChaincodeDefinition{
			Name: name, Sequence: sequence, Version: one.GetVersion(), EndorsementPlugin: one.GetEndorsementPlugin(),
			ValidationPlugin: one.GetValidationPlugin(), ValidationParameter: one.GetValidationParameter(),
			InitRequired: one.GetInitRequired(), Collections: one.GetCollections(), Source: one.GetSource(),
		})
	}
	return out, nil
}

func (c *Contract) checkReadiness(ctx context.Context, call *Call, in *lb.CheckCommitReadinessArgs) (proto.Message, error) {
	if err := call.onChannel(); err != nil {
		return nil, err
	}
	approvals, mismatches, err := readiness(ctx, call.Channel, in.GetName(), fromInput(in), call.hasPolicy, call.public(), call.orgs())
	if err != nil {
		return nil, err
	}
	return &lb.CheckCommitReadinessResult{Approvals: approvals, Mismatches: mismatches}, nil
}

func (c *Contract) commit(ctx context.Context, call *Call, in *lb.CommitChaincodeDefinitionArgs) (proto.Message, error) {
	if err := call.checkInput(ctx, in); err != nil {
		return nil, fmt.Errorf("error validating chaincode definition: %w", err)
	}
	if !slices.Contains(Members(call.Config), c.o.MSPID) {
		return nil, fmt.Errorf("impossibly, this peer's org is processing requests for a channel it is not a member of")
	}
	d := fromInput(in)
	approvals, _, err := readiness(ctx, call.Channel, in.GetName(), d, call.hasPolicy, call.public(), call.orgs())
	if err != nil {
		return nil, err
	}
	fields, err := d.all()
	if err != nil {
		return nil, err
	}
	if err := writeRecord(ctx, namespaces, in.GetName(), typeDefinition, fields, call.public()); err != nil {
		return nil, fmt.Errorf("could not serialize chaincode definition: %w", err)
	}
	if !approvals[c.o.MSPID] {
		return nil, fmt.Errorf("chaincode definition not agreed to by this org (%s)", c.o.MSPID)
	}
	return &lb.CommitChaincodeDefinitionResult{}, nil
}

// undefinedError says that a contract is not defined; it is answered with
// status 404.
type undefinedError struct{ name string }

func (e undefinedError) Error() string { return fmt.Sprintf("namespace %s is not defined", e.name) }

// definition finds a committed definition, or says that there is none.
func definition(ctx context.Context, name string, from Readable) (*Definition, error) {
	metadata, err := readMetadata(ctx, namespaces, name, from)
	if err != nil {
		return nil, fmt.Errorf("could not fetch metadata for namespace %s: %w", name, err)
	}
	if metadata == nil {
		return nil, undefinedError{name}
	}
	if metadata.GetDatatype() != typeDefinition {
		return nil, fmt.Errorf("could not deserialize namespace %s as chaincode: type name mismatch '%s' != '%s'", name, typeDefinition, metadata.GetDatatype())
	}
	return readDefinition(ctx, name, from)
}

func (c *Contract) queryDefinition(ctx context.Context, call *Call, in *lb.QueryChaincodeDefinitionArgs) (proto.Message, error) {
	if err := call.onChannel(); err != nil {
		return nil, err
	}
	d, err := definition(ctx, in.GetName(), call.public())
	if err != nil {
		return nil, err
	}
	approvals, _, err := approvals(ctx, in.GetName(), d, call.orgs())
	if err != nil {
		return nil, err
	}
	return &lb.QueryChaincodeDefinitionResult{
		Sequence: d.Sequence, Version: d.Endorsement.GetVersion(), EndorsementPlugin: d.Endorsement.GetEndorsementPlugin(),
		ValidationPlugin: d.Validation.GetValidationPlugin(), ValidationParameter: d.Validation.GetValidationParameter(),
		InitRequired: d.Endorsement.GetInitRequired(), Collections: d.Collections, Approvals: approvals,
	}, nil
}

func (c *Contract) queryDefinitions(ctx context.Context, call *Call, _ *lb.QueryChaincodeDefinitionsArgs) (proto.Message, error) {
	if err := call.onChannel(); err != nil {
		return nil, err
	}
	prefix := metadataKey(namespaces, "")
	rows, err := call.Simulator.Range(ctx, Namespace, prefix, prefix+"\x7f", 0, false)
	if err != nil {
		return nil, fmt.Errorf("could not query namespace metadata: %w", err)
	}
	keys, err := keysOf(ctx, rows)
	if err != nil {
		return nil, err
	}
	out := &lb.QueryChaincodeDefinitionsResult{}
	for _, key := range keys {
		name := strings.TrimPrefix(key, prefix)
		d, err := definition(ctx, name, call.public())
		if err != nil {
			return nil, err
		}
		out.ChaincodeDefinitions = append(out.ChaincodeDefinitions, &lb.QueryChaincodeDefinitionsResult_ChaincodeDefinition{
			Name: name, Sequence: d.Sequence, Version: d.Endorsement.GetVersion(), EndorsementPlugin: d.Endorsement.GetEndorsementPlugin(),
			ValidationPlugin: d.Validation.GetValidationPlugin(), ValidationParameter: d.Validation.GetValidationParameter(),
			InitRequired: d.Endorsement.GetInitRequired(), Collections: d.Collections,
		})
	}
	return out, nil
}

func keysOf(ctx context.Context, rows ledger.Rows) ([]string, error) {
	defer rows.Close()
	var out []string
	for {
		row, err := rows.Next(ctx)
		if err != nil || row == nil {
			return out, err
		}
		if kv, ok := row.(interface{ GetKey() string }); ok {
			out = append(out, kv.GetKey())
		}
	}
}

// definedNames are the contracts of a channel, in order.
func definedNames(ctx context.Context, on *ledger.Ledger) ([]string, error) {
	prefix := metadataKey(namespaces, "")
	found, err := on.Keys(ctx, Namespace, prefix)
	if err != nil {
		return nil, err
	}
	var out []string
	for key := range found {
		out = append(out, strings.TrimPrefix(key, prefix))
	}
	slices.Sort(out)
	return out, nil
}
