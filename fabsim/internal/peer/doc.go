// Package peer is the simulated peer: it puts together ledgers, contracts,
// endorser, gateway and discovery, joins channels, and takes blocks from their
// orderers. Each part is a package below; what peers and orderers have in
// common is beside it.
package peer
