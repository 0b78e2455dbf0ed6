package differential

import (
	cb "github.com/hyperledger/fabric-protos-go-apiv2/common"
	"github.com/hyperledger/fabric-protos-go-apiv2/ledger/rwset"
	"github.com/hyperledger/fabric-protos-go-apiv2/ledger/rwset/kvrwset"
	pb "github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"google.golang.org/protobuf/proto"

	"heddle.dev/heddle/internal/fabric/identity"
)

// endorsed is a transaction that both peers have endorsed; its making is not
// noted.
func (r *recorder) endorsed(args ...string) (*sealed, []*pb.ProposalResponse) {
	r.Helper()
	var s *sealed
	var answers []*pb.ProposalResponse
	r.quietly(func() { s, answers = r.invoke(r.clientA, trade, "probe", args...) })
	if len(answers) != 2 || answers[0].GetEndorsement() == nil || answers[1].GetEndorsement() == nil {
		r.Fatalf("not endorsed: %v", answers)
	}
	return s, answers
}

// bent is a case that bends an endorsed transaction.
func bent(name string, bend func(r *recorder, tx *transaction)) scenario {
	return scenario{name: name, run: func(r *recorder) {
		s, answers := r.endorsed("put", r.key("a"), "1")
		tx := s.transaction(answers...)
		bend(r, tx)
		r.commit(tx.envelope(r.T))
		r.ask(r.clientA, trade, "probe", "get", r.key("a"))
	}}
}

// header bends the channel header of a transaction.
func (x *transaction) bendHeader(r *recorder, bend func(*cb.ChannelHeader)) {
	var header cb.ChannelHeader
	decode(r.T, x.header.GetChannelHeader(), &header)
	bend(&header)
	x.header.ChannelHeader = encode(r.T, &header)
}

// verdicts are transactions that peers find invalid.
func verdicts() []scenario {
	return []scenario{
		{name: "mvcc-read-conflict", run: func(r *recorder) {
			one, first := r.endorsed("update", r.key("a"), "1")
			two, second := r.endorsed("update", r.key("a"), "2")
			r.commit(one.transaction(first...).envelope(r.T))
			r.commit(two.transaction(second...).envelope(r.T))
			r.ask(r.clientA, trade, "probe", "get", r.key("a"))
		}},
		{name: "mvcc-in-one-block", run: func(r *recorder) {
			one, first := r.endorsed("update", r.key("a"), "1")
			two, second := r.endorsed("update", r.key("a"), "2")
			x, y := one.transaction(first...).envelope(r.T), two.transaction(second...).envelope(r.T)
			r.broadcast("broadcast the first", x)
			r.broadcast("broadcast the second", y)
			r.judged(x)
			r.judged(y)
		}},
		{name: "phantom-read-conflict", run: func(r *recorder) {
			r.quietly(func() { r.transact(r.clientA, "probe", "fill", r.key("k"), "3") })
			s, answers := r.endorsed("rangeThenPut", r.key("k"), r.key("l"), r.key("count"))
			r.quietly(func() { r.transact(r.clientA, "probe", "put", r.key("k9"), "new") })
			r.commit(s.transaction(answers...).envelope(r.T))
			r.ask(r.clientA, trade, "probe", "get", r.key("count"))
		}},
		{name: "phantom-of-deleted-key", run: func(r *recorder) {
			r.quietly(func() { r.transact(r.clientA, "probe", "fill", r.key("k"), "3") })
			s, answers := r.endorsed("rangeThenPut", r.key("k"), r.key("l"), r.key("count"))
			r.quietly(func() { r.transact(r.clientA, "probe", "del", r.key("k1")) })
			r.commit(s.transaction(answers...).envelope(r.T))
		}},
		{name: "no-phantom-beyond-what-was-read", run: func(r *recorder) {
			r.quietly(func() { r.transact(r.clientA, "probe", "fill", r.key("k"), "3") })
			s, answers := r.endorsed("first", r.key("k"), r.key("l"))
			r.quietly(func() { r.transact(r.clientA, "probe", "put", r.key("k9"), "new") })
			r.commit(s.transaction(answers...).envelope(r.T))
		}},
		{name: "duplicate-txid", run: func(r *recorder) {
			s, answers := r.endorsed("put", r.key("a"), "1")
			r.commit(s.transaction(answers...).envelope(r.T))
			r.commit(s.transaction(answers...).envelope(r.T))
		}},
		{name: "duplicate-txid-in-one-block", run: func(r *recorder) {
			s, answers := r.endorsed("put", r.key("a"), "1")
			x, y := s.transaction(answers...).envelope(r.T), s.transaction(answers...).envelope(r.T)
			r.broadcast("broadcast the first", x)
			r.broadcast("broadcast the second", y)
			r.judged(x)
			r.judged(y)
		}},
		bent("bad-proposal-txid", func(r *recorder, tx *transaction) {
			tx.bendHeader(r, func(h *cb.ChannelHeader) { h.TxId = "0123456789abcdef" + h.GetTxId()[16:] })
		}),
		bent("no-txid", func(r *recorder, tx *transaction) { tx.bendHeader(r, func(h *cb.ChannelHeader) { h.TxId = "" }) }),
		bent("one-endorsement-of-two", func(_ *recorder, tx *transaction) { tx.endorsements = tx.endorsements[:1] }),
		bent("no-endorsement", func(_ *recorder, tx *transaction) { tx.endorsements = nil }),
		bent("same-endorsement-twice", func(_ *recorder, tx *transaction) { tx.endorsements[1] = tx.endorsements[0] }),
		bent("endorsement-with-wrong-signature", func(_ *recorder, tx *transaction) {
			tx.endorsements[1] = proto.CloneOf(tx.endorsements[1])
			tx.endorsements[1].Signature = tx.endorsements[0].GetSignature()
		}),
		bent("endorsed-by-clients", func(r *recorder, tx *transaction) {
			tx.endorsements = []*pb.Endorsement{endorse(r.T, r.clientA, tx.result), endorse(r.T, r.clientB, tx.result)}
		}),
		bent("endorsed-by-admins", func(r *recorder, tx *transaction) {
			tx.endorsements = []*pb.Endorsement{endorse(r.T, r.adminA, tx.result), endorse(r.T, r.adminB, tx.result)}
		}),
		bent("endorsed-by-stranger", func(r *recorder, tx *transaction) {
			tx.endorsements = []*pb.Endorsement{tx.endorsements[0], endorse(r.T, r.stranger, tx.result)}
		}),
		bent("endorsement-more-than-needed", func(r *recorder, tx *transaction) {
			tx.endorsements = append(tx.endorsements, endorse(r.T, r.stranger, tx.result))
		}),
		bent("wrong-header-type", func(r *recorder, tx *transaction) {
			tx.bendHeader(r, func(h *cb.ChannelHeader) { h.Type = int32(cb.HeaderType_MESSAGE) })
		}),
		bent("config-update-of-a-transaction", func(r *recorder, tx *transaction) {
			tx.bendHeader(r, func(h *cb.ChannelHeader) { h.Type = int32(cb.HeaderType_CONFIG_UPDATE) })
		}),
		bent("epoch", func(r *recorder, tx *transaction) { tx.bendHeader(r, func(h *cb.ChannelHeader) { h.Epoch = 1 }) }),
		bent("no-extension", func(r *recorder, tx *transaction) { tx.bendHeader(r, func(h *cb.ChannelHeader) { h.Extension = nil }) }),
		bent("two-actions", func(_ *recorder, tx *transaction) { tx.copies = 2 }),
		bent("other-proposal", func(_ *recorder, tx *transaction) { tx.payload = append([]byte{}, tx.payload[:len(tx.payload)-1]...) }),
		bent("other-submitter", func(r *recorder, tx *transaction) {
			creator, err := r.clientB.SignatureHeader()
			ok(r.T, err)
			tx.by, tx.header.SignatureHeader = r.clientB, encode(r.T, creator)
		}),
	}
}

// forged is a case in which both peers' keys endorse what no peer would.
func forged(name string, bend func(r *recorder, action *pb.ChaincodeAction, set *rwset.TxReadWriteSet)) scenario {
	return bent(name, func(r *recorder, tx *transaction) {
		var result pb.ProposalResponsePayload
		var action pb.ChaincodeAction
		var set rwset.TxReadWriteSet
		decode(r.T, tx.result, &result)
		decode(r.T, result.GetExtension(), &action)
		decode(r.T, action.GetResults(), &set)
		action.Results = nil
		bend(r, &action, &set)
		if action.Results == nil {
			action.Results = encode(r.T, &set)
		}
		result.Extension = encode(r.T, &action)
		tx.result = encode(r.T, &result)
		r.sign(tx, r.idA, r.idB)
	})
}

func (r *recorder) sign(tx *transaction, by ...*identity.Identity) {
	tx.endorsements = nil
	for _, id := range by {
		tx.endorsements = append(tx.endorsements, endorse(r.T, id, tx.result))
	}
}

// namespace adds writes of one key to a set.
func (r *recorder) namespace(set *rwset.TxReadWriteSet, name, key string) {
	kv := &kvrwset.KVRWSet{Writes: []*kvrwset.KVWrite{{Key: key, Value: []byte("forged")}}}
	set.NsRwset = append(set.NsRwset, &rwset.NsReadWriteSet{Namespace: name, Rwset: encode(r.T, kv)})
}

// forgeries are transactions that honest peers would not endorse.
func forgeries() []scenario {
	return []scenario{
		forged("forged-honestly", func(*recorder, *pb.ChaincodeAction, *rwset.TxReadWriteSet) {}),
		forged("garbage-rwset", func(_ *recorder, action *pb.ChaincodeAction, _ *rwset.TxReadWriteSet) {
			action.Results = []byte("garbage")
		}),
		forged("garbage-inner-rwset", func(_ *recorder, _ *pb.ChaincodeAction, set *rwset.TxReadWriteSet) {
			set.NsRwset[0].Rwset = []byte("garbage")
		}),
		forged("namespace-twice", func(r *recorder, _ *pb.ChaincodeAction, set *rwset.TxReadWriteSet) {
			r.namespace(set, "probe", r.key("b"))
			r.namespace(set, "probe", r.key("c"))
		}),
		forged("write-to-other-contract", func(r *recorder, _ *pb.ChaincodeAction, set *rwset.TxReadWriteSet) {
			r.namespace(set, "other", r.key("b"))
		}),
		forged("write-to-ghost", func(r *recorder, _ *pb.ChaincodeAction, set *rwset.TxReadWriteSet) {
			r.namespace(set, "ghost", r.key("b"))
		}),
		forged("write-to-lifecycle", func(r *recorder, _ *pb.ChaincodeAction, set *rwset.TxReadWriteSet) {
			r.namespace(set, "_lifecycle", r.key("b"))
		}),
		forged("write-to-lscc", func(r *recorder, _ *pb.ChaincodeAction, set *rwset.TxReadWriteSet) {
			r.namespace(set, "lscc", r.key("b"))
		}),
		forged("write-to-unknown-contract", func(r *recorder, _ *pb.ChaincodeAction, set *rwset.TxReadWriteSet) {
			r.namespace(set, "unknown", r.key("b"))
		}),
		forged("write-to-empty-key", func(r *recorder, _ *pb.ChaincodeAction, set *rwset.TxReadWriteSet) { r.namespace(set, "other", "") }),
		forged("inconsistent-contract", func(_ *recorder, action *pb.ChaincodeAction, _ *rwset.TxReadWriteSet) {
			action.ChaincodeId.Name = "other"
		}),
		forged("no-contract", func(_ *recorder, action *pb.ChaincodeAction, _ *rwset.TxReadWriteSet) { action.ChaincodeId = nil }),
		forged("no-version", func(_ *recorder, action *pb.ChaincodeAction, _ *rwset.TxReadWriteSet) {
			action.ChaincodeId.Version = ""
		}),
		forged("other-version", func(_ *recorder, action *pb.ChaincodeAction, _ *rwset.TxReadWriteSet) {
			action.ChaincodeId.Version = "17"
		}),
		forged("event-of-other-contract", func(r *recorder, action *pb.ChaincodeAction, _ *rwset.TxReadWriteSet) {
			action.Events = encode(r.T, &pb.ChaincodeEvent{ChaincodeId: "other", EventName: "Forged"})
		}),
		forged("garbage-event", func(_ *recorder, action *pb.ChaincodeAction, _ *rwset.TxReadWriteSet) {
			action.Events = []byte("garbage")
		}),
		forged("failed-response", func(_ *recorder, action *pb.ChaincodeAction, _ *rwset.TxReadWriteSet) {
			action.Response = &pb.Response{Status: 500, Message: "failed"}
		}),
		forged("read-of-a-version-that-never-was", func(r *recorder, _ *pb.ChaincodeAction, set *rwset.TxReadWriteSet) {
			kv := &kvrwset.KVRWSet{Reads: []*kvrwset.KVRead{{Key: r.key("none"), Version: &kvrwset.Version{BlockNum: 1}}}}
			set.NsRwset = append(set.NsRwset, &rwset.NsReadWriteSet{Namespace: "other", Rwset: encode(r.T, kv)})
		}),
		{name: "unknown-contract-in-transaction", run: func(r *recorder) {
			s := newDraft(r.T, r.clientA, trade, "unknown", "put", "a", "1").seal(r.T)
			set := &rwset.TxReadWriteSet{}
			r.namespace(set, "unknown", "a")
			r.forgeWhole(s, &pb.ChaincodeAction{
				ChaincodeId: &pb.ChaincodeID{Name: "unknown", Version: "1"}, Results: encode(r.T, set), Response: &pb.Response{Status: 200},
			})
		}},
		{name: "system-contract-in-transaction", run: func(r *recorder) {
			s := newDraft(r.T, r.clientA, trade, "qscc", "GetChainInfo", trade).seal(r.T)
			r.forgeWhole(s, &pb.ChaincodeAction{
				ChaincodeId: &pb.ChaincodeID{Name: "qscc", Version: "syscc"}, Results: encode(r.T, &rwset.TxReadWriteSet{}), Response: &pb.Response{Status: 200},
			})
		}},
		{name: "no-nonce", run: func(r *recorder) {
			d := newDraft(r.T, r.clientA, trade, "probe", "put", r.key("a"), "1")
			d.creator.Nonce = nil
			set := &rwset.TxReadWriteSet{}
			r.namespace(set, "probe", r.key("a"))
			r.forgeWhole(d.seal(r.T), &pb.ChaincodeAction{
				ChaincodeId: &pb.ChaincodeID{Name: "probe", Version: "1"}, Results: encode(r.T, set), Response: &pb.Response{Status: 200},
			})
		}},
		{name: "stream-of-broadcasts", run: streamOfBroadcasts},
	}
}

func (r *recorder) forgeWhole(s *sealed, action *pb.ChaincodeAction) {
	r.Helper()
	tx := s.transaction()
	tx.result = encode(r.T, &pb.ProposalResponsePayload{ProposalHash: s.hash(), Extension: encode(r.T, action)})
	r.sign(tx, r.idA, r.idB)
	r.commit(tx.envelope(r.T))
}

// disruptive are cases that others would notice: most are transactions that
// cannot be read to their end.
func disruptive() []scenario {
	return alone(
		scenario{name: "config-update", run: configUpdate},
		bent("garbage-data", func(_ *recorder, tx *transaction) { tx.data = []byte("garbage") }),
		bent("no-data", func(_ *recorder, tx *transaction) { tx.data = []byte{} }),
		bent("no-action", func(_ *recorder, tx *transaction) { tx.copies = 0 }),
		bent("garbage-result", func(_ *recorder, tx *transaction) { tx.result = []byte("garbage") }),
		scenario{name: "garbage-action", run: func(r *recorder) {
			s, answers := r.endorsed("put", r.key("a"), "1")
			tx := s.transaction(answers...)
			tx.result = encode(r.T, &pb.ProposalResponsePayload{ProposalHash: s.hash(), Extension: []byte("garbage")})
			r.sign(tx, r.idA, r.idB)
			r.commit(tx.envelope(r.T))
		}},
		scenario{name: "who-may-broadcast", run: func(r *recorder) {
			for _, c := range r.callers() {
				envelope, err := c.id.Envelope(&cb.ChannelHeader{Type: int32(cb.HeaderType_ENDORSER_TRANSACTION), ChannelId: trade}, &pb.Transaction{})
				ok(r.T, err)
				r.commit(envelope)
			}
		}},
		scenario{name: "envelopes-of-other-types", run: func(r *recorder) {
			for _, kind := range []cb.HeaderType{cb.HeaderType_CONFIG, 4, cb.HeaderType_CONFIG_UPDATE, cb.HeaderType_DELIVER_SEEK_INFO, 99} {
				envelope, err := r.clientA.Envelope(&cb.ChannelHeader{Type: int32(kind), ChannelId: trade}, &pb.Transaction{})
				ok(r.T, err)
				r.note(step{Do: "type " + kind.String()})
				r.commit(envelope)
			}
		}},
	)
}
