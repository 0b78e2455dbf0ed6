// Package simtest is what tests of fabsim stand on: organisations with
// certificates, MSP folders, genesis blocks, signed transactions and
// configuration updates. Only tests import it.
package simtest
