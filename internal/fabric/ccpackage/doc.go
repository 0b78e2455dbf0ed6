// Package ccpackage writes and reads contract packages as Fabric's life cycle
// takes them: for contracts that run as a service (ccaas) and for contracts
// that the peer launches as a pod (k8s). The same input gives the same bytes,
// and so the same package id, whichever machine or release wrote them.
package ccpackage
