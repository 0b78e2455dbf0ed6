package channelconfig

import (
	"cmp"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
)

// Keys of the configuration tree, as Fabric names them.
const (
	groupOrderer     = "Orderer"
	groupApplication = "Application"

	valueHashing      = "HashingAlgorithm"
	valueDataHashing  = "BlockDataHashingStructure"
	valueCapabilities = "Capabilities"
	valueConsensus    = "ConsensusType"
	valueConsenters   = "Orderers"
	valueBatchSize    = "BatchSize"
	valueBatchTimeout = "BatchTimeout"
	valueRestrictions = "ChannelRestrictions"
	valueMSP          = "MSP"
	valueAnchors      = "AnchorPeers"
	valueEndpoints    = "Endpoints"
	valueACLs         = "ACLs"

	blockValidation = "BlockValidation"
	admins          = "Admins"

	typeRaft = "etcdraft"
	typeBFT  = "BFT"
)

// ParseAddress reads host:port.
func ParseAddress(text string) (Address, error) {
	host, port, err := net.SplitHostPort(text)
	if err != nil || host == "" {
		return Address{}, fmt.Errorf("parse address %q: it is not of the form host:port", text)
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 {
		return Address{}, fmt.Errorf("parse address %q: the port is not a number from 1 to 65535", text)
	}
	return Address{Host: host, Port: uint32(n)}, nil
}

func sorted[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }
