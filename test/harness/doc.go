// Package harness is what the end-to-end tests and the benches stand on: a cluster (a lab of its own, or the one of
// HEDDLE_E2E_KUBECONFIG) with images and operator, objects applied from YAML, waits by watch, clients of every peer,
// and the means to break things. It knows Heddle from the outside only: the CLI, the API server, the nodes.
package harness
