// Package discovery is the Discovery service: clients of the older kind ask it
// for a channel's configuration, its peers, and who can endorse what.
package discovery

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net"
	"strconv"

	dpb "github.com/hyperledger/fabric-protos-go-apiv2/discovery"
	gpb "github.com/hyperledger/fabric-protos-go-apiv2/gossip"
	mb "github.com/hyperledger/fabric-protos-go-apiv2/msp"
	"github.com/hyperledger/fabric-x-common/common/channelconfig"
	"github.com/hyperledger/fabric-x-common/common/policies"
	"github.com/hyperledger/fabric-x-common/msp"
	"github.com/hyperledger/fabric-x-common/protoutil"
	"google.golang.org/protobuf/proto"

	"heddle.dev/heddle/fabsim/internal/channel"
	"heddle.dev/heddle/fabsim/internal/node"
	"heddle.dev/heddle/fabsim/internal/peer/lifecycle"
	"heddle.dev/heddle/fabsim/internal/peer/members"
)

// Options of the service.
type Options struct {
	Members *members.Registry
	// Channel finds a channel that the peer has joined, or nil.
	Channel func(id string) lifecycle.Channel
	// MSP is the peer's organisation; OrgMembers lets its members, not only
	// its administrators, ask for peers without a channel.
	MSP        msp.MSP
	OrgMembers bool
	// MutualTLS binds requests to the client's TLS certificate.
	MutualTLS bool
	Log       *node.Logger
}

// Service answers.
type Service struct {
	dpb.UnimplementedDiscoveryServer

	o Options
}

// New makes the service.
func New(o Options) *Service { return &Service{o: o} }

// Discover answers the queries of a request, one by one.
func (s *Service) Discover(ctx context.Context, in *dpb.SignedRequest) (*dpb.Response, error) {
	request := &dpb.Request{}
	if err := proto.Unmarshal(in.GetPayload(), request); err != nil {
		return nil, fmt.Errorf("failed parsing request: %w", err)
	}
	if request.GetAuthentication() == nil {
		return nil, errors.New("access denied, no authentication info in request")
	}
	if len(request.GetAuthentication().GetClientIdentity()) == 0 {
		return nil, errors.New("access denied, client identity wasn't supplied")
	}
	if s.o.MutualTLS {
		certificate := node.ClientCertificate(ctx)
		if certificate == nil {
			return nil, errors.New("client didn't send a TLS certificate")
		}
		if sum := sha256.Sum256(certificate.Raw); !bytes.Equal(sum[:], request.GetAuthentication().GetClientTlsCertHash()) {
			return nil, errors.New("client claimed TLS hash doesn't match computed TLS hash from gRPC stream")
		}
	}
	out := &dpb.Response{}
	for _, query := range request.GetQueries() {
		result, err := s.answer(ctx, query, in, request.GetAuthentication().GetClientIdentity())
		if err != nil {
			s.o.Log.Warnf("Query of channel %q refused: %s", query.GetChannel(), err)
			result = &dpb.QueryResult{Result: &dpb.QueryResult_Error{Error: &dpb.Error{Content: err.Error()}}}
		}
		out.Results = append(out.Results, result)
	}
	return out, nil
}

var errDenied = errors.New("access denied")

func (s *Service) answer(ctx context.Context, query *dpb.Query, in *dpb.SignedRequest, creator []byte) (*dpb.QueryResult, error) {
	id, err := protoutil.UnmarshalIdentity(creator)
	if err != nil {
		return nil, errDenied
	}
	signed := []*protoutil.SignedData{{Data: in.GetPayload(), Identity: id, Signature: in.GetSignature()}}
	if query.GetChannel() == "" {
		if s.local(signed[0]) != nil {
			return nil, errDenied
		}
		if query.GetLocalPeers() == nil {
			return nil, errors.New("unknown or missing request type")
		}
		return peersResult(s.o.Members.Local(ctx), ""), nil
	}
	ch := s.o.Channel(query.GetChannel())
	if ch == nil || ch.Config().Check(policies.ChannelApplicationWriters, signed) != nil {
		return nil, errDenied
	}
	switch {
	case query.GetConfigQuery() != nil:
		return configResult(ch.Config())
	case query.GetPeerQuery() != nil:
		return peersResult(s.o.Members.Of(ctx, query.GetChannel()), query.GetChannel()), nil
	case query.GetCcQuery() != nil:
		return s.endorsers(ctx, ch, query.GetCcQuery())
	default:
		return nil, errors.New("unknown or missing request type")
	}
}

func (s *Service) local(signed *protoutil.SignedData) error {
	identity, err := s.o.MSP.DeserializeIdentity(signed.Identity)
	if err != nil {
		return fmt.Errorf("find client: %w", err)
	}
	role := mb.MSPRole_ADMIN
	if s.o.OrgMembers {
		role = mb.MSPRole_MEMBER
	}
	raw, err := proto.Marshal(&mb.MSPRole{MspIdentifier: signed.Identity.GetMspId(), Role: role})
	if err != nil {
		return fmt.Errorf("write principal: %w", err)
	}
	return errors.Join(identity.SatisfiesPrincipal(&mb.MSPPrincipal{Principal: raw}), identity.Verify(signed.Data, signed.Signature))
}

func (s *Service) endorsers(ctx context.Context, ch lifecycle.Channel, query *dpb.ChaincodeQuery) (*dpb.QueryResult, error) {
	if len(query.GetInterests()) == 0 {
		return nil, errors.New("chaincode query must have at least one chaincode interest")
	}
	out := &dpb.ChaincodeQueryResult{}
	for _, interest := range query.GetInterests() {
		if len(interest.GetChaincodes()) == 0 {
			return nil, errors.New("chaincode interest must contain at least one chaincode")
		}
		plan, err := s.o.Members.PlanFor(ctx, ch.Config(), lifecycle.Committed(ch.Ledger()), interest)
		if err != nil {
			s.o.Log.Errorf("Failed constructing descriptor for chaincode %v: %s", interest, err)
			return nil, fmt.Errorf("failed constructing descriptor for %v", interest)
		}
		descriptor := &dpb.EndorsementDescriptor{
			Chaincode: interest.GetChaincodes()[0].GetName(), EndorsersByGroups: map[string]*dpb.Peers{},
		}
		for _, layout := range plan.Layouts {
			quantities := map[string]uint32{}
			for group, quantity := range layout {
				quantities[group] = uint32(quantity) //nolint:gosec // it is small
				peers := &dpb.Peers{}
				for _, m := range plan.Groups[group] {
					peers.Peers = append(peers.Peers, describe(m, ch.Config().ID()))
				}
				descriptor.EndorsersByGroups[group] = peers
			}
			descriptor.Layouts = append(descriptor.Layouts, &dpb.Layout{QuantitiesByGroup: quantities})
		}
		out.Content = append(out.Content, descriptor)
	}
	return &dpb.QueryResult{Result: &dpb.QueryResult_CcQueryRes{CcQueryRes: out}}, nil
}

func peersResult(peers []*members.Member, id string) *dpb.QueryResult {
	out := &dpb.PeerMembershipResult{PeersByOrg: map[string]*dpb.Peers{}}
	for _, m := range peers {
		if out.GetPeersByOrg()[m.MSPID] == nil {
			out.PeersByOrg[m.MSPID] = &dpb.Peers{}
		}
		out.PeersByOrg[m.MSPID].Peers = append(out.PeersByOrg[m.MSPID].Peers, describe(m, id))
	}
	return &dpb.QueryResult{Result: &dpb.QueryResult_Members{Members: out}}
}

// describe gives a peer the form that gossip would.
func describe(m *members.Member, id string) *dpb.Peer {
	out := &dpb.Peer{Identity: m.Identity, MembershipInfo: envelope(&gpb.GossipMessage{Content: &gpb.GossipMessage_AliveMsg{AliveMsg: &gpb.AliveMessage{
		Membership: &gpb.Member{Endpoint: m.Endpoint, PkiId: pkiID(m)}, Timestamp: &gpb.PeerTime{},
	}}})}
	if id == "" {
		return out
	}
	properties := &gpb.Properties{LedgerHeight: m.Channels[id].Height}
	for name, version := range m.Channels[id].Contracts {
		properties.Chaincodes = append(properties.Chaincodes, &gpb.Chaincode{Name: name, Version: version})
	}
	out.StateInfo = envelope(&gpb.GossipMessage{Content: &gpb.GossipMessage_StateInfo{StateInfo: &gpb.StateInfo{
		Properties: properties, PkiId: pkiID(m), Timestamp: &gpb.PeerTime{},
	}}})
	return out
}

func pkiID(m *members.Member) []byte {
	sum := sha256.Sum256(m.Identity)
	return sum[:]
}

func envelope(message *gpb.GossipMessage) *gpb.Envelope {
	raw, err := proto.Marshal(message)
	if err != nil {
		return nil // it consists of numbers and texts that were read from messages
	}
	return &gpb.Envelope{Payload: raw}
}

// configResult is the MSPs and the orderers of a channel.
func configResult(config *channel.Config) (*dpb.QueryResult, error) {
	out := &dpb.ConfigResult{Msps: map[string]*mb.FabricMSPConfig{}, Orderers: map[string]*dpb.Endpoints{}}
	root := config.Proto().GetChannelGroup()
	for _, section := range []string{channelconfig.ApplicationGroupKey, channelconfig.OrdererGroupKey} {
		for _, org := range root.GetGroups()[section].GetGroups() {
			wrapped, fabric := &mb.MSPConfig{}, &mb.FabricMSPConfig{}
			if err := proto.Unmarshal(org.GetValues()[channelconfig.MSPKey].GetValue(), wrapped); err != nil {
				return nil, fmt.Errorf("failed fetching config for channel %s", config.ID())
			}
			if err := proto.Unmarshal(wrapped.GetConfig(), fabric); err != nil {
				return nil, fmt.Errorf("failed fetching config for channel %s", config.ID())
			}
			out.Msps[fabric.GetName()] = fabric
		}
	}
	for _, endpoint := range config.Endpoints() {
		host, text, err := net.SplitHostPort(endpoint.Address)
		if err != nil {
			continue
		}
		port, err := strconv.ParseUint(text, 10, 32)
		if err != nil {
			continue
		}
		if out.GetOrderers()[endpoint.MSPID] == nil {
			out.Orderers[endpoint.MSPID] = &dpb.Endpoints{}
		}
		out.Orderers[endpoint.MSPID].Endpoint = append(out.Orderers[endpoint.MSPID].Endpoint, &dpb.Endpoint{Host: host, Port: uint32(port)})
	}
	return &dpb.QueryResult{Result: &dpb.QueryResult_ConfigResult{ConfigResult: out}}, nil
}
