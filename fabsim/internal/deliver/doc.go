// Package deliver is the server side of the Deliver protocol, which peers,
// clients and other orderers fetch blocks with: positions, waiting, access
// checks that are repeated after each change of configuration, expiry of the
// client's certificate, and the binding to its TLS certificate.
//
// The loop is fabric-x-common's. Orderers send whole blocks with Blocks; a
// peer brings senders of its own for filtered blocks and private data.
package deliver
