package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	cb "github.com/hyperledger/fabric-protos-go-apiv2/common"
	mb "github.com/hyperledger/fabric-protos-go-apiv2/msp"
	pb "github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"github.com/hyperledger/fabric-x-common/common/cauthdsl"
	"github.com/hyperledger/fabric-x-common/common/policydsl"
	"github.com/hyperledger/fabric-x-common/protoutil"
	"google.golang.org/protobuf/proto"

	"heddle.dev/heddle/fabsim/internal/channel"
)

const implicitPrefix = "_implicit_org_"

// ImplicitName is the collection that an organisation has in every contract.
func ImplicitName(mspID string) string { return implicitPrefix + mspID }

// ImplicitOrg is whose implicit collection it is.
func ImplicitOrg(collection string) (string, bool) {
	return strings.CutPrefix(collection, implicitPrefix)
}

// Implicit describes an organisation's implicit collection.
func Implicit(mspID string) *pb.StaticCollectionConfig {
	return &pb.StaticCollectionConfig{
		Name: ImplicitName(mspID),
		MemberOrgsPolicy: &pb.CollectionPolicyConfig{Payload: &pb.CollectionPolicyConfig_SignaturePolicy{
			SignaturePolicy: policydsl.SignedByMspMember(mspID),
		}},
	}
}

// Members are the organisations of a channel, in order of their MSP IDs.
func Members(config *channel.Config) []string {
	applications, ok := config.ApplicationConfig()
	if !ok {
		return nil
	}
	var out []string
	for _, org := range applications.Organizations() {
		out = append(out, org.MSPID())
	}
	slices.Sort(out)
	return out
}

// Collections are all of a contract, the implicit ones last; nil if there is
// no such contract.
func Collections(ctx context.Context, config *channel.Config, name string, from Readable) (*pb.CollectionConfigPackage, error) {
	d, err := Defined(ctx, name, from)
	if err != nil || d == nil {
		return nil, err
	}
	out := &pb.CollectionConfigPackage{Config: slices.Clone(d.Collections.GetConfig())}
	for _, mspID := range Members(config) {
		out.Config = append(out.Config, &pb.CollectionConfig{Payload: &pb.CollectionConfig_StaticCollectionConfig{StaticCollectionConfig: Implicit(mspID)}})
	}
	return out, nil
}

// Collection is one of a contract; nil if there is none.
func Collection(ctx context.Context, name, collection string, from Readable) (*pb.StaticCollectionConfig, error) {
	d, err := Defined(ctx, name, from)
	if err != nil || d == nil {
		return nil, err
	}
	if mspID, ok := ImplicitOrg(collection); ok {
		return Implicit(mspID), nil
	}
	for _, one := range d.Collections.GetConfig() {
		if static := one.GetStaticCollectionConfig(); static.GetName() == collection {
			return static, nil
		}
	}
	return nil, nil //nolint:nilnil // a collection that there is not is nothing wrong
}

// checkInput checks names and collections of a definition. Of a contract that
// is not defined it looks at where the lifecycle before 2.0 had it, which real
// peers note as a read.
func (call *Call) checkInput(ctx context.Context, in input) error {
	name, version := in.GetName(), in.GetVersion()
	if !regexp.MustCompile("^[a-zA-Z0-9]+([-_][a-zA-Z0-9]+)*$").MatchString(name) {
		return fmt.Errorf("invalid chaincode name '%s'. Names can only consist of alphanumerics, '_', and '-' and can only begin with alphanumerics", name)
	}
	if slices.Contains([]string{"cscc", "escc", "lscc", "qscc", "vscc"}, name) {
		return fmt.Errorf("chaincode name '%s' is the name of a system chaincode", name)
	}
	if !regexp.MustCompile("^[A-Za-z0-9_.+-]+$").MatchString(version) {
		return fmt.Errorf("invalid chaincode version '%s'. Versions can only consist of alphanumerics, '_', '-', '+', and '.'", version)
	}
	proposed, err := static(in.GetCollections())
	if err != nil {
		return err
	}
	if call.Config == nil {
		return fmt.Errorf("could not get channelconfig for channel '%s'", call.Channel)
	}
	if err := checkCollections(call.Config, proposed); err != nil {
		return err
	}
	committed, err := Defined(ctx, name, call.public())
	if err != nil {
		return fmt.Errorf("could not retrieve committed definition for chaincode '%s': %w", name, err)
	}
	if committed == nil {
		return Legacy(ctx, call.Simulator, name)
	}
	return checkChange(proposed, committed.Collections)
}

func static(collections *pb.CollectionConfigPackage) ([]*pb.StaticCollectionConfig, error) {
	var out []*pb.StaticCollectionConfig
	for _, one := range collections.GetConfig() {
		if one.GetPayload() == nil {
			return nil, fmt.Errorf("collection config contains unexpected payload type: %T", one.GetPayload())
		}
		if one.GetStaticCollectionConfig() == nil {
			return nil, errors.New("collection configuration is empty")
		}
		out = append(out, one.GetStaticCollectionConfig())
	}
	return out, nil
}

func checkCollections(config *channel.Config, collections []*pb.StaticCollectionConfig) error {
	seen := map[string]bool{}
	for _, c := range collections {
		name := c.GetName()
		if !regexp.MustCompile("^[A-Za-z0-9-]+([A-Za-z0-9_-]+)*$").MatchString(name) {
			return fmt.Errorf("invalid collection name '%s'. Names can only consist of alphanumerics, '_', and '-' and cannot begin with '_'", name)
		}
		if seen[name] {
			return fmt.Errorf("collection-name: %s -- found duplicate in collection configuration", name)
		}
		seen[name] = true
		if c.GetMaximumPeerCount() < c.GetRequiredPeerCount() {
			return fmt.Errorf("collection-name: %s -- maximum peer count (%d) cannot be less than the required peer count (%d)",
				name, c.GetMaximumPeerCount(), c.GetRequiredPeerCount())
		}
		if c.GetRequiredPeerCount() < 0 {
			return fmt.Errorf("collection-name: %s -- requiredPeerCount (%d) cannot be less than zero", name, c.GetRequiredPeerCount())
		}
		if err := checkMembers(config, c); err != nil {
			return err
		}
	}
	return nil
}

// checkMembers checks that a collection's policy names members of the channel.
func checkMembers(config *channel.Config, c *pb.StaticCollectionConfig) error {
	if c.GetMemberOrgsPolicy() == nil {
		return fmt.Errorf("collection member policy is not set for collection '%s'", c.GetName())
	}
	policy := c.GetMemberOrgsPolicy().GetSignaturePolicy()
	if policy == nil {
		return fmt.Errorf("collection member org policy is empty for collection '%s'", c.GetName())
	}
	provider := &cauthdsl.EnvelopeBasedPolicyProvider{Deserializer: config.MSPManager()}
	if _, err := provider.NewPolicy(policy); err != nil {
		return fmt.Errorf("invalid member org policy for collection '%s': %w", c.GetName(), err)
	}
	if err := onlyOr(policy.GetRule()); err != nil {
		return fmt.Errorf("collection-name: %s -- error in member org policy: %w", c.GetName(), err)
	}
	known := Members(config)
	for _, principal := range policy.GetIdentities() {
		mspID, err := principalOrg(config, c.GetName(), principal)
		if err != nil {
			return err
		}
		if !slices.Contains(known, mspID) && !isMSP(config, mspID) {
			return fmt.Errorf("collection-name: %s -- collection member '%s' is not part of the channel", c.GetName(), mspID)
		}
	}
	return nil
}

func isMSP(config *channel.Config, mspID string) bool {
	all, err := config.MSPManager().GetMSPs()
	return err == nil && slices.Contains(slices.Collect(maps.Keys(all)), mspID)
}

func principalOrg(config *channel.Config, name string, principal *mb.MSPPrincipal) (string, error) {
	switch principal.GetPrincipalClassification() {
	case mb.MSPPrincipal_ROLE:
		role := &mb.MSPRole{}
		if err := proto.Unmarshal(principal.GetPrincipal(), role); err != nil {
			return "", fmt.Errorf("collection-name: %s -- cannot unmarshal identity bytes into MSPRole: %w", name, err)
		}
		return role.GetMspIdentifier(), nil
	case mb.MSPPrincipal_ORGANIZATION_UNIT:
		unit := &mb.OrganizationUnit{}
		if err := proto.Unmarshal(principal.GetPrincipal(), unit); err != nil {
			return "", fmt.Errorf("collection-name: %s -- cannot unmarshal identity bytes into OrganizationUnit: %w", name, err)
		}
		return unit.GetMspIdentifier(), nil
	case mb.MSPPrincipal_IDENTITY:
		id, err := protoutil.UnmarshalIdentity(principal.GetPrincipal())
		if err == nil {
			_, err = config.MSPManager().DeserializeIdentity(id)
		}
		if err != nil {
			return "", fmt.Errorf("collection-name: %s -- contains an identity that is not part of the channel", name)
		}
		return id.GetMspId(), nil
	default:
		return "", fmt.Errorf("collection-name: %s -- principal type %v is not supported", name, principal.GetPrincipalClassification())
	}
}

func onlyOr(rule *cb.SignaturePolicy) error {
	n := rule.GetNOutOf()
	if n == nil {
		return nil
	}
	if n.GetN() != 1 {
		return fmt.Errorf("signature policy is not an OR concatenation, NOutOf %d", n.GetN())
	}
	for _, one := range n.GetRules() {
		if err := onlyOr(one); err != nil {
			return err
		}
	}
	return nil
}

// checkChange checks that collections stay and keep their time to live.
func checkChange(proposed []*pb.StaticCollectionConfig, committed *pb.CollectionConfigPackage) error {
	if len(committed.GetConfig()) == 0 {
		return nil
	}
	if len(proposed) == 0 {
		return errors.New("the proposed collection config does not contain previously defined collections")
	}
	for _, one := range committed.GetConfig() {
		old := one.GetStaticCollectionConfig()
		i := slices.IndexFunc(proposed, func(p *pb.StaticCollectionConfig) bool { return p.GetName() == old.GetName() })
		if i < 0 {
			return fmt.Errorf("existing collection [%s] missing in the proposed collection configuration", old.GetName())
		}
		if proposed[i].GetBlockToLive() != old.GetBlockToLive() {
			return fmt.Errorf("the BlockToLive in an existing collection [%s] modified. Existing value [%d]", old.GetName(), old.GetBlockToLive())
		}
	}
	return nil
}
