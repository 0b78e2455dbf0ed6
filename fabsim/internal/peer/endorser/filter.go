package endorser

import (
	"errors"
	"fmt"
	"time"

	cb "github.com/hyperledger/fabric-protos-go-apiv2/common"
	pb "github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"google.golang.org/protobuf/proto"

	"heddle.dev/heddle/fabsim/internal/channel"
)

// admissible is what comes before anything else is looked at: the creator's
// certificate has not ended, and the proposal is not from another time.
func admissible(signed *pb.SignedProposal, window time.Duration) error {
	outer, header, on, by := &pb.Proposal{}, &cb.Header{}, &cb.ChannelHeader{}, &cb.SignatureHeader{}
	for _, layer := range []struct {
		what, kind string
		raw        func() []byte
		into       proto.Message
	}{
		{"proposal", "Proposal", signed.GetProposalBytes, outer},
		{"header", "Header", outer.GetHeader, header},
		{"signature header", "SignatureHeader", header.GetSignatureHeader, by},
	} {
		if err := proto.Unmarshal(layer.raw(), layer.into); err != nil {
			return fmt.Errorf("failed parsing %s: error unmarshalling %s: %w", layer.what, layer.kind, err)
		}
	}
	now := time.Now().UTC()
	if end := channel.Expiry(by.GetCreator()); !end.IsZero() && now.After(end) {
		return errors.New("proposal client identity expired")
	}
	if err := proto.Unmarshal(header.GetChannelHeader(), on); err != nil {
		return fmt.Errorf("failed parsing channel header: error unmarshalling ChannelHeader: %w", err)
	}
	made := on.GetTimestamp().AsTime().UTC()
	if made.Add(window).Before(now) || made.Add(-window).After(now) {
		return fmt.Errorf("request unauthorized due to incorrect timestamp %s, peer time %s, peer.authentication.timewindow %s",
			made.Format(time.RFC3339), now.Format(time.RFC3339), window)
	}
	return nil
}
