// Package admin runs nodes: orderers through their participation API, ordering
// through broadcast and deliver, peers through their system contracts, and the
// life cycle of contracts. Every call takes a context and bounds what it reads;
// repeating a call that failed is left to the caller.
package admin
