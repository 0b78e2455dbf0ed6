// Package e2e holds the end-to-end tests: one file for each behaviour, named by it, run against real Fabric nodes in a
// lab of their own (or the cluster of HEDDLE_E2E_KUBECONFIG). HEDDLE_E2E_RUN chooses a shard or tests by a pattern; see
// shards.go. Test files and the list of shards are all there is here: what they stand on is test/harness.
package e2e
