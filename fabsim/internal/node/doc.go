// Package node is what a simulated peer and a simulated orderer have in
// common: configuration from the environment and core.yaml or orderer.yaml,
// the local MSP, TLS, the gRPC server, the operations server with health,
// metrics and version, and logging. What a node does with them is of
// internal/peer and internal/orderer, one room above.
package node

// Version is the release of Fabric that the nodes stand in for, as that
// release writes it. CommitSHA takes the place of the commit it was built of:
// it says that nothing was.
const (
	Version   = "v3.1.5"
	CommitSHA = "simulated"
)
