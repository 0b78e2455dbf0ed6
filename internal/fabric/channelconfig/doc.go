// Package channelconfig is a channel's configuration as a typed value: it makes
// the genesis block, reads configuration blocks back, says in words how two
// configurations differ, and computes and signs the update that leads from one
// to the other. It knows Raft and SmartBFT. It does no I/O: internal/fabric/admin
// carries blocks and updates to and from nodes.
package channelconfig
