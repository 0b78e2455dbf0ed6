// Package state keeps the current values of channels: embedded, or in
// CouchDB. It knows namespaces, keys, versions and metadata, and nothing of
// transactions. What is in it can always be made again from the blocks, up to
// the savepoint that each batch carries.
package state
