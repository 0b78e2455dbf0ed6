package differential

import (
	"time"

	cb "github.com/hyperledger/fabric-protos-go-apiv2/common"
	ab "github.com/hyperledger/fabric-protos-go-apiv2/orderer"
	pb "github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"google.golang.org/protobuf/types/known/timestamppb"

	"heddle.dev/heddle/internal/fabric/channelconfig"
	"heddle.dev/heddle/internal/fabric/identity"
)

// caller is somebody who may or may not do something.
type caller struct {
	name string
	id   *identity.Identity
}

// callers are all who are not simply a client of banka.
func (r *recorder) callers() []caller {
	r.Helper()
	if r.revoked == nil {
		r.Fatal("there is no revoked identity")
	}
	return []caller{
		{"client of the orderers", r.clientOrd},
		{"stranger", r.stranger},
		{"impostor", r.impostor},
		{"revoked", r.revoked},
		{"expired", r.expired},
		{"peer", r.idB},
		{"administrator", r.adminB},
	}
}

// denials ask for what not everybody may have.
func denials() []scenario {
	return []scenario{
		{name: "who-may-propose", run: func(r *recorder) {
			for _, c := range r.callers() {
				r.propose(c.name, r.peerA, newDraft(r.T, c.id, trade, "probe", "echo").seal(r.T))
			}
		}},
		{name: "who-may-follow-blocks", run: func(r *recorder) {
			for _, c := range r.callers() {
				r.deliver(c.name, peerBlocks, c.id, seekHeader(trade, time.Now()), seekOne(0))
			}
		}},
		{name: "who-may-follow-filtered-blocks", run: func(r *recorder) {
			for _, c := range r.callers() {
				r.deliver(c.name, peerFiltered, c.id, seekHeader(trade, time.Now()), seekOne(0))
			}
		}},
		{name: "who-may-follow-private-data", run: func(r *recorder) {
			for _, c := range r.callers() {
				r.deliver(c.name, peerPrivate, c.id, seekHeader(trade, time.Now()), seekOne(0))
			}
		}},
		{name: "who-may-read-from-orderers", run: func(r *recorder) {
			for _, c := range r.callers() {
				r.deliver(c.name, ordererBlocks, c.id, seekHeader(trade, time.Now()), seekOne(0))
			}
		}},
		{name: "who-may-ask-for-the-ledger", run: func(r *recorder) {
			for _, c := range r.callers() {
				r.propose(c.name, r.peerA, newDraft(r.T, c.id, trade, "qscc", "GetBlockByNumber", trade, "9999999").seal(r.T))
			}
		}},
		{name: "who-may-install", run: func(r *recorder) {
			for _, c := range append(r.callers(), caller{"client of the peer's organisation", r.clientA}, caller{"administrator of the peer's organisation", r.adminA}) {
				r.propose(c.name, r.peerA, r.lifecycle(c.id, "", "InstallChaincode", installArgs([]byte("garbage"))).seal(r.T))
			}
		}},
		{name: "who-may-list-installed", run: func(r *recorder) {
			for _, c := range append(r.callers(), caller{"client of the peer's organisation", r.clientA}) {
				r.propose(c.name, r.peerA, r.lifecycle(c.id, "", "QueryInstalledChaincode", installedArgs("none:00")).seal(r.T))
			}
		}},
		{name: "who-may-approve", run: func(r *recorder) {
			for _, c := range append(r.callers(), caller{"client of the peer's organisation", r.clientA}, caller{"administrator of the peer's organisation", r.adminA}) {
				r.propose(c.name, r.peerA, r.lifecycle(c.id, trade, "ApproveChaincodeDefinitionForMyOrg", approveArgs(r.name, 7)).seal(r.T))
			}
		}},
		{name: "who-may-list-channels", run: func(r *recorder) {
			for _, c := range append(r.callers(), caller{"client of the peer's organisation", r.clientA}, caller{"peer of the peer's organisation", r.idA}) {
				r.hide(r.propose(c.name, r.peerA, newDraft(r.T, c.id, "", "cscc", "GetChannels").seal(r.T)))
			}
		}},
		{name: "who-may-join-channels", run: func(r *recorder) {
			for _, c := range append(r.callers(), caller{"client of the peer's organisation", r.clientA}) {
				r.propose(c.name, r.peerA, newDraft(r.T, c.id, "", "cscc", "JoinChain", "garbage").seal(r.T))
			}
		}},
		{name: "who-may-change-the-channel", run: whoMayChange},
		{name: "acl-override", run: func(r *recorder) {
			for _, c := range []caller{{"client", r.clientA}, {"administrator", r.adminA}} {
				r.propose(c.name+" asks for the height", r.peerA, newDraft(r.T, c.id, side, "qscc", "GetBlockByNumber", side, "0x").seal(r.T))
				r.quietly(func() { r.ask(c.id, side, "qscc", "GetChainInfo", side) })
				r.sideCalls(c)
			}
		}},
		{name: "writers-of-a-channel", run: func(r *recorder) {
			for _, c := range []caller{{"client", r.clientA}, {"administrator", r.adminA}, {"administrator of another organisation", r.adminB}} {
				r.propose(c.name+" proposes", r.peerA, newDraft(r.T, c.id, side, "probe", "echo", "1").seal(r.T))
				envelope, err := c.id.Envelope(&cb.ChannelHeader{Type: int32(cb.HeaderType_ENDORSER_TRANSACTION), ChannelId: side}, &pb.Transaction{})
				ok(r.T, err)
				r.broadcast(c.name+" broadcasts", envelope)
			}
		}},
		{name: "channel-of-others", run: func(r *recorder) {
			// bankb's peer is not part of the channel.
			r.propose("propose", r.peerB, newDraft(r.T, r.adminB, side, "probe", "echo").seal(r.T))
			r.propose("propose to its member", r.peerA, newDraft(r.T, r.clientB, side, "probe", "echo").seal(r.T))
			r.deliver("read blocks", peerBlocks, r.adminB, seekHeader(side, time.Now()), seekOne(0))
			r.deliver("read the orderers' blocks", ordererBlocks, r.adminB, seekHeader(side, time.Now()), seekOne(0))
		}},
	}
}

// sideCalls ask for the resources of the second channel with rules of their own.
func (r *recorder) sideCalls(c caller) {
	r.Helper()
	answer := r.propose(c.name+" asks for chain info", r.peerA, newDraft(r.T, c.id, side, "qscc", "GetChainInfo", side).seal(r.T))
	r.hide(answer)
	answer = r.propose(c.name+" asks for the configuration", r.peerA, newDraft(r.T, c.id, side, "cscc", "GetConfigBlock", side).seal(r.T))
	r.hide(answer)
	r.propose(c.name+" asks for a definition", r.peerA, r.lifecycle(c.id, side, "QueryChaincodeDefinition", definitionArgs("none")).seal(r.T))
	r.deliver(c.name+" follows blocks", peerBlocks, c.id, seekHeader(side, time.Now()), seekOne(0))
	r.deliver(c.name+" follows filtered blocks", peerFiltered, c.id, seekHeader(side, time.Now()), seekOne(0))
}

// hide keeps a payload that varies out of the record; whether there was one
// stays.
func (r *recorder) hide(answer *pb.ProposalResponse) {
	note := r.steps[len(r.steps)-1]
	note.Payload = nil
	if answer.GetResponse().GetStatus() == 200 {
		note.fact("payload is there", len(answer.GetResponse().GetPayload()) > 0)
	}
}

// whoMayChange has different people sign and send a change of the batch size.
func whoMayChange(r *recorder) {
	for _, c := range []struct {
		name    string
		sender  *identity.Identity
		signers []*identity.Identity
	}{
		{"nobody signs", r.OrdererOrg.Admin, nil},
		{"a bank signs", r.OrdererOrg.Admin, []*identity.Identity{r.adminA}},
		{"a client of the orderers signs", r.OrdererOrg.Admin, []*identity.Identity{r.clientOrd}},
		{"a stranger sends", r.stranger, []*identity.Identity{r.OrdererOrg.Admin}},
		{"somebody revoked signs", r.adminA, []*identity.Identity{r.revoked}},
		{"somebody expired sends", r.expired, []*identity.Identity{r.OrdererOrg.Admin}},
	} {
		update := r.batchUpdate(trade, 21)
		for _, signer := range c.signers {
			ok(r.T, update.Sign(signer))
		}
		envelope, err := update.Envelope(c.sender, time.Now())
		ok(r.T, err)
		r.broadcast(c.name, envelope)
	}
}

// batchUpdate is an unsigned update of a channel's batch size.
func (r *recorder) batchUpdate(channel string, size uint32) *channelconfig.Update {
	r.Helper()
	client, err := r.orderer.Client(r.OrdererOrg)
	ok(r.T, err)
	block, err := client.ConfigBlock(r.ctx(), channel)
	ok(r.T, err)
	config, err := channelconfig.Read(block)
	ok(r.T, err)
	wish := config.Channel.Clone()
	wish.Batch.MaxMessages = size
	update, err := config.Update(wish)
	ok(r.T, err)
	return update
}

// envelopes are what an orderer has to refuse.
func envelopes() []scenario {
	plain := func(r *recorder, header *cb.ChannelHeader) *cb.Envelope {
		envelope, err := r.clientA.Envelope(header, &pb.Transaction{})
		ok(r.T, err)
		return envelope
	}
	return []scenario{
		{name: "empty-envelopes", run: func(r *recorder) {
			r.broadcast("nothing", &cb.Envelope{})
			r.broadcast("garbage", &cb.Envelope{Payload: []byte("garbage")})
			r.broadcast("no header", &cb.Envelope{Payload: encode(r.T, &cb.Payload{Data: []byte("data")})})
			r.broadcast("empty header", &cb.Envelope{Payload: encode(r.T, &cb.Payload{Header: &cb.Header{}, Data: []byte("data")})})
			r.broadcast("garbage as channel header", &cb.Envelope{Payload: encode(r.T, &cb.Payload{Header: &cb.Header{ChannelHeader: []byte("garbage")}})})
		}},
		{name: "envelope-for-wrong-channel", run: func(r *recorder) {
			for _, channel := range []string{"", "nowhere", "Not A Name"} {
				r.broadcast("channel "+channel, plain(r, &cb.ChannelHeader{Type: int32(cb.HeaderType_ENDORSER_TRANSACTION), ChannelId: channel}))
			}
		}},
		{name: "envelope-with-wrong-signature", run: func(r *recorder) {
			header := &cb.ChannelHeader{Type: int32(cb.HeaderType_ENDORSER_TRANSACTION), ChannelId: trade}
			envelope := plain(r, header)
			envelope.Signature = nil
			r.broadcast("no signature", envelope)
			envelope = plain(r, header)
			envelope.Signature = plain(r, header).GetSignature()
			r.broadcast("signature of something else", envelope)
			envelope = plain(r, header)
			envelope.Signature = []byte("garbage")
			r.broadcast("garbage as signature", envelope)
			payload := &cb.Payload{Header: &cb.Header{ChannelHeader: encode(r.T, header), SignatureHeader: []byte("garbage")}}
			r.broadcast("garbage as signature header", &cb.Envelope{Payload: encode(r.T, payload), Signature: []byte("x")})
			payload.Header.SignatureHeader = encode(r.T, &cb.SignatureHeader{Creator: []byte("garbage"), Nonce: []byte("n")})
			r.broadcast("garbage as creator", &cb.Envelope{Payload: encode(r.T, payload), Signature: []byte("x")})
			payload.Header.SignatureHeader = nil
			r.broadcast("no signature header", &cb.Envelope{Payload: encode(r.T, payload), Signature: []byte("x")})
		}},
		{name: "envelope-that-is-too-large", run: func(r *recorder) {
			s := newDraft(r.T, r.clientA, trade, "probe", "nothing").seal(r.T)
			tx := s.transaction()
			tx.data = make([]byte, maxBytes+1)
			r.broadcast("broadcast", tx.envelope(r.T))
		}},
		{name: "config-updates-that-are-wrong", run: wrongUpdates},
	}
}

// configUpdate changes the second channel. A real gateway hangs up on other
// organisations' peers over it.
func configUpdate(r *recorder) {
	update := r.batchUpdate(side, 31)
	ok(r.T, update.Sign(r.OrdererOrg.Admin))
	envelope, err := update.Envelope(r.OrdererOrg.Admin, time.Now())
	ok(r.T, err)
	r.broadcast("update", envelope)
	var config *channelconfig.Config
	ok(r.T, eventually(r.ctx(), func() error {
		config, err = r.configOf(side)
		if err == nil && config.Sequence == 0 {
			err = errNotYet
		}
		return err
	}))
	note := r.note(step{Do: "read the configuration"})
	note.fact("sequence", config.Sequence).fact("messages in a block", config.Channel.Batch.MaxMessages)
	r.broadcast("the same again", envelope)
	r.broadcast("a stale one", staleEnvelope(r, update))
}

// staleEnvelope signs an update anew that has been applied already.
func staleEnvelope(r *recorder, update *channelconfig.Update) *cb.Envelope {
	update.Signatures = nil
	ok(r.T, update.Sign(r.OrdererOrg.Admin))
	envelope, err := update.Envelope(r.OrdererOrg.Admin, time.Now())
	ok(r.T, err)
	return envelope
}

func (r *recorder) configOf(channel string) (*channelconfig.Config, error) {
	client, err := r.orderer.Client(r.OrdererOrg)
	if err != nil {
		return nil, err
	}
	block, err := client.ConfigBlock(r.ctx(), channel)
	if err != nil {
		return nil, err
	}
	return channelconfig.Read(block)
}

func wrongUpdates(r *recorder) {
	header := func() *cb.ChannelHeader {
		return &cb.ChannelHeader{Type: int32(cb.HeaderType_CONFIG_UPDATE), ChannelId: trade, Timestamp: timestamppb.Now()}
	}
	send := func(do string, message *cb.ConfigUpdateEnvelope) {
		envelope, err := r.OrdererOrg.Admin.Envelope(header(), message)
		ok(r.T, err)
		r.broadcast(do, envelope)
	}
	send("garbage", &cb.ConfigUpdateEnvelope{ConfigUpdate: []byte("garbage")})
	send("nothing", &cb.ConfigUpdateEnvelope{})
	send("no write set", &cb.ConfigUpdateEnvelope{ConfigUpdate: encode(r.T, &cb.ConfigUpdate{ChannelId: trade})})
	send("other channel", &cb.ConfigUpdateEnvelope{ConfigUpdate: encode(r.T, &cb.ConfigUpdate{
		ChannelId: side, ReadSet: &cb.ConfigGroup{}, WriteSet: &cb.ConfigGroup{},
	})})
	send("no change", &cb.ConfigUpdateEnvelope{ConfigUpdate: encode(r.T, &cb.ConfigUpdate{
		ChannelId: trade, ReadSet: &cb.ConfigGroup{}, WriteSet: &cb.ConfigGroup{},
	})})
	send("wrong version read", &cb.ConfigUpdateEnvelope{ConfigUpdate: encode(r.T, &cb.ConfigUpdate{
		ChannelId: trade, ReadSet: &cb.ConfigGroup{Version: 5}, WriteSet: &cb.ConfigGroup{Version: 5},
	})})
}

// streamOfBroadcasts sends several envelopes on one stream: what is good before
// something bad is taken, and nothing after it.
func streamOfBroadcasts(r *recorder) {
	stream, err := ab.NewAtomicBroadcastClient(r.ordererConn()).Broadcast(r.ctx())
	ok(r.T, err)
	one, first := r.endorsed("put", r.key("a"), "1")
	two, second := r.endorsed("put", r.key("b"), "1")
	for _, envelope := range []*cb.Envelope{one.transaction(first...).envelope(r.T), two.transaction(second...).envelope(r.T), {}} {
		ok(r.T, stream.Send(envelope))
		answer, err := stream.Recv()
		note := r.note(step{Do: "send"})
		note.failed(err)
		note.Answer = answer.GetStatus().String()
	}
	_, err = stream.Recv()
	r.note(step{Do: "receive after a refusal"}).fact("end", errorText(err))
}
