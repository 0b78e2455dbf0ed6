// Package nodeenv renders the whole configuration of a Fabric peer or orderer
// as environment variables. The operator's pods and the bare processes of tests
// and benches get theirs from here, so that the two differ in paths and
// addresses only. What is not said stays as the core.yaml or orderer.yaml of
// the release has it, which ConfigPath points to.
package nodeenv
