// Package consensus orders the transactions of one channel with Raft. An entry
// of the Raft log is a block without metadata; each orderer adds its own and
// its own signature when it writes the block. Everything happens in one
// goroutine, Run; others talk to it through channels.
//
// Which transactions may be ordered is decided before (internal/orderer/
// admission), and which orderer takes part by internal/orderer/registry.
package consensus
