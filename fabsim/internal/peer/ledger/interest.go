package ledger

import (
	"fmt"
	"maps"
	"slices"

	cb "github.com/hyperledger/fabric-protos-go-apiv2/common"
	frwset "github.com/hyperledger/fabric-protos-go-apiv2/ledger/rwset"
	pb "github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"google.golang.org/protobuf/proto"
)

// SystemContracts are those that a peer has of its own.
var systemContracts = []string{"_lifecycle", "cscc", "lscc", "qscc"} //nolint:gochecknoglobals // a list of names that nobody changes

// IsSystem tells whether a contract is one of a peer's own.
func IsSystem(contract string) bool { return slices.Contains(systemContracts, contract) }

// build describes which policies the endorsements of a transaction have to
// satisfy: contracts', collections' and keys'.
func (i *interest) build(public *frwset.TxReadWriteSet) (*pb.ChaincodeInterest, error) {
	required := i.written
	for _, ns := range public.GetNsRwset() {
		if _, ok := required[ns.GetNamespace()]; !ok {
			required[ns.GetNamespace()] = map[string]bool{"": true}
		}
	}
	for ns, colls := range i.privateReads {
		for coll := range colls {
			required[ns][coll] = true
		}
	}
	out := &pb.ChaincodeInterest{}
	for _, ns := range slices.Sorted(maps.Keys(required)) {
		if IsSystem(ns) {
			continue
		}
		for _, coll := range slices.Sorted(maps.Keys(required[ns])) {
			call, err := i.call(ns, coll, required[ns][""])
			if err != nil {
				return nil, err
			}
			if call != nil {
				out.Chaincodes = append(out.Chaincodes, call)
			}
		}
	}
	return out, nil
}

func (i *interest) call(ns, coll string, contractPolicy bool) (*pb.ChaincodeCall, error) {
	call := &pb.ChaincodeCall{Name: ns}
	if coll != "" {
		call.CollectionNames, call.NoPrivateReads = []string{coll}, !i.privateReads[ns][coll]
		return call, nil
	}
	for _, raw := range i.policies[ns] {
		policy := &cb.SignaturePolicyEnvelope{}
		if err := proto.Unmarshal(raw, policy); err != nil {
			return nil, fmt.Errorf("read endorsement policy of a key of %s: %w", ns, err)
		}
		call.KeyPolicies = append(call.KeyPolicies, policy)
	}
	if len(call.GetKeyPolicies()) == 0 && !contractPolicy {
		return nil, nil //nolint:nilnil // nothing is asked of this contract
	}
	call.DisregardNamespacePolicy = !contractPolicy
	return call, nil
}
