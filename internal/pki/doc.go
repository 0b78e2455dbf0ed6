// Package pki makes the X.509 material of a Fabric organisation: roots,
// intermediates, enrolment and TLS leaves, revocation lists, and the decisions
// when a leaf has to be renewed. It works on values (crypto.Signer, parsed
// certificates, PEM bytes) and takes the time from its caller; where keys are
// stored, and what an MSP makes of certificates, is decided in the rooms above.
package pki
