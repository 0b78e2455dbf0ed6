package members

import (
	"context"
	"errors"
	"fmt"
	"slices"

	cb "github.com/hyperledger/fabric-protos-go-apiv2/common"
	mb "github.com/hyperledger/fabric-protos-go-apiv2/msp"
	pb "github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"github.com/hyperledger/fabric-x-common/common/policies"
	"github.com/hyperledger/fabric-x-common/common/policies/inquire"
	"github.com/hyperledger/fabric-x-common/protoutil"
	"google.golang.org/protobuf/proto"

	"heddle.dev/heddle/fabsim/internal/channel"
	"heddle.dev/heddle/fabsim/internal/peer/lifecycle"
	"heddle.dev/heddle/fabsim/internal/peer/validate"
)

// Plan is which peers together satisfy what is asked.
type Plan struct {
	// Groups are peers that can stand for one another.
	Groups map[string][]*Member
	// Layouts are ways to satisfy the policies: how many of which group.
	Layouts []map[string]int
}

// Errors in Fabric's words.
var (
	errNoCombination = errors.New("no peer combination can satisfy the endorsement policy")
	errNotInstalled  = errors.New("required chaincodes are not installed on sufficient peers")
)

// PlanFor finds the peers of a channel that satisfy the policies of an
// interest: those of contracts, of collections and of keys, all at once.
func (r *Registry) PlanFor(ctx context.Context, config *channel.Config, from lifecycle.Readable, interest *pb.ChaincodeInterest) (*Plan, error) {
	sets, err := principalSets(ctx, config, from, interest)
	if err != nil {
		return nil, err
	}
	peers, err := r.allowed(ctx, config, from, interest)
	if err != nil {
		return nil, err
	}
	plan := &Plan{Groups: map[string][]*Member{}}
	groups := map[string]string{}
	satisfiable := false
	for _, set := range sets {
		layout := map[string]int{}
		for _, principal := range set {
			name, ok := groups[principalKey(principal)]
			if !ok {
				name = fmt.Sprintf("G%d", len(groups))
				groups[principalKey(principal)] = name
				plan.Groups[name] = satisfying(config, peers, principal)
			}
			layout[name]++
		}
		if !feasible(layout, plan.Groups, func(*Member) bool { return true }) {
			continue
		}
		satisfiable = true
		if feasible(layout, plan.Groups, func(m *Member) bool { return hasAll(m, config.ID(), interest) }) {
			plan.Layouts = append(plan.Layouts, layout)
		}
	}
	for name, group := range plan.Groups {
		plan.Groups[name] = slices.DeleteFunc(slices.Clone(group), func(m *Member) bool { return !hasAll(m, config.ID(), interest) })
	}
	switch {
	case !satisfiable:
		return nil, errNoCombination
	case len(plan.Layouts) == 0:
		return nil, errNotInstalled
	}
	return plan, nil
}

func principalKey(p *mb.MSPPrincipal) string {
	return fmt.Sprintf("%d/%s", p.GetPrincipalClassification(), p.GetPrincipal())
}

func hasAll(m *Member, id string, interest *pb.ChaincodeInterest) bool {
	for _, call := range interest.GetChaincodes() {
		if !m.Has(id, call.GetName()) {
			return false
		}
	}
	return true
}

func feasible(layout map[string]int, groups map[string][]*Member, usable func(*Member) bool) bool {
	for name, quantity := range layout {
		count := 0
		for _, m := range groups[name] {
			if usable(m) {
				count++
			}
		}
		if count < quantity {
			return false
		}
	}
	return true
}

// satisfying are the peers that a principal stands for. Of a peer that has not
// told who it is, only its organisation is known.
func satisfying(config *channel.Config, peers []*Member, principal *mb.MSPPrincipal) []*Member {
	var out []*Member
	for _, m := range peers {
		if m.Identity == nil {
			role := &mb.MSPRole{}
			if principal.GetPrincipalClassification() == mb.MSPPrincipal_ROLE && proto.Unmarshal(principal.GetPrincipal(), role) == nil &&
				role.GetMspIdentifier() == m.MSPID && (role.GetRole() == mb.MSPRole_MEMBER || role.GetRole() == mb.MSPRole_PEER) {
				out = append(out, m)
			}
			continue
		}
		id, err := protoutil.UnmarshalIdentity(m.Identity)
		if err != nil {
			continue
		}
		identity, err := config.MSPManager().DeserializeIdentity(id)
		if err == nil && identity.SatisfiesPrincipal(principal) == nil {
			out = append(out, m)
		}
	}
	return out
}

// allowed leaves out peers that may not see a collection that is read.
func (r *Registry) allowed(ctx context.Context, config *channel.Config, from lifecycle.Readable, interest *pb.ChaincodeInterest) ([]*Member, error) {
	peers := r.Of(ctx, config.ID())
	for _, call := range interest.GetChaincodes() {
		if call.GetNoPrivateReads() {
			continue
		}
		for _, name := range call.GetCollectionNames() {
			collection, err := lifecycle.Collection(ctx, call.GetName(), name, from)
			if err != nil {
				return nil, err
			}
			if collection == nil {
				return nil, fmt.Errorf("collection %s doesn't exist in collection config for chaincode %s", name, call.GetName())
			}
			peers = slices.DeleteFunc(slices.Clone(peers), func(m *Member) bool { return !InCollection(config, m, collection) })
		}
	}
	return peers, nil
}

// InCollection tells whether a peer belongs to a collection.
func InCollection(config *channel.Config, m *Member, collection *pb.StaticCollectionConfig) bool {
	for _, principal := range collection.GetMemberOrgsPolicy().GetSignaturePolicy().GetIdentities() {
		if len(satisfying(config, []*Member{m}, principal)) > 0 {
			return true
		}
	}
	return false
}

func principalSets(ctx context.Context, config *channel.Config, from lifecycle.Readable, interest *pb.ChaincodeInterest) (policies.PrincipalSets, error) {
	var all []inquire.ComparablePrincipalSets
	for _, call := range interest.GetChaincodes() {
		found, err := callPolicies(ctx, config, from, call)
		if err != nil {
			return nil, err
		}
		for _, envelope := range found {
			var sets inquire.ComparablePrincipalSets
			for _, set := range inquire.NewInquireableSignaturePolicy(envelope).SatisfiedBy() {
				one := inquire.NewComparablePrincipalSet(set)
				if one == nil {
					return nil, errors.New("failed creating a comparable principal set")
				}
				sets = append(sets, one)
			}
			if len(sets) == 0 {
				return nil, errors.New("endorsement policy cannot be satisfied")
			}
			all = append(all, sets)
		}
	}
	if len(all) == 0 {
		return nil, errors.New("no policies found")
	}
	merged := all[0]
	for _, next := range all[1:] {
		merged = inquire.Merge(merged, next)
	}
	return merged.ToPrincipalSets(), nil
}

// callPolicies are those that one contract brings in.
func callPolicies(ctx context.Context, config *channel.Config, from lifecycle.Readable, call *pb.ChaincodeCall) ([]*cb.SignaturePolicyEnvelope, error) {
	var raws [][]byte
	own, err := validate.ContractPolicy(ctx, config, call.GetName(), from)
	if err != nil {
		return nil, err
	}
	if len(own) == 0 {
		return nil, fmt.Errorf("No metadata was found for chaincode %s in channel %s", call.GetName(), config.ID()) //nolint:staticcheck // Fabric's words
	}
	if !call.GetDisregardNamespacePolicy() {
		raws = append(raws, own)
	}
	for _, name := range call.GetCollectionNames() {
		raw, err := validate.CollectionPolicy(ctx, config, call.GetName(), name, from)
		if err != nil {
			return nil, err
		}
		if len(raw) > 0 {
			raws = append(raws, raw)
		}
	}
	out := slices.Clone(call.GetKeyPolicies())
	for _, raw := range raws {
		policy, err := validate.Policy(config, raw)
		if err != nil {
			return nil, err
		}
		converter, ok := policy.(policies.Converter)
		if !ok {
			return nil, errors.New("the policy cannot be looked into")
		}
		envelope, err := converter.Convert()
		if err != nil {
			return nil, fmt.Errorf("look into policy: %w", err)
		}
		out = append(out, envelope)
	}
	return out, nil
}
