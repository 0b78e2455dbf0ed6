// Package caclient speaks the HTTP API of a fabric-ca server: it enrols,
// renews, registers and revokes identities of applications. Answers are
// bounded, and a refusal carries the server's own words. Certificates of nodes
// and administrators do not come from there: see internal/pki.
package caclient
