package load

import (
	"context"
	"fmt"
	"slices"

	"github.com/hyperledger/fabric-gateway/pkg/hash"
	"github.com/hyperledger/fabric-protos-go-apiv2/discovery"
	"github.com/hyperledger/fabric-protos-go-apiv2/gossip"
	"github.com/hyperledger/fabric-protos-go-apiv2/msp"
	"google.golang.org/protobuf/proto"
)

// Members asks this very peer's discovery service which peers of the channel gossip has alive, itself among them: MSP ID
// and address, such as "BankAMSP peer0-banka.trade:7051", sorted.
func (c *Client) Members(ctx context.Context) ([]string, error) {
	request, err := c.discoveryRequest()
	if err != nil {
		return nil, fmt.Errorf("make discovery request for %q: %w", c.target.Name, err)
	}
	ctx, cancel := context.WithTimeout(ctx, evaluateTimeout)
	defer cancel()
	response, err := discovery.NewDiscoveryClient(c.conn).Discover(ctx, request)
	if err != nil {
		return nil, fmt.Errorf("discover peers at %q: %w", c.target.Name, err)
	}
	if n := len(response.GetResults()); n != 1 {
		return nil, fmt.Errorf("discover peers at %q: %d answers", c.target.Name, n)
	}
	result := response.GetResults()[0]
	if e := result.GetError(); e != nil {
		return nil, fmt.Errorf("discover peers at %q: %s", c.target.Name, e.GetContent())
	}
	var out []string
	for mspID, peers := range result.GetMembers().GetPeersByOrg() {
		for _, p := range peers.GetPeers() {
			alive := new(gossip.GossipMessage)
			if err := proto.Unmarshal(p.GetMembershipInfo().GetPayload(), alive); err != nil {
				return nil, fmt.Errorf("decode membership of a peer of %q: %w", mspID, err)
			}
			out = append(out, mspID+" "+alive.GetAliveMsg().GetMembership().GetEndpoint())
		}
	}
	slices.Sort(out)
	return out, nil
}

func (c *Client) discoveryRequest() (*discovery.SignedRequest, error) {
	caller, err := proto.Marshal(&msp.SerializedIdentity{Mspid: c.id.MspID(), IdBytes: c.id.Credentials()})
	if err != nil {
		return nil, err
	}
	request := &discovery.Request{
		Authentication: &discovery.AuthInfo{ClientIdentity: caller},
		Queries:        []*discovery.Query{{Channel: c.target.Channel, Query: &discovery.Query_PeerQuery{PeerQuery: &discovery.PeerMembershipQuery{}}}},
	}
	out := &discovery.SignedRequest{}
	if out.Payload, err = proto.Marshal(request); err != nil {
		return nil, err
	}
	out.Signature, err = c.sign(hash.SHA256(out.GetPayload()))
	return out, err
}
