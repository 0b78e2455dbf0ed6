package channelconfig

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	cb "github.com/hyperledger/fabric-protos-go-apiv2/common"
	"google.golang.org/protobuf/types/known/timestamppb"

	"heddle.dev/heddle/internal/fabric/block"
)

// nonceSize is what Fabric's own tools use.
const nonceSize = 24

// oldLastConfig is the place in a block's metadata where older versions look
// for the newest configuration.
const oldLastConfig = 1

// Genesis makes a channel's first block. The same channel and time give the
// same block, byte for byte. What was asked for is read back from the block:
// anything that got lost on the way, an anchor peer say, is an error here and
// not a puzzle later.
func Genesis(c Channel, at time.Time) (*cb.Block, error) {
	if err := c.Validate(); err != nil {
		return nil, fmt.Errorf("make genesis block of channel %q: %w", c.ID, err)
	}
	group, err := build(c)
	if err != nil {
		return nil, fmt.Errorf("make genesis block of channel %q: %w", c.ID, err)
	}
	genesis, err := wrap(c.ID, &cb.ConfigEnvelope{Config: &cb.Config{ChannelGroup: group}}, at)
	if err != nil {
		return nil, fmt.Errorf("make genesis block of channel %q: %w", c.ID, err)
	}
	back, err := Read(genesis)
	if err != nil {
		return nil, fmt.Errorf("read back genesis block of channel %q: %w", c.ID, err)
	}
	if changes := Diff(back.Channel, c); len(changes) > 0 {
		return nil, fmt.Errorf("read back genesis block of channel %q: it lacks: %s", c.ID, strings.Join(texts(changes), "; "))
	}
	return genesis, nil
}

// wrap puts a configuration into block 0.
func wrap(channelID string, config *cb.ConfigEnvelope, at time.Time) (*cb.Block, error) {
	data, err := marshal(config)
	if err != nil {
		return nil, err
	}
	// Nobody signs a genesis block, so the nonce need not be a secret; made of
	// the content it keeps the block reproducible.
	sum := sha256.Sum256(append([]byte(channelID), data...))
	nonce := sum[:nonceSize]
	signature, err := marshal(&cb.SignatureHeader{Nonce: nonce})
	if err != nil {
		return nil, err
	}
	id := sha256.Sum256(nonce)
	header, err := marshal(&cb.ChannelHeader{
		Type: int32(cb.HeaderType_CONFIG), Version: 1, ChannelId: channelID,
		Timestamp: timestamppb.New(at), TxId: hex.EncodeToString(id[:]),
	})
	if err != nil {
		return nil, err
	}
	payload, err := marshal(&cb.Payload{Header: &cb.Header{ChannelHeader: header, SignatureHeader: signature}, Data: data})
	if err != nil {
		return nil, err
	}
	envelope, err := marshal(&cb.Envelope{Payload: payload})
	if err != nil {
		return nil, err
	}
	content := &cb.BlockData{Data: [][]byte{envelope}}
	metadata, err := genesisMetadata()
	if err != nil {
		return nil, err
	}
	return &cb.Block{Header: &cb.BlockHeader{DataHash: block.DataHash(content)}, Data: content, Metadata: metadata}, nil
}

func genesisMetadata() (*cb.BlockMetadata, error) {
	entries := make([][]byte, len(cb.BlockMetadataIndex_name))
	for i := range entries {
		entries[i] = []byte{}
	}
	last, err := marshal(&cb.LastConfig{})
	if err != nil {
		return nil, err
	}
	if entries[oldLastConfig], err = marshal(&cb.Metadata{Value: last}); err != nil {
		return nil, err
	}
	orderer, err := marshal(&cb.OrdererBlockMetadata{LastConfig: &cb.LastConfig{}})
	if err != nil {
		return nil, err
	}
	if entries[cb.BlockMetadataIndex_SIGNATURES], err = marshal(&cb.Metadata{Value: orderer}); err != nil {
		return nil, err
	}
	return &cb.BlockMetadata{Metadata: entries}, nil
}
