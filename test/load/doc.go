// Package load drives a Fabric network with transactions and tells afterwards whether anything acknowledged was lost.
// It is shared by the end-to-end tests and the benches and is a plain fabric-gateway client: it knows no Kubernetes,
// only addresses, certificates and a way to dial. The contract is samples/contracts/asset-go.
package load
