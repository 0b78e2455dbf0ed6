// Package channel is a channel's configuration at work: policies, MSPs,
// capabilities, consenters, and what may change it. A Config never changes; a
// node that takes in a configuration block makes the next Config and swaps it.
//
// The rules are fabric-x-common's; where that library is laxer than Fabric
// 3.1.5, or signs blocks in another way, this package has Fabric's.
package channel
