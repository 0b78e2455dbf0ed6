package differential

import (
	"context"
	"crypto/sha256"
	"strings"
	"time"

	"github.com/hyperledger/fabric-gateway/pkg/client"
	"github.com/hyperledger/fabric-protos-go-apiv2/discovery"
	gw "github.com/hyperledger/fabric-protos-go-apiv2/gateway"
	"github.com/hyperledger/fabric-protos-go-apiv2/ledger/rwset"
	mspproto "github.com/hyperledger/fabric-protos-go-apiv2/msp"
	ab "github.com/hyperledger/fabric-protos-go-apiv2/orderer"
	pb "github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"google.golang.org/protobuf/proto"

	"heddle.dev/heddle/internal/fabric/identity"
)

func (r *recorder) evaluate(do string, c *client.Contract, function string, options ...client.ProposalOption) {
	r.Helper()
	note := r.note(step{Do: do})
	raw, err := c.EvaluateWithContext(r.ctx(), function, options...)
	note.failed(err)
	note.Payload = payload(raw)
}

// endorse asks the gateway for endorsements.
func (r *recorder) endorseAt(do string, c *client.Contract, function string, options ...client.ProposalOption) *client.Transaction {
	r.Helper()
	note := r.note(step{Do: do})
	proposal, err := c.NewProposal(function, options...)
	ok(r.T, err)
	tx, err := proposal.EndorseWithContext(r.ctx())
	note.failed(err)
	if err != nil {
		return nil
	}
	note.Payload = payload(tx.Result())
	return tx
}

// submitAt submits and waits for the status.
func (r *recorder) submitAt(tx *client.Transaction) {
	r.Helper()
	note := r.note(step{Do: "submit"})
	commit, err := tx.SubmitWithContext(r.ctx())
	note.failed(err)
	if err != nil {
		return
	}
	note = r.note(step{Do: "ask for the status"})
	state, err := commit.StatusWithContext(r.ctx())
	note.failed(err)
	if err == nil {
		note.Answer = state.Code.String()
		note.fact("block is there", state.BlockNumber > 0).fact("successful", state.Successful)
	}
}

// gateways ask a peer's gateway.
func gateways() []scenario {
	contract := func(r *recorder, name string) *client.Contract {
		return r.gateway(r.peerA, r.clientA).GetNetwork(trade).GetContract(name)
	}
	return []scenario{
		{name: "gateway-evaluate", run: func(r *recorder) {
			c := contract(r, "probe")
			r.evaluate("good", c, "echo", client.WithArguments("a", "b"))
			r.evaluate("refused by the contract", c, "get", client.WithArguments("nothing"))
			r.evaluate("at the other organisation", c, "echo", client.WithArguments("a"), client.WithEndorsingOrganizations("bankbMSP"))
			r.evaluate("at an unknown organisation", c, "echo", client.WithArguments("a"), client.WithEndorsingOrganizations("ghostMSP"))
			r.evaluate("unknown contract", contract(r, "unknown"), "echo")
			r.evaluate("contract without package", contract(r, "empty"), "echo")
			r.evaluate("system contract", contract(r, "qscc"), "GetBlockByNumber", client.WithArguments(trade, "9999999"))
			r.evaluate("unknown channel", r.gateway(r.peerA, r.clientA).GetNetwork("nowhere").GetContract("probe"), "echo")
			r.evaluate("channel that the peer is not part of", r.gateway(r.peerB, r.clientB).GetNetwork(side).GetContract("probe"), "echo")
		}},
		{name: "gateway-endorse", run: func(r *recorder) {
			r.endorseAt("good", contract(r, "probe"), "echo", client.WithArguments("a"))
			r.endorseAt("refused by the contract", contract(r, "probe"), "get", client.WithArguments("nothing"))
			r.endorseAt("status of the contract", contract(r, "probe"), "respond", client.WithArguments("404", "not here", ""))
			r.endorseAt("policy that nobody meets", contract(r, "ghost"), "echo")
			r.endorseAt("unknown contract", contract(r, "unknown"), "echo")
			r.endorseAt("contract without package", contract(r, "empty"), "echo")
			r.endorseAt("unknown channel", r.gateway(r.peerA, r.clientA).GetNetwork("nowhere").GetContract("probe"), "echo")
			r.endorseAt("unknown organisation", contract(r, "probe"), "echo", client.WithEndorsingOrganizations("ghostMSP"))
			r.endorseAt("calls another contract", contract(r, "probe"), "call", client.WithArguments("other", "", "put", r.key("a"), "1"))
		}},
		{name: "gateway-submit", run: func(r *recorder) {
			if tx := r.endorseAt("endorse", contract(r, "probe"), "put", client.WithArguments(r.key("a"), "1")); tx != nil {
				r.submitAt(tx)
			}
		}},
		{name: "gateway-too-few-endorsers", run: func(r *recorder) {
			tx := r.endorseAt("endorse", contract(r, "probe"), "put", client.WithArguments(r.key("a"), "1"), client.WithEndorsingOrganizations("bankaMSP"))
			if tx != nil {
				r.submitAt(tx)
			}
		}},
		{name: "gateway-conflict", run: func(r *recorder) {
			c := contract(r, "probe")
			first := r.endorseAt("endorse the first", c, "update", client.WithArguments(r.key("a"), "1"))
			second := r.endorseAt("endorse the second", c, "update", client.WithArguments(r.key("a"), "2"))
			if first != nil && second != nil {
				r.submitAt(first)
				r.submitAt(second)
			}
		}},
		{name: "gateway-who-may", run: func(r *recorder) {
			for _, c := range r.callers() {
				r.evaluate(c.name+" evaluates", r.gateway(r.peerA, c.id).GetNetwork(trade).GetContract("probe"), "echo")
				r.endorseAt(c.name+" has endorsed", r.gateway(r.peerA, c.id).GetNetwork(trade).GetContract("probe"), "echo")
			}
		}},
		{name: "gateway-submit-garbage", run: submitGarbage},
		{name: "gateway-commit-status", run: commitStatus},
		{name: "gateway-events", run: gatewayEvents},
		{name: "gateway-events-refused", run: eventsRefused},
		{name: "gateway-endorse-garbage", run: endorseGarbage},
	}
}

func endorseGarbage(r *recorder) {
	g := gw.NewGatewayClient(r.conn(r.peerA))
	good := newDraft(r.T, r.clientA, trade, "probe", "echo").seal(r.T)
	unsigned := newDraft(r.T, r.clientA, trade, "probe", "echo")
	unsigned.signature = []byte("garbage")
	for _, c := range []struct {
		do      string
		request *gw.EndorseRequest
	}{
		{"nothing", &gw.EndorseRequest{}},
		{"no proposal", &gw.EndorseRequest{ChannelId: trade, TransactionId: good.txID}},
		{"garbage", &gw.EndorseRequest{ChannelId: trade, TransactionId: good.txID, ProposedTransaction: &pb.SignedProposal{ProposalBytes: []byte("garbage")}}},
		{"wrong signature", &gw.EndorseRequest{ChannelId: trade, TransactionId: good.txID, ProposedTransaction: unsigned.seal(r.T).signed}},
		{"other channel than the proposal's", &gw.EndorseRequest{ChannelId: "nowhere", TransactionId: good.txID, ProposedTransaction: good.signed}},
		{"other transaction than the proposal's", &gw.EndorseRequest{ChannelId: trade, TransactionId: "other", ProposedTransaction: good.signed}},
	} {
		_, err := g.Endorse(r.ctx(), c.request)
		r.note(step{Do: "endorse: " + c.do}).failed(err)
		_, err = g.Evaluate(r.ctx(), &gw.EvaluateRequest{
			ChannelId: c.request.GetChannelId(), TransactionId: c.request.GetTransactionId(), ProposedTransaction: c.request.GetProposedTransaction(),
		})
		r.note(step{Do: "evaluate: " + c.do}).failed(err)
	}
}

func submitGarbage(r *recorder) {
	g := gw.NewGatewayClient(r.conn(r.peerA))
	s, answers := r.endorsed("put", r.key("a"), "1")
	good := s.transaction(answers...).envelope(r.T)
	unsigned := proto.CloneOf(good)
	unsigned.Signature = nil
	wrong := proto.CloneOf(good)
	wrong.Signature = []byte("garbage")
	for _, c := range []struct {
		do      string
		request *gw.SubmitRequest
	}{
		{"nothing", &gw.SubmitRequest{}},
		{"no transaction", &gw.SubmitRequest{ChannelId: trade, TransactionId: s.txID}},
		{"no signature", &gw.SubmitRequest{ChannelId: trade, TransactionId: s.txID, PreparedTransaction: unsigned}},
		{"wrong signature", &gw.SubmitRequest{ChannelId: trade, TransactionId: s.txID, PreparedTransaction: wrong}},
		{"unknown channel", &gw.SubmitRequest{ChannelId: "nowhere", TransactionId: s.txID, PreparedTransaction: good}},
	} {
		_, err := g.Submit(r.ctx(), c.request)
		r.note(step{Do: c.do}).failed(err)
	}
}

// statusRequest asks for a transaction's fate.
func (r *recorder) statusRequest(by *identity.Identity, channel, txID string) *gw.SignedCommitStatusRequest {
	r.Helper()
	creator, err := by.Serialized()
	ok(r.T, err)
	raw := encode(r.T, &gw.CommitStatusRequest{TransactionId: txID, ChannelId: channel, Identity: creator})
	signature, err := by.Sign(raw)
	ok(r.T, err)
	return &gw.SignedCommitStatusRequest{Request: raw, Signature: signature}
}

func commitStatus(r *recorder) {
	g := gw.NewGatewayClient(r.conn(r.peerA))
	s, answers := r.endorsed("put", r.key("a"), "1")
	r.quietly(func() { r.commit(s.transaction(answers...).envelope(r.T)) })
	invalid, one := r.endorsed("put", r.key("a"), "2")
	r.quietly(func() { r.commit(invalid.transaction(one[0]).envelope(r.T)) })
	ask := func(do string, request *gw.SignedCommitStatusRequest, patience time.Duration) {
		ctx, cancel := context.WithTimeout(r.Context(), patience)
		defer cancel()
		answer, err := g.CommitStatus(ctx, request)
		note := r.note(step{Do: do})
		note.failed(err)
		if err == nil {
			note.Answer = answer.GetResult().String()
			note.fact("block is there", answer.GetBlockNumber() > 0)
		}
	}
	ask("valid", r.statusRequest(r.clientA, trade, s.txID), patience)
	ask("invalid", r.statusRequest(r.clientA, trade, invalid.txID), patience)
	ask("by the other organisation", r.statusRequest(r.clientB, trade, s.txID), patience)
	ask("unknown transaction", r.statusRequest(r.clientA, trade, "unknown"), time.Second)
	ask("unknown channel", r.statusRequest(r.clientA, "nowhere", s.txID), patience)
	ask("no channel", r.statusRequest(r.clientA, "", s.txID), patience)
	for _, c := range r.callers() {
		ask(c.name, r.statusRequest(c.id, trade, s.txID), patience)
	}
	request := r.statusRequest(r.clientA, trade, s.txID)
	request.Signature = []byte("garbage")
	ask("wrong signature", request, patience)
	ask("garbage", &gw.SignedCommitStatusRequest{Request: []byte("garbage")}, patience)
	ask("nothing", &gw.SignedCommitStatusRequest{}, patience)
}

// gatewayEvents follows a contract's events from a block on.
func gatewayEvents(r *recorder) {
	var first uint64
	for i, name := range []string{"One", "Two", "Three"} {
		s, answers := r.endorsed("event", name, r.name, r.key(name))
		envelope := s.transaction(answers...).envelope(r.T)
		r.quietly(func() { r.commit(envelope) })
		if i == 0 {
			v, err := r.ledgers[0].await(r.ctx(), envelope)
			ok(r.T, err)
			first = v.block
		}
		// An invalid transaction's event is nobody's business.
		s, answers = r.endorsed("event", "Invalid", r.name, r.key(name))
		r.quietly(func() { r.commit(s.transaction(answers[0]).envelope(r.T)) })
	}
	ctx, cancel := context.WithCancel(r.ctx())
	defer cancel()
	stream, err := r.gateway(r.peerA, r.clientA).GetNetwork(trade).ChaincodeEvents(ctx, "probe", client.WithStartBlock(first))
	ok(r.T, err)
	count := 0
	for event := range stream {
		if string(event.Payload) != r.name {
			continue // another case's
		}
		r.note(step{Do: "receive"}).Event = map[string]any{
			"contract": event.ChaincodeName, "name": event.EventName, "payload": string(event.Payload), "has a transaction": len(event.TransactionID) == sha256.Size*2,
			"in the block or later": event.BlockNumber >= first,
		}
		if count++; count == 3 {
			return
		}
	}
	r.note(step{Do: "receive"}).fact("the stream ended early", true)
}

func eventsRefused(r *recorder) {
	g := gw.NewGatewayClient(r.conn(r.peerA))
	start := specified(0)
	ask := func(do string, by *identity.Identity, channel, contract string, bend func(*gw.SignedChaincodeEventsRequest)) {
		creator, err := by.Serialized()
		ok(r.T, err)
		raw := encode(r.T, &gw.ChaincodeEventsRequest{ChannelId: channel, ChaincodeId: contract, Identity: creator, StartPosition: start})
		signature, err := by.Sign(raw)
		ok(r.T, err)
		request := &gw.SignedChaincodeEventsRequest{Request: raw, Signature: signature}
		bend(request)
		stream, err := g.ChaincodeEvents(r.ctx(), request)
		ok(r.T, err)
		answer, err := stream.Recv()
		note := r.note(step{Do: do})
		note.failed(err)
		if err == nil {
			note.fact("there are events", len(answer.GetEvents()) > 0)
		}
	}
	same := func(*gw.SignedChaincodeEventsRequest) {}
	ask("unknown channel", r.clientA, "nowhere", "probe", same)
	ask("no signature", r.clientA, trade, "probe", func(s *gw.SignedChaincodeEventsRequest) { s.Signature = nil })
	for _, c := range r.callers()[:5] {
		ask(c.name, c.id, trade, "probe", same)
	}
	ask("garbage", r.clientA, trade, "probe", func(s *gw.SignedChaincodeEventsRequest) { s.Request = []byte("garbage") })
	start = &ab.SeekPosition{Type: &ab.SeekPosition_Oldest{Oldest: &ab.SeekOldest{}}}
	ask("start position that is not supported", r.clientA, trade, "probe", same)
}

// discoveries ask for peers, configuration and endorsers.
func discoveries() []scenario {
	return []scenario{
		{name: "discover-peers", run: func(r *recorder) {
			answer := r.discover("peers", r.clientA, &discovery.Query{Channel: trade, Query: &discovery.Query_PeerQuery{PeerQuery: &discovery.PeerMembershipQuery{}}})
			found := map[string]any{}
			for org, peers := range answer.GetMembers().GetPeersByOrg() {
				found[org] = len(peers.GetPeers())
			}
			r.steps[len(r.steps)-1].fact("peers", found)
		}},
		{name: "discover-configuration", run: func(r *recorder) {
			answer := r.discover("configuration", r.clientA, &discovery.Query{Channel: trade, Query: &discovery.Query_ConfigQuery{ConfigQuery: &discovery.ConfigQuery{}}})
			var orgs []string
			for org, m := range answer.GetConfigResult().GetMsps() {
				orgs = append(orgs, org+" with "+strings.Repeat("i", len(m.GetIntermediateCerts()))+strings.Repeat("r", len(m.GetRootCerts())))
			}
			endpoints := map[string]any{}
			for org, list := range answer.GetConfigResult().GetOrderers() {
				endpoints[org] = len(list.GetEndpoint())
			}
			r.steps[len(r.steps)-1].fact("organisations", sorted(orgs)).fact("orderers", endpoints)
		}},
		{name: "discover-endorsers", run: func(r *recorder) {
			for _, calls := range [][]*pb.ChaincodeCall{
				{{Name: "probe"}},
				{{Name: "solo"}},
				{{Name: "probe"}, {Name: "other"}},
				{{Name: "vault", CollectionNames: []string{"mine"}}},
				{{Name: "vault", CollectionNames: []string{"none"}}},
				{{Name: "ghost"}},
				{{Name: "unknown"}},
				{{Name: "empty"}},
				{},
			} {
				r.discoverEndorsers(calls)
			}
		}},
		{name: "who-may-discover", run: func(r *recorder) {
			for _, c := range r.callers() {
				r.discover(c.name, c.id, &discovery.Query{Channel: trade, Query: &discovery.Query_PeerQuery{PeerQuery: &discovery.PeerMembershipQuery{}}})
			}
			r.discover("unknown channel", r.clientA, &discovery.Query{Channel: "nowhere", Query: &discovery.Query_PeerQuery{PeerQuery: &discovery.PeerMembershipQuery{}}})
			r.discover("peers of no channel as a client", r.clientA, &discovery.Query{Query: &discovery.Query_LocalPeers{LocalPeers: &discovery.LocalPeerQuery{}}})
			r.discover("peers of no channel as an administrator", r.adminA, &discovery.Query{Query: &discovery.Query_LocalPeers{LocalPeers: &discovery.LocalPeerQuery{}}})
		}},
	}
}

func (r *recorder) discover(do string, by *identity.Identity, query *discovery.Query) *discovery.QueryResult {
	r.Helper()
	creator, err := by.Serialized()
	ok(r.T, err)
	raw := encode(r.T, &discovery.Request{Authentication: &discovery.AuthInfo{ClientIdentity: creator}, Queries: []*discovery.Query{query}})
	signature, err := by.Sign(raw)
	ok(r.T, err)
	answer, err := discovery.NewDiscoveryClient(r.conn(r.peerA)).Discover(r.ctx(), &discovery.SignedRequest{Payload: raw, Signature: signature})
	note := r.note(step{Do: do})
	note.failed(err)
	if len(answer.GetResults()) == 0 {
		return nil
	}
	result := answer.GetResults()[0]
	if said := result.GetError().GetContent(); said != "" {
		note.say(said)
	}
	return result
}

func (r *recorder) discoverEndorsers(calls []*pb.ChaincodeCall) {
	r.Helper()
	var names []string
	for _, c := range calls {
		names = append(names, c.GetName())
	}
	query := &discovery.ChaincodeQuery{Interests: []*pb.ChaincodeInterest{{Chaincodes: calls}}}
	answer := r.discover("endorsers of "+strings.Join(names, ", "), r.clientA, &discovery.Query{Channel: trade, Query: &discovery.Query_CcQuery{CcQuery: query}})
	for _, d := range answer.GetCcQueryRes().GetContent() {
		groups := map[string]any{}
		for name, peers := range d.GetEndorsersByGroups() {
			var orgs []string
			for _, p := range peers.GetPeers() {
				var id mspproto.SerializedIdentity
				decode(r.T, p.GetIdentity(), &id)
				orgs = append(orgs, id.GetMspid())
			}
			groups[name] = sorted(orgs)
		}
		var layouts []string
		for _, layout := range d.GetLayouts() {
			var parts []string
			for name, quantity := range layout.GetQuantitiesByGroup() {
				group, _ := groups[name].([]string)
				parts = append(parts, strings.Join(group, "|")+strings.Repeat(" +", int(quantity)))
			}
			layouts = append(layouts, strings.Join(sorted(parts), " and "))
		}
		r.steps[len(r.steps)-1].fact("layouts", sorted(layouts)).fact("contract", d.GetChaincode())
	}
}

// secrets are private data.
func secrets() []scenario {
	put := func(r *recorder, by *identity.Identity, collection, key, value string) (*sealed, []*pb.ProposalResponse) {
		d := newDraft(r.T, by, trade, "vault", "putPrivate", collection, key)
		d.transient = map[string][]byte{"value": []byte(value)}
		s := d.seal(r.T)
		return s, []*pb.ProposalResponse{r.propose("put into "+collection, r.peerA, s)}
	}
	commit := func(r *recorder, s *sealed, answers []*pb.ProposalResponse) {
		if answers[0].GetEndorsement() != nil {
			r.commit(s.transaction(answers...).envelope(r.T))
		}
	}
	read := func(r *recorder, function, collection, key string) {
		for _, c := range []struct {
			by *identity.Identity
			at int
		}{{r.clientA, 0}, {r.clientB, 1}, {r.clientB, 0}} {
			s := newDraft(r.T, c.by, trade, "vault", function, collection, key).seal(r.T)
			r.propose(function+" by "+c.by.MspID()+" at "+r.Peers[c.at].Org.Name, r.Peers[c.at], s)
		}
	}
	return []scenario{
		{name: "private-data", run: func(r *recorder) {
			s, answers := put(r, r.clientA, "ours", "a", "secret")
			commit(r, s, answers)
			read(r, "getPrivate", "ours", "a")
			read(r, "hashPrivate", "ours", "a")
			read(r, "getPrivate", "ours", "none")
			r.ask(r.clientA, trade, "vault", "rangePrivate", "ours", "a", "b") // other cases have keys in the collection
		}},
		{name: "private-data-of-one", run: func(r *recorder) {
			s, answers := put(r, r.clientA, "mine", "a", "secret")
			commit(r, s, answers)
			read(r, "getPrivate", "mine", "a")
			read(r, "hashPrivate", "mine", "a")
			put(r, r.clientB, "mine", "b", "not a member's")
		}},
		{name: "private-data-deleted", run: func(r *recorder) {
			r.quietly(func() { s, answers := put(r, r.clientA, "ours", r.key("a"), "secret"); commit(r, s, answers) })
			s, answers := r.invoke(r.clientA, trade, "vault", "delPrivate", "ours", r.key("a"))
			commit(r, s, answers[:1])
			read(r, "getPrivate", "ours", r.key("a"))
			read(r, "hashPrivate", "ours", r.key("a"))
		}},
		{name: "private-data-purged", run: func(r *recorder) {
			r.quietly(func() { s, answers := put(r, r.clientA, "ours", r.key("a"), "secret"); commit(r, s, answers) })
			s, answers := r.invoke(r.clientA, trade, "vault", "purgePrivate", "ours", r.key("a"))
			commit(r, s, answers[:1])
			read(r, "getPrivate", "ours", r.key("a"))
		}},
		{name: "private-data-conflict", run: func(r *recorder) {
			d := newDraft(r.T, r.clientA, trade, "vault", "hashPrivate", "ours", r.key("a"))
			s, answers := r.invokeDraft(d)
			r.quietly(func() { other, first := put(r, r.clientA, "ours", r.key("a"), "secret"); commit(r, other, first) })
			commit(r, s, answers)
		}},
		{name: "private-data-of-unknown-collection", run: func(r *recorder) {
			put(r, r.clientA, "none", "a", "secret")
			r.ask(r.clientA, trade, "vault", "getPrivate", "none", "a")
			r.ask(r.clientA, trade, "vault", "getPrivate", "", "a")
			r.ask(r.clientA, trade, "probe", "getPrivate", "mine", "a")
		}},
		{name: "private-data-of-own-organisation", run: func(r *recorder) {
			s, answers := put(r, r.clientA, "_implicit_org_bankaMSP", "a", "secret")
			commit(r, s, answers)
			read(r, "getPrivate", "_implicit_org_bankaMSP", "a")
			read(r, "hashPrivate", "_implicit_org_bankaMSP", "a")
		}},
	}
}

// keyPolicies are endorsement policies of single keys.
func keyPolicies() []scenario {
	set := func(r *recorder, orgs ...string) {
		s, answers := r.invoke(r.clientA, trade, "solo", append([]string{"setPolicy", r.key("a")}, orgs...)...)
		r.commit(s.transaction(answers...).envelope(r.T))
	}
	put := func(r *recorder, value string, endorsers ...int) {
		s, answers := r.invoke(r.clientA, trade, "solo", "put", r.key("a"), value)
		var chosen []*pb.ProposalResponse
		for _, i := range endorsers {
			chosen = append(chosen, answers[i])
		}
		r.commit(s.transaction(chosen...).envelope(r.T))
	}
	return []scenario{
		{name: "key-policy", run: func(r *recorder) {
			put(r, "1", 0)
			set(r, "bankbMSP")
			r.ask(r.clientA, trade, "solo", "getPolicy", r.key("a"))
			put(r, "2", 0)
			put(r, "3", 1)
			r.ask(r.clientA, trade, "solo", "get", r.key("a"))
		}},
		{name: "key-policy-of-both", run: func(r *recorder) {
			put(r, "1", 0)
			set(r, "bankaMSP", "bankbMSP")
			put(r, "2", 1)
			put(r, "3", 0, 1)
			r.ask(r.clientA, trade, "solo", "get", r.key("a"))
		}},
		{name: "key-policy-changes-hands", run: func(r *recorder) {
			put(r, "1", 0)
			set(r, "bankbMSP")
			s, answers := r.invoke(r.clientA, trade, "solo", "setPolicy", r.key("a"), "bankaMSP")
			r.commit(s.transaction(answers[0]).envelope(r.T))
			s, answers = r.invoke(r.clientA, trade, "solo", "setPolicy", r.key("a"), "bankaMSP")
			r.commit(s.transaction(answers[1]).envelope(r.T))
			put(r, "2", 0)
		}},
		forged("garbage-in-key-metadata", func(_ *recorder, _ *pb.ChaincodeAction, set *rwset.TxReadWriteSet) {
			set.NsRwset[len(set.NsRwset)-1].CollectionHashedRwset = []*rwset.CollectionHashedReadWriteSet{{CollectionName: "none", HashedRwset: []byte("garbage")}}
		}),
	}
}
