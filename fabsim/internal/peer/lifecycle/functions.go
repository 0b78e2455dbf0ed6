package lifecycle

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	pb "github.com/hyperledger/fabric-protos-go-apiv2/peer"
	lb "github.com/hyperledger/fabric-protos-go-apiv2/peer/lifecycle"
	"google.golang.org/protobuf/proto"
)

// Policies that definitions refer to.
const (
	DefaultPolicy   = "/Channel/Application/Endorsement"
	LifecyclePolicy = "/Channel/Application/LifecycleEndorsement"
)

// PolicyReference is a policy by the name that it has in the channel.
func PolicyReference(name string) ([]byte, error) {
	raw, err := proto.Marshal(&pb.ApplicationPolicy{Type: &pb.ApplicationPolicy_ChannelConfigPolicyReference{ChannelConfigPolicyReference: name}})
	if err != nil {
		return nil, fmt.Errorf("write policy reference: %w", err)
	}
	return raw, nil
}

// setDefaults fills what a definition leaves open.
func setDefaults(d *Definition, channel string, hasPolicy func(string) bool) error {
	if d.Endorsement.GetEndorsementPlugin() == "" {
		d.Endorsement.EndorsementPlugin = "escc"
	}
	if d.Validation.GetValidationPlugin() == "" {
		d.Validation.ValidationPlugin = "vscc"
	}
	if len(d.Validation.GetValidationParameter()) > 0 {
		return nil
	}
	if !hasPolicy(DefaultPolicy) {
		return fmt.Errorf("could not set defaults for chaincode definition in channel %[2]s: "+
			"policy '%[1]s' must be defined for channel '%[2]s' before chaincode operations can be attempted", DefaultPolicy, channel)
	}
	var err error
	d.Validation.ValidationParameter, err = PolicyReference(DefaultPolicy)
	return err
}

// readiness tells which organisations have approved the next definition of a
// contract, and what they see differently.
func readiness(
	ctx context.Context, channel, name string, d *Definition, hasPolicy func(string) bool, public Readable, orgs []Opaque,
) (map[string]bool, map[string]*lb.CheckCommitReadinessResult_Mismatches, error) {
	current, err := Sequence(ctx, name, public)
	if err != nil {
		return nil, nil, fmt.Errorf("could not get current sequence: %w", err)
	}
	if d.Sequence != current+1 {
		return nil, nil, fmt.Errorf("requested sequence is %d, but new definition must be sequence %d", d.Sequence, current+1)
	}
	if err := setDefaults(d, channel, hasPolicy); err != nil {
		return nil, nil, err
	}
	return approvals(ctx, name, d, orgs)
}

func approvals(ctx context.Context, name string, d *Definition, orgs []Opaque) (map[string]bool, map[string]*lb.CheckCommitReadinessResult_Mismatches, error) {
	out, mismatches := map[string]bool{}, map[string]*lb.CheckCommitReadinessResult_Mismatches{}
	for _, org := range orgs {
		ok, different, err := approved(ctx, name, d, org)
		if err != nil {
			return nil, nil, err
		}
		out[org.MSPID()] = ok
		if len(different) > 0 {
			mismatches[org.MSPID()] = &lb.CheckCommitReadinessResult_Mismatches{Items: different}
		}
	}
	return out, mismatches, nil
}

// approve writes an organisation's approval of the current or next definition.
func approve(
	ctx context.Context, channel, name string, d *Definition, packageID string, hasPolicy func(string) bool, public Readable, org Writable,
) error {
	current, err := Sequence(ctx, name, public)
	if err != nil {
		return fmt.Errorf("could not get current sequence: %w", err)
	}
	switch wanted := d.Sequence; {
	case current == wanted && wanted == 0:
		return fmt.Errorf("requested sequence is 0, but first definable sequence number is 1")
	case wanted < current:
		return fmt.Errorf("currently defined sequence %d is larger than requested sequence %d", current, wanted)
	case wanted > current+1:
		return fmt.Errorf("requested sequence %d is larger than the next available sequence number %d", wanted, current+1)
	}
	if err := setDefaults(d, channel, hasPolicy); err != nil {
		return err
	}
	if d.Sequence == current {
		if err := sameAsCommitted(ctx, name, d, public); err != nil {
			return err
		}
	}
	again, err := approvedBefore(ctx, name, d, packageID, org)
	if err != nil {
		return err
	}
	if again && d.Sequence == current {
		return fmt.Errorf("attempted to redefine the current committed sequence (%d) for namespace %s", current, name)
	}
	if again {
		return fmt.Errorf("attempted to redefine uncommitted sequence (%d) for namespace %s with unchanged content", d.Sequence, name)
	}
	fields, err := d.parameters()
	if err != nil {
		return err
	}
	if err := writeRecord(ctx, namespaces, privateName(name, d.Sequence), typeParameters, fields, org); err != nil {
		return fmt.Errorf("could not serialize chaincode parameters to state: %w", err)
	}
	source := []field{textField("PackageID", &packageID)}
	if err := writeRecord(ctx, sources, privateName(name, d.Sequence), typePackage, source, org); err != nil {
		return fmt.Errorf("could not serialize chaincode package info to state: %w", err)
	}
	return nil
}

func sameAsCommitted(ctx context.Context, name string, d *Definition, public Readable) error {
	metadata, err := readMetadata(ctx, namespaces, name, public)
	if err != nil {
		return fmt.Errorf("could not fetch metadata for current definition: %w", err)
	}
	if metadata == nil {
		return fmt.Errorf("missing metadata for currently committed sequence number (%d)", d.Sequence)
	}
	committed, err := readDefinition(ctx, name, public)
	if err != nil {
		return err
	}
	if err := committed.differs(d); err != nil {
		return fmt.Errorf("attempted to redefine the current committed sequence (%d) for namespace %s with different parameters: %w", d.Sequence, name, err)
	}
	return nil
}

// approvedBefore tells whether the organisation approved just this already.
func approvedBefore(ctx context.Context, name string, d *Definition, packageID string, org Readable) (bool, error) {
	private := privateName(name, d.Sequence)
	metadata, err := readMetadata(ctx, namespaces, private, org)
	if err != nil {
		return false, fmt.Errorf("could not fetch chaincode definition, chaincode %s, requested at sequence %d: %w", private, d.Sequence, err)
	}
	if metadata == nil {
		return false, nil
	}
	before, err := readParameters(ctx, private, org)
	if err != nil {
		return false, err
	}
	if !before.same(d) {
		return false, nil
	}
	id, found, err := readSource(ctx, private, org)
	return found && id == packageID, err
}

func readParameters(ctx context.Context, private string, org Readable) (*Definition, error) {
	d := newDefinition()
	fields, err := d.parameters()
	if err != nil {
		return nil, err
	}
	if err := readFields(ctx, namespaces, private, fields, org); err != nil {
		return nil, fmt.Errorf("could not deserialize chaincode parameters for %s: %w", private, err)
	}
	return d, nil
}

func readSource(ctx context.Context, private string, org Readable) (string, bool, error) {
	metadata, err := readMetadata(ctx, sources, private, org)
	if err != nil {
		return "", false, fmt.Errorf("could not deserialize chaincode-source metadata for %s: %w", private, err)
	}
	if metadata == nil {
		return "", false, nil
	}
	var id string
	if err := readFields(ctx, sources, private, []field{textField("PackageID", &id)}, org); err != nil {
		return "", false, fmt.Errorf("could not deserialize chaincode package for %s: %w", private, err)
	}
	return id, true, nil
}

// approvedDefinition is what an organisation approved, at a sequence or, if
// that is 0, last.
func approvedDefinition(ctx context.Context, channel, name string, sequence int64, public, org Readable) (*lb.QueryApprovedChaincodeDefinitionResult, error) {
	if sequence == 0 {
		current, err := Sequence(ctx, name, public)
		if err != nil {
			return nil, fmt.Errorf("could not get current sequence: %w", err)
		}
		next, err := readMetadata(ctx, namespaces, privateName(name, current+1), org)
		if err != nil {
			return nil, fmt.Errorf("could not deserialize namespace metadata for next sequence %d: %w", current+1, err)
		}
		sequence = current
		if next != nil {
			sequence = current + 1
		}
	}
	private := privateName(name, sequence)
	metadata, err := readMetadata(ctx, namespaces, private, org)
	if err != nil {
		return nil, fmt.Errorf("could not deserialize namespace metadata for %s: %w", private, err)
	}
	if metadata == nil {
		return nil, fmt.Errorf("could not fetch approved chaincode definition (name: '%s', sequence: '%d') on channel '%s'", name, sequence, channel)
	}
	return readApproved(ctx, private, sequence, org)
}

func readApproved(ctx context.Context, private string, sequence int64, org Readable) (*lb.QueryApprovedChaincodeDefinitionResult, error) {
	d, err := readParameters(ctx, private, org)
	if err != nil {
		return nil, err
	}
	id, found, err := readSource(ctx, private, org)
	if err != nil {
		return nil, err
	}
	if !found {
		return nil, fmt.Errorf("could not fetch chaincode-source metadata for %s", private)
	}
	source := &lb.ChaincodeSource{Type: &lb.ChaincodeSource_Unavailable_{Unavailable: &lb.ChaincodeSource_Unavailable{}}}
	if id != "" {
		source.Type = &lb.ChaincodeSource_LocalPackage{LocalPackage: &lb.ChaincodeSource_Local{PackageId: id}}
	}
	return &lb.QueryApprovedChaincodeDefinitionResult{
		Sequence: sequence, Version: d.Endorsement.GetVersion(), EndorsementPlugin: d.Endorsement.GetEndorsementPlugin(),
		ValidationPlugin: d.Validation.GetValidationPlugin(), ValidationParameter: d.Validation.GetValidationParameter(),
		InitRequired: d.Endorsement.GetInitRequired(), Collections: d.Collections, Source: source,
	}, nil
}

// splitPrivate takes the name of a private record apart.
func splitPrivate(private string) (string, int64, error) {
	name, text, ok := strings.Cut(private, "#")
	if !ok || strings.Contains(text, "#") {
		return "", 0, fmt.Errorf("invalid private name format: %s", private)
	}
	sequence, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return "", 0, fmt.Errorf("invalid sequence number in private name: %s: %w", private, err)
	}
	return name, sequence, nil
}
