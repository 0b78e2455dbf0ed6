// Package ledger is the chain of one channel on a peer: simulation against its
// state, the checks of versions at commit, the hash of each commit, history,
// and private data. Blocks are the truth; state and history are made again
// from them after a crash. Signatures and policies are of internal/peer/validate.
package ledger
