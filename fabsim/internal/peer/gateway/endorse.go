package gateway

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"

	cb "github.com/hyperledger/fabric-protos-go-apiv2/common"
	gp "github.com/hyperledger/fabric-protos-go-apiv2/gateway"
	pb "github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"heddle.dev/heddle/fabsim/internal/peer/lifecycle"
	"heddle.dev/heddle/fabsim/internal/peer/members"
)

// Endorse collects the endorsements that a proposal needs and makes the
// transaction that the client has to sign.
func (s *Server) Endorse(ctx context.Context, in *gp.EndorseRequest) (*gp.EndorseResponse, error) {
	if len(in.GetProposedTransaction().GetProposalBytes()) == 0 {
		return nil, status.Error(codes.InvalidArgument, "the proposed transaction must contain a signed proposal")
	}
	p, err := open(in.GetProposedTransaction())
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	c := &collection{server: s, proposal: p, asked: map[string]bool{}, byPeer: map[string]*pb.Endorsement{}}
	if orgs := in.GetEndorsingOrganizations(); len(orgs) > 0 {
		err = c.planOrgs(ctx, orgs)
	} else {
		err = c.planFirst(ctx)
	}
	if err != nil {
		return nil, err
	}
	endorsements, err := c.collect(ctx)
	if err != nil {
		return nil, err
	}
	envelope, err := prepare(p, &pb.ChaincodeEndorsedAction{ProposalResponsePayload: c.payload, Endorsements: endorsements})
	if err != nil {
		return nil, status.Errorf(codes.Aborted, "failed to assemble transaction: %s", err)
	}
	return &gp.EndorseResponse{PreparedTransaction: envelope}, nil
}

// collection is one proposal's way to its endorsements.
type collection struct {
	server   *Server
	proposal *proposal
	plan     *members.Plan

	mu      sync.Mutex
	asked   map[string]bool
	byPeer  map[string]*pb.Endorsement
	payload []byte
	details []*gp.ErrorDetail
}

// planOrgs takes one peer of each organisation that the client names.
func (c *collection) planOrgs(ctx context.Context, orgs []string) error {
	plan := &members.Plan{Groups: map[string][]*members.Member{}, Layouts: []map[string]int{{}}}
	var missing []string
	for _, org := range orgs {
		peers := c.server.able(ctx, c.proposal.channel, c.proposal.contract, []string{org})
		if len(peers) == 0 {
			missing = append(missing, org)
			continue
		}
		plan.Groups[org], plan.Layouts[0][org] = peers, 1
	}
	if len(missing) > 0 {
		return status.Errorf(codes.Unavailable, "failed to find any endorsing peers for org(s): %s", strings.Join(missing, ", "))
	}
	c.plan = plan
	return nil
}

// planFirst has a peer of the own organisation simulate, and plans by what it
// says that the transaction touches.
func (c *collection) planFirst(ctx context.Context) error {
	s, p := c.server, c.proposal
	ch := s.o.Channel(p.channel)
	interest := &pb.ChaincodeInterest{Chaincodes: []*pb.ChaincodeCall{{Name: p.contract}}}
	peers := s.able(ctx, p.channel, p.contract, []string{s.o.MSPID})
	if len(peers) == 0 && p.transient {
		return status.Error(codes.FailedPrecondition,
			"no endorsers found in the gateway's organization; retry specifying endorsing organization(s) to protect transient data")
	}
	if ch == nil {
		return noPlan(fmt.Errorf("No metadata was found for chaincode %s in channel %s", p.contract, p.channel)) //nolint:staticcheck // Fabric's words
	}
	from := lifecycle.Committed(ch.Ledger())
	if len(peers) == 0 {
		plan, err := s.o.Members.PlanFor(ctx, ch.Config(), from, interest)
		if err != nil {
			return noPlan(err)
		}
		for _, group := range plan.Groups {
			peers = append(peers, group...)
		}
	}
	first, got, err := c.first(ctx, peers)
	if err != nil {
		return err
	}
	if len(got.GetInterest().GetChaincodes()) > 0 {
		interest = got.GetInterest()
	}
	original, protected := protect(interest, p.transient)
	if c.plan, err = s.o.Members.PlanFor(ctx, ch.Config(), from, interest); err != nil {
		if len(protected) > 0 {
			if _, open := s.o.Members.PlanFor(ctx, ch.Config(), from, original); open == nil {
				return status.Errorf(codes.FailedPrecondition, "requires endorsement from organisation(s) that are not in the distribution policy of "+
					"the private data collection(s): %v; retry specifying trusted endorsing organizations to protect transient data", protected)
			}
		}
		return noPlan(err)
	}
	c.take(first, got)
	return nil
}

// noPlan says what Fabric's discovery does when policies cannot be satisfied.
func noPlan(why error) error {
	return status.Errorf(codes.FailedPrecondition, "no combination of peers can be derived which satisfy the endorsement policy: %s", why)
}

// protect keeps transient data from peers that may not see the collections
// that it may end up in.
func protect(interest *pb.ChaincodeInterest, transient bool) (*pb.ChaincodeInterest, []string) {
	original, _ := proto.Clone(interest).(*pb.ChaincodeInterest)
	var protected []string
	if transient {
		for _, call := range interest.GetChaincodes() {
			if call.GetNoPrivateReads() {
				call.NoPrivateReads = false
				protected = append(protected, call.GetCollectionNames()...)
			}
		}
	}
	return original, protected
}

// first asks one peer after the other until one endorses.
func (c *collection) first(ctx context.Context, peers []*members.Member) (*members.Member, *pb.ProposalResponse, error) {
	for _, m := range peers {
		c.asked[m.Endpoint] = true
		got := c.server.ask(ctx, m, c.proposal.signed)
		if got.code == codes.OK {
			return m, got.response, nil
		}
		if ctx.Err() != nil {
			return nil, nil, fail(codes.DeadlineExceeded, "endorsement timeout expired while collecting first endorsement", nil)
		}
		c.details = append(c.details, detail(m, got.message))
	}
	return nil, nil, fail(codes.Aborted, "failed to endorse transaction, see attached details for more info", c.details)
}

// take notes an endorsement, if it is of the same result as the others.
func (c *collection) take(m *members.Member, response *pb.ProposalResponse) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.payload == nil {
		c.payload = response.GetPayload()
	}
	if !bytes.Equal(c.payload, response.GetPayload()) {
		c.server.o.Log.Warnf("ProposalResponsePayloads do not match: that of %s differs in %s", m.Endpoint, difference(c.payload, response.GetPayload()))
		c.details = append(c.details, detail(m, "ProposalResponsePayloads do not match"))
		return
	}
	c.byPeer[m.Endpoint] = response.GetEndorsement()
}

// collect goes through the layouts until one is complete.
func (c *collection) collect(ctx context.Context) ([]*pb.Endorsement, error) {
	layouts := slices.Clone(c.plan.Layouts)
	rand.Shuffle(len(layouts), func(i, j int) { layouts[i], layouts[j] = layouts[j], layouts[i] }) //nolint:gosec // any order will do
	slices.SortStableFunc(layouts, func(a, b map[string]int) int { return c.lacking(a) - c.lacking(b) })
	for _, layout := range layouts {
		c.fill(ctx, layout)
		if endorsements := c.chosen(layout); endorsements != nil {
			return endorsements, nil
		}
		if ctx.Err() != nil {
			return nil, fail(codes.DeadlineExceeded, "endorsement timeout expired while collecting endorsements", nil)
		}
	}
	return nil, fail(codes.Aborted, "failed to collect enough transaction endorsements, see attached details for more info", c.details)
}

// lacking is how many endorsements a layout needs still.
func (c *collection) lacking(layout map[string]int) int {
	n := 0
	for group, quantity := range layout {
		have := 0
		for _, m := range c.plan.Groups[group] {
			if c.byPeer[m.Endpoint] != nil {
				have++
			}
		}
		n += max(quantity-have, 0)
	}
	return n
}

// fill asks as many peers of each group as the layout needs, and others in the
// place of those that fail.
func (c *collection) fill(ctx context.Context, layout map[string]int) {
	var all sync.WaitGroup
	for group, quantity := range layout {
		peers := c.plan.Groups[group]
		have := 0
		for _, m := range peers {
			if c.byPeer[m.Endpoint] != nil {
				have++
			}
		}
		next := make(chan *members.Member, len(peers))
		for _, m := range peers {
			next <- m
		}
		close(next)
		for range quantity - have {
			all.Go(func() { c.fillOne(ctx, next) })
		}
	}
	all.Wait()
}

func (c *collection) fillOne(ctx context.Context, next <-chan *members.Member) {
	for m := range next {
		c.mu.Lock()
		taken := c.asked[m.Endpoint]
		c.asked[m.Endpoint] = true
		c.mu.Unlock()
		if taken {
			continue
		}
		got := c.server.ask(ctx, m, c.proposal.signed)
		if got.code == codes.OK {
			c.take(m, got.response)
			if c.has(m) {
				return
			}
			continue
		}
		c.server.o.Log.Warnf("Endorse call to %s of %s failed: %s", m.Endpoint, m.MSPID, got.message)
		c.mu.Lock()
		c.details = append(c.details, detail(m, got.message))
		c.mu.Unlock()
	}
}

func (c *collection) has(m *members.Member) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.byPeer[m.Endpoint] != nil
}

// chosen are the endorsements of a layout; nil if it is not complete. One peer
// counts once for each group that it is in.
func (c *collection) chosen(layout map[string]int) []*pb.Endorsement {
	out := map[string]*pb.Endorsement{}
	for group, quantity := range layout {
		for _, m := range c.plan.Groups[group] {
			if e := c.byPeer[m.Endpoint]; e != nil && quantity > 0 {
				out[m.Endpoint] = e
				quantity--
			}
		}
		if quantity > 0 {
			return nil
		}
	}
	var list []*pb.Endorsement
	for _, e := range out {
		list = append(list, e)
	}
	return list
}

// prepare makes a transaction, without transient data.
func prepare(p *proposal, action *pb.ChaincodeEndorsedAction) (*cb.Envelope, error) {
	public, err := proto.Marshal(&pb.ChaincodeProposalPayload{Input: p.payload.GetInput()})
	if err != nil {
		return nil, fmt.Errorf("write proposal: %w", err)
	}
	inner, err := proto.Marshal(&pb.ChaincodeActionPayload{ChaincodeProposalPayload: public, Action: action})
	if err != nil {
		return nil, fmt.Errorf("write action: %w", err)
	}
	transaction, err := proto.Marshal(&pb.Transaction{Actions: []*pb.TransactionAction{{Header: p.header.GetSignatureHeader(), Payload: inner}}})
	if err != nil {
		return nil, fmt.Errorf("write transaction: %w", err)
	}
	payload, err := proto.Marshal(&cb.Payload{Header: p.header, Data: transaction})
	if err != nil {
		return nil, fmt.Errorf("write payload: %w", err)
	}
	return &cb.Envelope{Payload: payload}, nil
}
