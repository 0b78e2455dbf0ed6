// Package validate judges the transactions of a block by what can be told
// without versions: form, signatures, IDs, and endorsement policies of
// contracts, collections and keys. The codes are Fabric's, so that all peers of
// a channel agree. Versions are of internal/peer/ledger.
package validate
