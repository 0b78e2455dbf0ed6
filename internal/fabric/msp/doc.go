// Package msp holds an organisation's membership material as a value and turns
// it into what Fabric reads: the folder of a node's local MSP and the MSP
// message of a channel configuration, and back. Making certificates is the
// work of internal/pki.
package msp
