// Package runtime runs contracts: it builds packages with external builders,
// starts them or connects to their servers, and speaks the chaincode protocol
// with them, on behalf of one simulation at a time and transaction. Whether a
// contract may be called is of internal/peer/endorser.
package runtime
