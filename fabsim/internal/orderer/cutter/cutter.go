// Package cutter gathers ordered messages into the batches that become blocks:
// by their number and their size. When the time is up is for its user to tell.
package cutter

import (
	cb "github.com/hyperledger/fabric-protos-go-apiv2/common"
	ab "github.com/hyperledger/fabric-protos-go-apiv2/orderer"
)

// Cutter gathers messages. It is not for concurrent use.
type Cutter struct {
	pending []*cb.Envelope
	bytes   uint32
}

// Ordered takes the next message. It gives the batches that are complete with
// it, at most two, and tells whether messages are left that wait for more.
//
// A message larger than the preferred size gets a batch of its own; one that
// would make the waiting batch larger than that starts the next.
func (c *Cutter) Ordered(message *cb.Envelope, limits *ab.BatchSize) (batches [][]*cb.Envelope, pending bool) {
	size := Size(message)
	if size > limits.GetPreferredMaxBytes() {
		if len(c.pending) > 0 {
			batches = append(batches, c.Cut())
		}
		return append(batches, []*cb.Envelope{message}), false
	}
	if c.bytes+size > limits.GetPreferredMaxBytes() {
		batches = append(batches, c.Cut())
	}
	c.pending = append(c.pending, message)
	c.bytes += size
	if uint64(len(c.pending)) >= uint64(limits.GetMaxMessageCount()) {
		return append(batches, c.Cut()), false
	}
	return batches, true
}

// Cut gives what waits, which may be nothing.
func (c *Cutter) Cut() []*cb.Envelope {
	batch := c.pending
	c.pending, c.bytes = nil, 0
	return batch
}

// Size is how large a message counts.
func Size(message *cb.Envelope) uint32 {
	return uint32(len(message.GetPayload()) + len(message.GetSignature())) //nolint:gosec // gRPC limits messages to far less
}
