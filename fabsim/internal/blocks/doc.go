// Package blocks keeps the chains of a node: it appends blocks and finds them
// by number, hash and transaction. It also owns what a block is made of: data
// hash, header, and the metadata that an orderer signs. Whether a block may be
// believed is a question for internal/channel.
//
// Files and index are those of fabric-x-common's block store, which flushes a
// block before Append returns and repairs a torn end and an old index when it
// is opened.
package blocks
