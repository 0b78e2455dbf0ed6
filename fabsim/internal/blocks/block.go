package blocks

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"

	cb "github.com/hyperledger/fabric-protos-go-apiv2/common"
	"github.com/hyperledger/fabric-x-common/protoutil"
	"google.golang.org/protobuf/proto"
)

const metadataSlots = int(cb.BlockMetadataIndex_COMMIT_HASH) + 1

// DataHash is the hash of a block's transactions that Fabric puts into the
// header: of the plain concatenation. (fabric-x-common's own differs.)
func DataHash(data *cb.BlockData) []byte {
	sum := sha256.Sum256(bytes.Join(data.GetData(), nil))
	return sum[:]
}

// HeaderHash is the hash that the next block points back to.
func HeaderHash(header *cb.BlockHeader) []byte { return protoutil.BlockHeaderHash(header) }

// Next makes the block after another, without metadata.
func Next(last *cb.BlockHeader, transactions [][]byte) *cb.Block {
	data := &cb.BlockData{Data: transactions}
	block := &cb.Block{
		Header: &cb.BlockHeader{Number: last.GetNumber() + 1, PreviousHash: HeaderHash(last), DataHash: DataHash(data)},
		Data:   data,
	}
	InitMetadata(block)
	return block
}

// InitMetadata gives a block the slots of metadata that it lacks.
func InitMetadata(block *cb.Block) {
	if block.GetMetadata() == nil {
		block.Metadata = &cb.BlockMetadata{}
	}
	for len(block.GetMetadata().GetMetadata()) < metadataSlots {
		block.Metadata.Metadata = append(block.Metadata.Metadata, []byte{})
	}
}

// Signer signs blocks.
type Signer interface {
	SignatureHeader() (*cb.SignatureHeader, error)
	Sign(message []byte) ([]byte, error)
}

// Seal gives a block the metadata of an orderer: the number of the
// configuration's block, the consenters' metadata, and a signature over both
// and the header.
func Seal(block *cb.Block, signer Signer, lastConfig uint64, consenter []byte) error {
	InitMetadata(block)
	header, err := signer.SignatureHeader()
	if err != nil {
		return err
	}
	rawHeader, err := proto.Marshal(header)
	if err != nil {
		return fmt.Errorf("seal block: %w", err)
	}
	value, last, err := sealValue(lastConfig, consenter)
	if err != nil {
		return fmt.Errorf("seal block: %w", err)
	}
	signature, err := signer.Sign(SignedBytes(value, rawHeader, block.GetHeader()))
	if err != nil {
		return err
	}
	signatures, err := proto.Marshal(&cb.Metadata{
		Value: value, Signatures: []*cb.MetadataSignature{{SignatureHeader: rawHeader, Signature: signature}},
	})
	if err != nil {
		return fmt.Errorf("seal block: %w", err)
	}
	slots := block.GetMetadata().GetMetadata()
	slots[cb.BlockMetadataIndex_SIGNATURES] = signatures
	slots[cb.BlockMetadataIndex_LAST_CONFIG] = last
	return nil
}

func sealValue(lastConfig uint64, consenter []byte) (value, last []byte, err error) {
	index := &cb.LastConfig{Index: lastConfig}
	inner, err := proto.Marshal(&cb.Metadata{Value: consenter})
	if err != nil {
		return nil, nil, err
	}
	if value, err = proto.Marshal(&cb.OrdererBlockMetadata{LastConfig: index, ConsenterMetadata: inner}); err != nil {
		return nil, nil, err
	}
	rawIndex, err := proto.Marshal(index)
	if err != nil {
		return nil, nil, err
	}
	last, err = proto.Marshal(&cb.Metadata{Value: rawIndex})
	return value, last, err
}

// SignedBytes is what an orderer signs of a block: the value of the signatures'
// metadata, the header of the signature (or the identifier of the signer) and
// the block's header.
func SignedBytes(value, signatureHeader []byte, header *cb.BlockHeader) []byte {
	return slices.Concat(value, signatureHeader, protoutil.BlockHeaderBytes(header))
}

// Signatures is the metadata of a block that its orderers signed.
func Signatures(block *cb.Block) (*cb.Metadata, *cb.OrdererBlockMetadata, error) {
	slots := block.GetMetadata().GetMetadata()
	if len(slots) <= int(cb.BlockMetadataIndex_SIGNATURES) {
		return nil, nil, errors.New("read block metadata: there are no signatures")
	}
	metadata, value := &cb.Metadata{}, &cb.OrdererBlockMetadata{}
	if err := proto.Unmarshal(slots[cb.BlockMetadataIndex_SIGNATURES], metadata); err != nil {
		return nil, nil, fmt.Errorf("read block metadata: %w", err)
	}
	if err := proto.Unmarshal(metadata.GetValue(), value); err != nil {
		return nil, nil, fmt.Errorf("read block metadata: %w", err)
	}
	return metadata, value, nil
}

// LastConfigIndex is the number of the block of the configuration that is in
// force once the given block is written.
func LastConfigIndex(block *cb.Block) (uint64, error) {
	if block.GetHeader().GetNumber() == 0 {
		return 0, nil
	}
	_, value, err := Signatures(block)
	if err != nil {
		return 0, err
	}
	if value.GetLastConfig() == nil {
		return 0, errors.New("read block metadata: it does not name the configuration's block")
	}
	return value.GetLastConfig().GetIndex(), nil
}

// ConsenterMetadata is what the consenters left in a block for themselves.
func ConsenterMetadata(block *cb.Block) ([]byte, error) {
	_, value, err := Signatures(block)
	if err != nil {
		return nil, err
	}
	metadata := &cb.Metadata{}
	if err := proto.Unmarshal(value.GetConsenterMetadata(), metadata); err != nil {
		return nil, fmt.Errorf("read consenters' metadata: %w", err)
	}
	return metadata.GetValue(), nil
}

// IsConfig tells whether a block is a configuration block: one transaction, of
// type CONFIG.
func IsConfig(block *cb.Block) bool {
	if len(block.GetData().GetData()) != 1 {
		return false
	}
	header, err := ChannelHeader(block.GetData().GetData()[0])
	return err == nil && header.GetType() == int32(cb.HeaderType_CONFIG)
}

// ChannelHeader reads the channel header of a transaction's bytes.
func ChannelHeader(transaction []byte) (*cb.ChannelHeader, error) {
	envelope, err := protoutil.UnmarshalEnvelope(transaction)
	if err != nil {
		return nil, fmt.Errorf("read transaction: %w", err)
	}
	header, err := protoutil.ChannelHeader(envelope)
	if err != nil {
		return nil, fmt.Errorf("read transaction: %w", err)
	}
	return header, nil
}

// Parse reads a block from bytes that somebody sent: it has a header and data,
// and the header fits the data.
func Parse(raw []byte) (*cb.Block, error) {
	block := &cb.Block{}
	if err := proto.Unmarshal(raw, block); err != nil {
		return nil, fmt.Errorf("read block: %w", err)
	}
	if block.GetHeader() == nil {
		return nil, errors.New("read block: it has no header")
	}
	if block.GetData() == nil || len(block.GetData().GetData()) == 0 {
		return nil, errors.New("read block: it has no data")
	}
	return block, nil
}

// CheckData verifies that a block's header fits its transactions.
func CheckData(block *cb.Block) error {
	if !bytes.Equal(block.GetHeader().GetDataHash(), DataHash(block.GetData())) {
		return fmt.Errorf("check block %d: the hash in its header is not that of its data", block.GetHeader().GetNumber())
	}
	return nil
}
