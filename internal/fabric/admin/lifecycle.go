package admin

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hyperledger/fabric-admin-sdk/pkg/chaincode"
	pb "github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer/lifecycle"
	"google.golang.org/protobuf/proto"

	"heddle.dev/heddle/internal/fabric/gateway"
	"heddle.dev/heddle/internal/fabric/policy"
)

// The outcomes of the life cycle that callers tell apart.
var (
	// ErrNotApproved says that the organisation has not approved that.
	ErrNotApproved = errors.New("the organisation has not approved this definition")
	// ErrNotCommitted says that the channel has no such contract.
	ErrNotCommitted = errors.New("the channel has no such contract")
	// ErrNotReady says that approvals are missing, or not everywhere yet.
	ErrNotReady = errors.New("not enough organisations have approved this definition")
)

// Definition of a contract on a channel.
type Definition struct {
	// Channel and Name of the contract.
	Channel, Name string
	// Version is a label for people.
	Version string
	// Sequence grows by one with every committed definition.
	Sequence int64
	// PackageID is the package that the own organisation runs; empty if it
	// runs none.
	PackageID string
	// Policy is who has to endorse: a rule such as
	// "AND('BankaMSP.peer', 'BankbMSP.peer')", or the path of a policy of the
	// channel. Empty means the channel's Endorsement policy.
	Policy string
	// Collections of private data.
	Collections []Collection
	// InitRequired is for contracts of the old kind.
	InitRequired bool

	// CollectionsSum is the hash of the collections that a peer told; Collections is empty then.
	CollectionsSum string
}

// Collection of private data.
type Collection struct {
	// Name of the collection.
	Name string
	// Policy says which organisations keep the data.
	Policy string
	// RequiredPeers and MaxPeers receive it before a transaction is endorsed.
	RequiredPeers, MaxPeers int32
	// BlockToLive is for how many blocks the data is kept; 0 for ever.
	BlockToLive uint64
	// MemberOnlyRead and MemberOnlyWrite keep others from calling.
	MemberOnlyRead, MemberOnlyWrite bool
	// EndorsementPolicy of writes to the collection; empty means the
	// contract's.
	EndorsementPolicy string
}

// Installed is a package on a peer.
type Installed struct {
	PackageID, Label string
	// Channels on which contracts run it.
	Channels []string
}

// Committed is a contract that the channel has agreed on.
type Committed struct {
	Name, Version string
	Sequence      int64
	InitRequired  bool
	// Policy as in Definition; a rule made elsewhere may have no notation and
	// then is empty.
	Policy string
	// Collections is the hash of the collections, as CollectionsHash gives it; empty where there are none.
	Collections string
	// Approvals by MSP id; only filled when asked for one contract.
	Approvals map[string]bool
}

// Install puts a package on the peer and returns its id. Installing it again
// changes nothing.
func (p *Peer) Install(ctx context.Context, pkg []byte) (string, error) {
	result, err := chaincode.NewPeer(p.conn, p.id).Install(ctx, bytes.NewReader(pkg))
	if err == nil {
		return result.GetPackageId(), nil
	}
	if !strings.Contains(err.Error(), "already successfully installed") {
		return "", fmt.Errorf("install package: %w", err)
	}
	id, err := chaincode.PackageID(bytes.NewReader(pkg))
	if err != nil {
		return "", fmt.Errorf("install package: %w", err)
	}
	return id, nil
}

// Installed lists the packages on the peer, sorted by id.
func (p *Peer) Installed(ctx context.Context) ([]Installed, error) {
	result, err := chaincode.NewPeer(p.conn, p.id).QueryInstalled(ctx)
	if err != nil {
		return nil, fmt.Errorf("list packages: %w", err)
	}
	out := make([]Installed, 0, len(result.GetInstalledChaincodes()))
	for _, pkg := range result.GetInstalledChaincodes() {
		entry := Installed{PackageID: pkg.GetPackageId(), Label: pkg.GetLabel()}
		for channel := range pkg.GetReferences() {
			entry.Channels = append(entry.Channels, channel)
		}
		slices.Sort(entry.Channels)
		out = append(out, entry)
	}
	slices.SortFunc(out, func(a, b Installed) int { return strings.Compare(a.PackageID, b.PackageID) })
	return out, nil
}

// Approve records that the own organisation agrees to a definition. Approving
// the same again changes nothing.
func (p *Peer) Approve(ctx context.Context, d Definition) error {
	definition, err := d.message()
	if err != nil {
		return err
	}
	err = gateway.Explain(chaincode.NewGateway(p.conn, p.id).Approve(ctx, definition))
	if err != nil && !strings.Contains(err.Error(), "unchanged content") {
		return fmt.Errorf("approve contract %q on channel %q: %w", d.Name, d.Channel, err)
	}
	return nil
}

// Readiness tells by MSP id who has approved exactly this definition.
func (p *Peer) Readiness(ctx context.Context, d Definition) (map[string]bool, error) {
	definition, err := d.message()
	if err != nil {
		return nil, err
	}
	result, err := chaincode.NewGateway(p.conn, p.id).CheckCommitReadiness(ctx, definition)
	if err != nil {
		return nil, fmt.Errorf("check approvals of contract %q on channel %q: %w", d.Name, d.Channel, gateway.Explain(err))
	}
	return result.GetApprovals(), nil
}

// Commit makes a definition valid for the channel. A peer that does not yet
// know of an approval makes it fail with ErrNotReady; then it is to be tried
// again in a moment (see CommitRetry).
func (p *Peer) Commit(ctx context.Context, d Definition) error {
	definition, err := d.message()
	if err != nil {
		return err
	}
	err = gateway.Explain(chaincode.NewGateway(p.conn, p.id).Commit(ctx, definition))
	if err == nil {
		return nil
	}
	if lagging(err.Error()) {
		return fmt.Errorf("commit contract %q on channel %q: %w (%w)", d.Name, d.Channel, ErrNotReady, err)
	}
	return fmt.Errorf("commit contract %q on channel %q: %w", d.Name, d.Channel, err)
}

// CommitRetry commits and tries again every interval while peers lag behind,
// until the context ends.
func (p *Peer) CommitRetry(ctx context.Context, d Definition, every time.Duration) error {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		err := p.Commit(ctx, d)
		if err == nil || !errors.Is(err, ErrNotReady) {
			return err
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return err
		}
	}
}

// lagging recognises what peers that have not seen every approval yet say.
func lagging(text string) bool {
	for _, sign := range []string{
		"ProposalResponsePayloads do not match", "chaincode definition not agreed to by this org",
		"no combination of peers can be derived", "failed to collect enough transaction endorsements",
	} {
		if strings.Contains(text, sign) {
			return true
		}
	}
	return false
}

// Approved is what the own organisation has approved under that sequence, or
// ErrNotApproved. The package id is the one that was approved with it.
func (p *Peer) Approved(ctx context.Context, channel, name string, sequence int64) (Definition, error) {
	result, err := chaincode.NewGateway(p.conn, p.id).QueryApproved(ctx, channel, name, sequence)
	if err != nil {
		err = gateway.Explain(err)
		if strings.Contains(err.Error(), "could not fetch approved chaincode definition") {
			return Definition{}, fmt.Errorf("read approval of contract %q on channel %q: %w", name, channel, ErrNotApproved)
		}
		return Definition{}, fmt.Errorf("read approval of contract %q on channel %q: %w", name, channel, err)
	}
	return Definition{
		Channel: channel, Name: name, Version: result.GetVersion(), Sequence: result.GetSequence(),
		PackageID: result.GetSource().GetLocalPackage().GetPackageId(), InitRequired: result.GetInitRequired(),
		Policy: readApplicationPolicy(result.GetValidationParameter()), CollectionsSum: hashCollections(result.GetCollections()),
	}, nil
}

// Committed is the channel's definition of one contract, or ErrNotCommitted.
func (p *Peer) Committed(ctx context.Context, channel, name string) (Committed, error) {
	result, err := chaincode.NewGateway(p.conn, p.id).QueryCommittedWithName(ctx, channel, name)
	if err != nil {
		err = gateway.Explain(err)
		if strings.Contains(err.Error(), "is not defined") {
			return Committed{}, fmt.Errorf("read contract %q of channel %q: %w", name, channel, ErrNotCommitted)
		}
		return Committed{}, fmt.Errorf("read contract %q of channel %q: %w", name, channel, err)
	}
	return Committed{
		Name: name, Version: result.GetVersion(), Sequence: result.GetSequence(), InitRequired: result.GetInitRequired(),
		Policy: readApplicationPolicy(result.GetValidationParameter()), Collections: hashCollections(result.GetCollections()),
		Approvals: result.GetApprovals(),
	}, nil
}

// AllCommitted lists the channel's contracts, sorted by name.
func (p *Peer) AllCommitted(ctx context.Context, channel string) ([]Committed, error) {
	result, err := chaincode.NewGateway(p.conn, p.id).QueryCommitted(ctx, channel)
	if err != nil {
		return nil, fmt.Errorf("list contracts of channel %q: %w", channel, gateway.Explain(err))
	}
	out := make([]Committed, 0, len(result.GetChaincodeDefinitions()))
	for _, d := range result.GetChaincodeDefinitions() {
		out = append(out, committed(d))
	}
	slices.SortFunc(out, func(a, b Committed) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}

func committed(d *lifecycle.QueryChaincodeDefinitionsResult_ChaincodeDefinition) Committed {
	return Committed{
		Name: d.GetName(), Version: d.GetVersion(), Sequence: d.GetSequence(), InitRequired: d.GetInitRequired(),
		Policy: readApplicationPolicy(d.GetValidationParameter()), Collections: hashCollections(d.GetCollections()),
	}
}

func (d Definition) message() (*chaincode.Definition, error) {
	endorsement, err := applicationPolicy(d.Policy)
	if err != nil {
		return nil, fmt.Errorf("define contract %q: %w", d.Name, err)
	}
	out := &chaincode.Definition{
		ChannelName: d.Channel, PackageID: d.PackageID, Name: d.Name, Version: d.Version, Sequence: d.Sequence,
		ApplicationPolicy: endorsement, InitRequired: d.InitRequired,
	}
	for _, c := range d.Collections {
		config, err := c.message()
		if err != nil {
			return nil, fmt.Errorf("define contract %q: %w", d.Name, err)
		}
		if out.Collections == nil {
			out.Collections = &pb.CollectionConfigPackage{}
		}
		out.Collections.Config = append(out.Collections.Config, config)
	}
	return out, nil
}

func (c Collection) message() (*pb.CollectionConfig, error) {
	members, err := policy.Signature(c.Policy)
	if err != nil {
		return nil, fmt.Errorf("collection %q: %w", c.Name, err)
	}
	endorsement, err := applicationPolicy(c.EndorsementPolicy)
	if err != nil {
		return nil, fmt.Errorf("collection %q: %w", c.Name, err)
	}
	return &pb.CollectionConfig{Payload: &pb.CollectionConfig_StaticCollectionConfig{StaticCollectionConfig: &pb.StaticCollectionConfig{
		Name:              c.Name,
		MemberOrgsPolicy:  &pb.CollectionPolicyConfig{Payload: &pb.CollectionPolicyConfig_SignaturePolicy{SignaturePolicy: members}},
		RequiredPeerCount: c.RequiredPeers, MaximumPeerCount: c.MaxPeers, BlockToLive: c.BlockToLive,
		MemberOnlyRead: c.MemberOnlyRead, MemberOnlyWrite: c.MemberOnlyWrite, EndorsementPolicy: endorsement,
	}}}, nil
}

// applicationPolicy reads a rule or the path of a channel policy.
func applicationPolicy(text string) (*pb.ApplicationPolicy, error) {
	switch {
	case text == "":
		return nil, nil
	case strings.HasPrefix(text, "/"):
		return &pb.ApplicationPolicy{Type: &pb.ApplicationPolicy_ChannelConfigPolicyReference{ChannelConfigPolicyReference: text}}, nil
	}
	rule, err := policy.Signature(text)
	if err != nil {
		return nil, err
	}
	return &pb.ApplicationPolicy{Type: &pb.ApplicationPolicy_SignaturePolicy{SignaturePolicy: rule}}, nil
}

func readApplicationPolicy(raw []byte) string {
	var message pb.ApplicationPolicy
	if len(raw) == 0 || proto.Unmarshal(raw, &message) != nil {
		return ""
	}
	if reference := message.GetChannelConfigPolicyReference(); reference != "" {
		return reference
	}
	rule, err := policy.Format(message.GetSignaturePolicy())
	if err != nil {
		return ""
	}
	return rule
}
