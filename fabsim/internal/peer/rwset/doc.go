// Package rwset is what a simulated transaction read and wrote: it builds
// read-write sets whose bytes are those of a real peer, so that endorsements
// of both agree, and reads them back for validation. What the reads are
// checked against is of internal/peer/ledger.
package rwset
