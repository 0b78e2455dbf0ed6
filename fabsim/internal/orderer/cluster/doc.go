// Package cluster carries messages between the orderers of a channel over
// Fabric's own Cluster service, so that simulated and real orderers can share
// a channel. An orderer is known by the TLS certificate that the channel's
// configuration pins; its authority alone is not enough.
package cluster
