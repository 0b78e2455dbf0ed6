// Package pull fetches blocks from other orderers with the Deliver protocol
// and checks them on the way. Both orderers that fell behind and those that
// only follow a channel live on it.
package pull

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"

	cb "github.com/hyperledger/fabric-protos-go-apiv2/common"
	ab "github.com/hyperledger/fabric-protos-go-apiv2/orderer"
	"google.golang.org/protobuf/types/known/timestamppb"

	"heddle.dev/heddle/fabsim/internal/blocks"
	"heddle.dev/heddle/fabsim/internal/channel"
	"heddle.dev/heddle/fabsim/internal/node"
)

// Newest asks for the last block.
const Newest = math.MaxUint64

// Puller fetches blocks.
type Puller struct {
	// Identity signs the requests.
	Identity *node.Identity
	// Certificate is what is shown.
	Certificate tls.Certificate
	// Roots (PEM) are trusted beside those of the channel.
	Roots [][]byte
	// Own is the address of this orderer, which is not asked; optional.
	Own string
}

// Range fetches blocks from first to last from one orderer after the other
// until all are there, and hands each to take. It fails when no orderer gets
// it any further. With wait, it waits for blocks that are yet to come.
func (p *Puller) Range(ctx context.Context, config *channel.Config, first, last uint64, wait bool, take func(*cb.Block) error) error {
	endpoints := config.Endpoints()
	rand.Shuffle(len(endpoints), func(i, j int) { endpoints[i], endpoints[j] = endpoints[j], endpoints[i] }) //nolint:gosec // any order will do
	next := first
	var problems []error
	for _, endpoint := range endpoints {
		if endpoint.Address == p.Own {
			continue
		}
		err := p.from(ctx, endpoint, config.ID(), seek(next, last, wait), func(block *cb.Block) error {
			if block.GetHeader().GetNumber() != next {
				return fmt.Errorf("got block %d instead of %d", block.GetHeader().GetNumber(), next)
			}
			if err := take(block); err != nil {
				return &fatalError{err}
			}
			next++
			return nil
		})
		var fatal *fatalError
		if errors.As(err, &fatal) {
			return fatal.error
		}
		if err == nil && next > last {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		problems = append(problems, fmt.Errorf("%s: %w", endpoint.Address, err))
	}
	return fmt.Errorf("fetch blocks %d to %d of %s: %w", next, last, config.ID(), errors.Join(problems...))
}

// fatalError is one of the taker: other orderers would not help.
type fatalError struct{ error }

// Last fetches the newest block of whichever orderer has most.
func (p *Puller) Last(ctx context.Context, config *channel.Config) (*cb.Block, error) {
	var newest *cb.Block
	var problems []error
	for _, endpoint := range config.Endpoints() {
		if endpoint.Address == p.Own {
			continue
		}
		err := p.from(ctx, endpoint, config.ID(), newestOnly(), func(block *cb.Block) error {
			if newest == nil || block.GetHeader().GetNumber() > newest.GetHeader().GetNumber() {
				newest = block
			}
			return nil
		})
		if err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", endpoint.Address, err))
		}
	}
	if newest == nil {
		return nil, fmt.Errorf("fetch newest block of %s: %w", config.ID(), errors.Join(problems...))
	}
	return newest, nil
}

func (p *Puller) from(ctx context.Context, endpoint channel.Endpoint, id string, info *ab.SeekInfo, take func(*cb.Block) error) error {
	roots := append(append([][]byte{}, endpoint.Roots...), p.Roots...)
	conn, err := node.Dial(endpoint.Address, node.DialOptions{Roots: roots, Certificate: &p.Certificate})
	if err != nil {
		return err
	}
	defer conn.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := ab.NewAtomicBroadcastClient(conn).Deliver(ctx)
	if err != nil {
		return fmt.Errorf("open delivery: %w", err)
	}
	request, err := p.request(id, info)
	if err != nil {
		return err
	}
	if err := stream.Send(request); err != nil {
		return fmt.Errorf("ask for blocks: %w", err)
	}
	for {
		response, err := stream.Recv()
		if err != nil {
			return fmt.Errorf("receive blocks: %w", err)
		}
		if block := response.GetBlock(); block != nil {
			if err := take(block); err != nil {
				return err
			}
			continue
		}
		if status := response.GetStatus(); status != cb.Status_SUCCESS {
			return fmt.Errorf("receive blocks: status %s", status)
		}
		return nil
	}
}

func (p *Puller) request(id string, info *ab.SeekInfo) (*cb.Envelope, error) {
	header := &cb.ChannelHeader{Type: int32(cb.HeaderType_DELIVER_SEEK_INFO), ChannelId: id, Timestamp: timestamppb.Now()}
	if len(p.Certificate.Certificate) > 0 {
		hash := sha256.Sum256(p.Certificate.Certificate[0])
		header.TlsCertHash = hash[:]
	}
	return p.Identity.Envelope(header, info)
}

func seek(first, last uint64, wait bool) *ab.SeekInfo {
	info := &ab.SeekInfo{
		Start:         &ab.SeekPosition{Type: &ab.SeekPosition_Specified{Specified: &ab.SeekSpecified{Number: first}}},
		Stop:          &ab.SeekPosition{Type: &ab.SeekPosition_Specified{Specified: &ab.SeekSpecified{Number: last}}},
		Behavior:      ab.SeekInfo_FAIL_IF_NOT_READY,
		ErrorResponse: ab.SeekInfo_BEST_EFFORT, // also from an orderer that has no leader
	}
	if wait {
		info.Behavior = ab.SeekInfo_BLOCK_UNTIL_READY
	}
	return info
}

func newestOnly() *ab.SeekInfo {
	newest := &ab.SeekPosition{Type: &ab.SeekPosition_Newest{Newest: &ab.SeekNewest{}}}
	return &ab.SeekInfo{Start: newest, Stop: newest, ErrorResponse: ab.SeekInfo_BEST_EFFORT}
}

// Chain checks that blocks follow one another and are signed, with the
// configuration that is in force at each.
type Chain struct {
	// Config in force; nil before the genesis.
	Config *channel.Config

	next     uint64
	previous []byte
}

// NewChain checks from the block after last on; nil stands for an empty
// ledger.
func NewChain(config *channel.Config, last *cb.BlockHeader) *Chain {
	c := &Chain{Config: config}
	if last != nil {
		c.next, c.previous = last.GetNumber()+1, blocks.HeaderHash(last)
	}
	return c
}

// Check judges the next block and takes its configuration in, if it has one.
// The genesis is believed: the block that somebody joined with vouches for it
// in the end.
func (c *Chain) Check(block *cb.Block) error {
	header := block.GetHeader()
	if header.GetNumber() != c.next || !bytes.Equal(header.GetPreviousHash(), c.previous) {
		return fmt.Errorf("check block %d: it does not follow block %d", header.GetNumber(), c.next-1)
	}
	if c.Config == nil {
		if err := blocks.CheckData(block); err != nil {
			return err
		}
	} else if err := c.Config.VerifyBlock(block); err != nil {
		return err
	}
	if blocks.IsConfig(block) {
		next, err := channel.FromBlock(block)
		if err != nil {
			return err
		}
		c.Config = next
	}
	c.next, c.previous = header.GetNumber()+1, blocks.HeaderHash(header)
	return nil
}
