package differential

import (
	cb "github.com/hyperledger/fabric-protos-go-apiv2/common"
	pb "github.com/hyperledger/fabric-protos-go-apiv2/peer"
)

// malformed is a case that bends a proposal.
func malformed(name string, bend func(r *recorder, d *draft)) scenario {
	return scenario{name: "proposal-" + name, run: func(r *recorder) {
		d := newDraft(r.T, r.clientA, trade, "probe", "echo", "1")
		bend(r, d)
		r.propose("propose", r.peerA, d.seal(r.T))
	}}
}

// proposals are those that a peer has to refuse.
func proposals() []scenario {
	return []scenario{
		{name: "proposal-empty", run: func(r *recorder) {
			r.propose("nothing", r.peerA, &sealed{signed: &pb.SignedProposal{}})
			r.propose("garbage", r.peerA, &sealed{signed: &pb.SignedProposal{ProposalBytes: []byte("garbage"), Signature: []byte("x")}})
			r.propose("empty proposal", r.peerA, &sealed{signed: &pb.SignedProposal{ProposalBytes: encode(r.T, &pb.Proposal{Header: []byte{}})}})
		}},
		malformed("garbage-header", func(_ *recorder, d *draft) { d.rawHeader = []byte("garbage") }),
		malformed("no-header", func(_ *recorder, d *draft) { d.rawHeader = []byte{} }),
		malformed("garbage-channel-header", func(_ *recorder, d *draft) { d.rawChannel = []byte("garbage") }),
		malformed("garbage-signature-header", func(_ *recorder, d *draft) { d.rawCreator = []byte("garbage") }),
		malformed("garbage-payload", func(_ *recorder, d *draft) { d.rawPayload = []byte("garbage") }),
		malformed("empty-payload", func(_ *recorder, d *draft) { d.rawPayload = []byte{} }),
		malformed("of-type-message", func(_ *recorder, d *draft) { d.header.Type = int32(cb.HeaderType_MESSAGE) }),
		malformed("of-type-config", func(_ *recorder, d *draft) { d.header.Type = int32(cb.HeaderType_CONFIG) }),
		malformed("with-epoch", func(_ *recorder, d *draft) { d.header.Epoch = 3 }),
		malformed("without-txid", func(_ *recorder, d *draft) { d.keepTxID = true }),
		malformed("with-wrong-txid", func(r *recorder, d *draft) {
			d.keepTxID = true
			d.header.TxId = txIDOf(&cb.SignatureHeader{Nonce: []byte("other")})
		}),
		malformed("without-nonce", func(_ *recorder, d *draft) { d.creator.Nonce = nil }),
		malformed("without-creator", func(_ *recorder, d *draft) { d.creator.Creator = nil }),
		malformed("with-garbage-creator", func(_ *recorder, d *draft) { d.creator.Creator = []byte("garbage") }),
		malformed("without-extension", func(_ *recorder, d *draft) { d.extension = nil }),
		malformed("with-garbage-extension", func(_ *recorder, d *draft) { d.header.Extension = []byte("garbage") }),
		malformed("without-contract", func(_ *recorder, d *draft) { d.extension.ChaincodeId = &pb.ChaincodeID{} }),
		malformed("for-two-contracts", func(r *recorder, d *draft) {
			d.header.Extension = encode(r.T, &pb.ChaincodeHeaderExtension{ChaincodeId: &pb.ChaincodeID{Name: "other"}})
		}),
		malformed("without-spec", func(_ *recorder, d *draft) { d.spec = &pb.ChaincodeInvocationSpec{} }),
		malformed("without-input", func(_ *recorder, d *draft) { d.spec.ChaincodeSpec.Input = nil }),
		malformed("without-arguments", func(_ *recorder, d *draft) { d.spec.ChaincodeSpec.Input.Args = nil }),
		malformed("with-version", func(_ *recorder, d *draft) { d.extension.ChaincodeId.Version = "17" }),
		malformed("without-time", func(_ *recorder, d *draft) { d.header.Timestamp = nil }),
		malformed("for-unknown-channel", func(_ *recorder, d *draft) { d.header.ChannelId = "nowhere" }),
		malformed("for-no-channel", func(_ *recorder, d *draft) { d.header.ChannelId = "" }),
		malformed("with-bound-certificate", func(_ *recorder, d *draft) { d.header.TlsCertHash = []byte("whatever") }),
		malformed("without-signature", func(_ *recorder, d *draft) { d.signature = []byte{} }),
		malformed("with-garbage-signature", func(_ *recorder, d *draft) { d.signature = []byte("garbage") }),
		malformed("signed-by-another", func(r *recorder, d *draft) { d.by = r.clientB }),
		{name: "proposal-again", run: func(r *recorder) {
			// The same transaction id twice: refused once it is on the ledger.
			s, answers := r.endorsed("put", r.key("a"), "1")
			r.propose("before it is committed", r.peerA, s)
			r.commit(s.transaction(answers...).envelope(r.T))
			r.propose("after it is committed", r.peerA, s)
		}},
		{name: "proposal-for-unknown-contract", run: func(r *recorder) {
			for _, name := range []string{"unknown", "Not A Name!", "lscc", "vscc", "escc", "empty"} {
				r.ask(r.clientA, trade, name, "echo")
			}
		}},
	}
}
