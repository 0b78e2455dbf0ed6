// Package crash kills nodes at random moments while transactions go on, starts
// them again, and asks afterwards whether anything acknowledged was lost and
// whether all peers hold the same. It runs bare processes, real nodes
// (FABRIC_BIN) or stand-ins (FABSIM_BIN):
//
//	go test ./test/crash -kills 60 -seed 7
package crash
