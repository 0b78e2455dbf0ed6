// Package registry knows the channels of an orderer: which it takes part in,
// which it only follows, and how it comes to join or leave one. Each channel
// has one goroutine that moves between the two as configurations say.
package registry
