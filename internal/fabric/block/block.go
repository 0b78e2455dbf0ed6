package block

import (
	"crypto/sha256"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"
	"time"

	cb "github.com/hyperledger/fabric-protos-go-apiv2/common"
	mspproto "github.com/hyperledger/fabric-protos-go-apiv2/msp"
	pb "github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"google.golang.org/protobuf/proto"
)

// Block is what a person asks of a block.
type Block struct {
	// Number is its height.
	Number uint64
	// Hash identifies the block: it is the next block's previous hash.
	Hash []byte
	// PreviousHash is the hash of the block before.
	PreviousHash []byte
	// DataHash is what the header says of the data.
	DataHash []byte
	// ChannelID is taken from the first transaction.
	ChannelID string
	// Config tells whether the block changes the channel's configuration.
	Config bool
	// Transactions in their order.
	Transactions []Transaction
}

// Transaction is one entry of a block.
type Transaction struct {
	// ID is the transaction's id; config transactions may have none.
	ID string
	// Type is what the transaction does.
	Type cb.HeaderType
	// Creator is the MSP id of who sent it.
	Creator string
	// Timestamp is when the sender says it was made.
	Timestamp time.Time
	// Code is the committing peer's verdict. A block from an orderer has none
	// yet: NOT_VALIDATED.
	Code pb.TxValidationCode
}

// Parse reads a serialised block.
func Parse(raw []byte) (*Block, error) {
	var message cb.Block
	if err := proto.Unmarshal(raw, &message); err != nil {
		return nil, fmt.Errorf("parse block: %w", err)
	}
	return Read(&message)
}

// Read describes a block, after checking that the data is what the header
// says.
func Read(message *cb.Block) (*Block, error) {
	header := message.GetHeader()
	if header == nil {
		return nil, errors.New("read block: it has no header")
	}
	if string(DataHash(message.GetData())) != string(header.GetDataHash()) {
		return nil, fmt.Errorf("read block %d: its data does not match the hash in the header", header.GetNumber())
	}
	out := &Block{
		Number: header.GetNumber(), Hash: Hash(header),
		PreviousHash: header.GetPreviousHash(), DataHash: header.GetDataHash(),
	}
	codes := validationCodes(message)
	for i, raw := range message.GetData().GetData() {
		tx, channelID, err := readTransaction(raw)
		if err != nil {
			return nil, fmt.Errorf("read block %d, transaction %d: %w", header.GetNumber(), i, err)
		}
		tx.Code = pb.TxValidationCode_NOT_VALIDATED
		if i < len(codes) {
			tx.Code = pb.TxValidationCode(codes[i])
		}
		if i == 0 {
			out.ChannelID = channelID
			out.Config = tx.Type == cb.HeaderType_CONFIG
		}
		out.Transactions = append(out.Transactions, tx)
	}
	return out, nil
}

// Hash is the hash of a block's header.
func Hash(header *cb.BlockHeader) []byte {
	// Marshalling integers and byte strings cannot fail.
	der, _ := asn1.Marshal(struct {
		Number       *big.Int
		PreviousHash []byte
		DataHash     []byte
	}{new(big.Int).SetUint64(header.GetNumber()), header.GetPreviousHash(), header.GetDataHash()})
	sum := sha256.Sum256(der)
	return sum[:]
}

// DataHash is the hash of a block's transactions.
func DataHash(data *cb.BlockData) []byte {
	digest := sha256.New()
	for _, raw := range data.GetData() {
		digest.Write(raw)
	}
	return digest.Sum(nil)
}

// LastConfig is the number of the newest configuration block at the time of
// this block.
func LastConfig(message *cb.Block) (uint64, error) {
	value, err := metadata(message, cb.BlockMetadataIndex_SIGNATURES)
	if err != nil {
		return 0, err
	}
	var orderer cb.OrdererBlockMetadata
	if err := proto.Unmarshal(value, &orderer); err != nil {
		return 0, fmt.Errorf("read orderer metadata of block %d: %w", message.GetHeader().GetNumber(), err)
	}
	if orderer.GetLastConfig() != nil {
		return orderer.GetLastConfig().GetIndex(), nil
	}
	// Genesis blocks of some tools say it in the place of older versions only.
	if value, err = metadata(message, oldLastConfig); err != nil {
		return 0, err
	}
	var last cb.LastConfig
	if err := proto.Unmarshal(value, &last); err != nil {
		return 0, fmt.Errorf("read last configuration of block %d: %w", message.GetHeader().GetNumber(), err)
	}
	return last.GetIndex(), nil
}

// oldLastConfig is the place that older versions use for it.
const oldLastConfig cb.BlockMetadataIndex = 1

// Envelope is a block's transaction of that index.
func Envelope(message *cb.Block, index int) (*cb.Payload, *cb.ChannelHeader, error) {
	data := message.GetData().GetData()
	if index < 0 || index >= len(data) {
		return nil, nil, fmt.Errorf("read transaction %d: the block has %d", index, len(data))
	}
	return open(data[index])
}

func open(raw []byte) (*cb.Payload, *cb.ChannelHeader, error) {
	var envelope cb.Envelope
	if err := proto.Unmarshal(raw, &envelope); err != nil {
		return nil, nil, fmt.Errorf("read envelope: %w", err)
	}
	var payload cb.Payload
	if err := proto.Unmarshal(envelope.GetPayload(), &payload); err != nil {
		return nil, nil, fmt.Errorf("read payload: %w", err)
	}
	var header cb.ChannelHeader
	if err := proto.Unmarshal(payload.GetHeader().GetChannelHeader(), &header); err != nil {
		return nil, nil, fmt.Errorf("read channel header: %w", err)
	}
	return &payload, &header, nil
}

func readTransaction(raw []byte) (Transaction, string, error) {
	payload, header, err := open(raw)
	if err != nil {
		return Transaction{}, "", err
	}
	tx := Transaction{ID: header.GetTxId(), Type: cb.HeaderType(header.GetType())}
	if header.GetTimestamp() != nil {
		tx.Timestamp = header.GetTimestamp().AsTime()
	}
	var signature cb.SignatureHeader
	if err := proto.Unmarshal(payload.GetHeader().GetSignatureHeader(), &signature); err != nil {
		return Transaction{}, "", fmt.Errorf("read signature header: %w", err)
	}
	var creator mspproto.SerializedIdentity
	if err := proto.Unmarshal(signature.GetCreator(), &creator); err != nil {
		return Transaction{}, "", fmt.Errorf("read creator: %w", err)
	}
	tx.Creator = creator.GetMspid()
	return tx, header.GetChannelId(), nil
}

func validationCodes(message *cb.Block) []byte {
	entries := message.GetMetadata().GetMetadata()
	if len(entries) <= int(cb.BlockMetadataIndex_TRANSACTIONS_FILTER) {
		return nil
	}
	return entries[cb.BlockMetadataIndex_TRANSACTIONS_FILTER]
}

func metadata(message *cb.Block, index cb.BlockMetadataIndex) ([]byte, error) {
	entries := message.GetMetadata().GetMetadata()
	if len(entries) <= int(index) {
		return nil, fmt.Errorf("read metadata of block %d: there is no entry %s", message.GetHeader().GetNumber(), index)
	}
	var entry cb.Metadata
	if err := proto.Unmarshal(entries[index], &entry); err != nil {
		return nil, fmt.Errorf("read metadata of block %d: %w", message.GetHeader().GetNumber(), err)
	}
	return entry.GetValue(), nil
}
