// Package block reads Fabric blocks: their hashes, what transactions they hold
// and how each was judged, and where the channel's configuration stands. It
// takes blocks as they come over the wire and trusts nothing in them; checking
// signatures is left to the nodes.
package block
