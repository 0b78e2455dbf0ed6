package differential

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/hyperledger/fabric-gateway/pkg/client"
	"github.com/hyperledger/fabric-gateway/pkg/hash"
	cb "github.com/hyperledger/fabric-protos-go-apiv2/common"
	mspproto "github.com/hyperledger/fabric-protos-go-apiv2/msp"
	ab "github.com/hyperledger/fabric-protos-go-apiv2/orderer"
	pb "github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"heddle.dev/heddle/internal/fabric/identity"
	"heddle.dev/heddle/internal/pki"
	"heddle.dev/heddle/test/bare"
)

// patience is how long one thing may take.
const patience = 15 * time.Second

// recorder does what a case asks for and notes what came of it.
type recorder struct {
	*testing.T
	*lab
	name  string
	steps []*step
}

// key is a key of this case's own.
func (r *recorder) key(name string) string { return r.name + "/" + name }

func (r *recorder) ctx() context.Context {
	ctx, cancel := context.WithTimeout(r.Context(), patience)
	r.Cleanup(cancel)
	return ctx
}

func (r *recorder) note(s step) *step {
	r.steps = append(r.steps, &s)
	return &s
}

// fact adds something to compare to a step.
func (s *step) fact(name string, value any) *step {
	if s.Facts == nil {
		s.Facts = map[string]any{}
	}
	s.Facts[name] = value
	return s
}

func (r *recorder) conn(p *bare.Peer) *grpc.ClientConn {
	r.Helper()
	conn, err := p.Target().Connect()
	ok(r.T, err)
	r.Cleanup(func() { conn.Close() })
	return conn
}

func (r *recorder) ordererConn() *grpc.ClientConn {
	r.Helper()
	conn, err := r.orderer.Target().Connect()
	ok(r.T, err)
	r.Cleanup(func() { conn.Close() })
	return conn
}

// propose hands a proposal to one peer.
func (r *recorder) propose(do string, p *bare.Peer, s *sealed) *pb.ProposalResponse {
	r.Helper()
	answer, err := pb.NewEndorserClient(r.conn(p)).ProcessProposal(r.ctx(), s.signed)
	note := r.note(step{Do: do})
	note.failed(err)
	if err != nil {
		return nil
	}
	note.Status = answer.GetResponse().GetStatus()
	if text := answer.GetResponse().GetMessage(); text != "" {
		note.say(text)
	}
	note.Payload = payload(answer.GetResponse().GetPayload())
	if len(answer.GetPayload()) > 0 {
		r.endorsement(note, p, s, answer)
	}
	return answer
}

// endorsement notes what was endorsed and checks the endorsement.
func (r *recorder) endorsement(note *step, p *bare.Peer, s *sealed, answer *pb.ProposalResponse) {
	r.Helper()
	var result pb.ProposalResponsePayload
	decode(r.T, answer.GetPayload(), &result)
	if !bytes.Equal(result.GetProposalHash(), s.hash()) {
		note.fact("proposal hash", "wrong")
	}
	var action pb.ChaincodeAction
	decode(r.T, result.GetExtension(), &action)
	if !proto.Equal(action.GetResponse(), answer.GetResponse()) {
		note.fact("response that was endorsed", message(action.GetResponse()))
	}
	note.Contract = action.GetChaincodeId().GetName() + " " + action.GetChaincodeId().GetVersion()
	note.RWSet = readable(r.T, action.GetResults())
	if len(action.GetEvents()) > 0 {
		var event pb.ChaincodeEvent
		decode(r.T, action.GetEvents(), &event)
		note.Event = map[string]any{
			"contract": event.GetChaincodeId(), "name": event.GetEventName(), "payload": payload(event.GetPayload()), "right txID": event.GetTxId() == s.txID,
		}
	}
	e := answer.GetEndorsement()
	if e == nil {
		note.fact("endorsed", false)
		return
	}
	var endorser mspproto.SerializedIdentity
	decode(r.T, e.GetEndorser(), &endorser)
	cert, err := pki.ParseCert(endorser.GetIdBytes())
	ok(r.T, err)
	// Nodes may rewrite the signature in a certificate, to the lower of its two forms: the key tells.
	if endorser.GetMspid() != p.Org.MSPID || !pki.SameKey(cert, p.Leaf.Key) {
		note.fact("endorser", endorser.GetMspid()+" "+cert.Subject.CommonName)
	}
	if !verified(cert, append(append([]byte{}, answer.GetPayload()...), e.GetEndorser()...), e.GetSignature()) {
		note.fact("endorsement", "wrong signature")
	}
}

// invoke proposes to both peers and returns what they endorsed. Both have to
// say the same; only what the first said is noted.
func (r *recorder) invoke(by *identity.Identity, channel, contract string, args ...string) (*sealed, []*pb.ProposalResponse) {
	r.Helper()
	return r.invokeDraft(newDraft(r.T, by, channel, contract, args...))
}

func (r *recorder) invokeDraft(d *draft) (*sealed, []*pb.ProposalResponse) {
	r.Helper()
	s := d.seal(r.T)
	do := "propose"
	if args := d.spec.GetChaincodeSpec().GetInput().GetArgs(); len(args) > 0 {
		do += " " + string(args[0])
	}
	first := r.propose(do, r.peerA, s)
	second, err := pb.NewEndorserClient(r.conn(r.peerB)).ProcessProposal(r.ctx(), s.signed)
	same := bytes.Equal(first.GetPayload(), second.GetPayload()) && proto.Equal(first.GetResponse(), second.GetResponse())
	if !same || err != nil {
		r.steps[len(r.steps)-1].fact("second peer", message(second.GetResponse())).fact("second peer's error", errorText(err))
	}
	return s, []*pb.ProposalResponse{first, second}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return clean(err.Error())
}

// broadcast hands an envelope to the orderer.
func (r *recorder) broadcast(do string, envelope *cb.Envelope) bool {
	r.Helper()
	note := r.note(step{Do: do})
	stream, err := ab.NewAtomicBroadcastClient(r.ordererConn()).Broadcast(r.ctx())
	ok(r.T, err)
	if err := stream.Send(envelope); err != nil && !errors.Is(err, io.EOF) {
		r.Fatal(err)
	}
	answer, err := stream.Recv()
	note.failed(err)
	if err != nil {
		return false
	}
	note.Answer = answer.GetStatus().String()
	if answer.GetInfo() != "" {
		note.say(answer.GetInfo())
	}
	return answer.GetStatus() == cb.Status_SUCCESS
}

// commit broadcasts an envelope and notes what both peers made of it.
func (r *recorder) commit(envelope *cb.Envelope) {
	r.Helper()
	if r.broadcast("broadcast", envelope) {
		r.judged(envelope)
	}
}

// judged notes what both peers made of an envelope.
func (r *recorder) judged(envelope *cb.Envelope) {
	r.Helper()
	note := r.note(step{Do: "wait for the verdict", Validation: map[string]string{}})
	for _, l := range r.ledgers {
		v, err := l.await(r.ctx(), envelope)
		if err != nil {
			note.Validation[l.peer.Org.MSPID] = "none: " + errorText(err)
			continue
		}
		note.Validation[l.peer.Org.MSPID] = v.code.String()
	}
}

// transact takes a transaction all the way.
func (r *recorder) transact(by *identity.Identity, contract string, args ...string) {
	r.Helper()
	s, answers := r.invoke(by, trade, contract, args...)
	r.commit(s.transaction(answers...).envelope(r.T))
}

// ask proposes to the first peer only.
func (r *recorder) ask(by *identity.Identity, channel, contract string, args ...string) *pb.ProposalResponse {
	r.Helper()
	do := "ask " + contract
	if len(args) > 0 {
		do += " " + args[0]
	}
	return r.propose(do, r.peerA, newDraft(r.T, by, channel, contract, args...).seal(r.T))
}

// quietly does something whose steps are not noted.
func (r *recorder) quietly(do func()) {
	kept := r.steps
	do()
	r.steps = kept
}

// gateway is a client of a peer's gateway.
func (r *recorder) gateway(p *bare.Peer, by *identity.Identity) *client.Gateway {
	r.Helper()
	g, err := client.Connect(by, client.WithClientConnection(r.conn(p)), client.WithHash(hash.SHA256), client.WithSign(by.SignDigest))
	ok(r.T, err)
	r.Cleanup(func() { g.Close() })
	return g
}
