// Package gateway is the Gateway service: for clients that know one peer only
// it finds endorsers, collects endorsements, hands transactions to orderers,
// and tells what became of them and which events they set. Codes, details and
// texts of errors are Fabric's.
package gateway
