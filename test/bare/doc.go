// Package bare runs real Fabric nodes as bare processes on loopback, without
// Kubernetes: the network that tests of internal/fabric talk to, and the
// baseline that benches compare with. Programs come from FABRIC_BIN; what the
// nodes are told comes from internal/fabric/nodeenv, as in the operator's pods.
package bare
