// Package orderer is a simulated ordering node: it reads the same settings as
// Fabric's own, serves the same ports, and takes part in the consensus of the
// same channels. Its parts are in the packages below; this one puts them
// together and serves AtomicBroadcast.
package orderer
