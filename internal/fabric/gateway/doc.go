// Package gateway submits and evaluates transactions through a peer's gateway
// and follows a contract's events. Its errors say in one sentence which node
// refused what and why. Connections are made by internal/fabric/admin.
package gateway
