// Package differential asks nodes many things that can be right or wrong and
// compares what they answer with what real nodes of Fabric 3.1 answered: status
// codes, payloads, read-write sets, validation codes. What is expected is
// recorded from real nodes (go test ./test/differential -update, with
// FABRIC_BIN) and lies in testdata, one file for each case. Real nodes and
// stand-ins (FABSIM_BIN) go through the same cases; see package bare for where
// both come from.
package differential
