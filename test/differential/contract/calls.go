package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/hyperledger/fabric-chaincode-go/v2/pkg/cid"
	"github.com/hyperledger/fabric-chaincode-go/v2/pkg/statebased"
	"github.com/hyperledger/fabric-chaincode-go/v2/shim"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
)

// respond answers with that status, message and payload, whatever they mean.
func respond(args []string) *peer.Response {
	if len(args) < 3 {
		return shim.Error("respond takes 3 arguments")
	}
	status, err := strconv.ParseInt(args[0], 10, 32)
	if err != nil {
		return shim.Error(err.Error())
	}
	return &peer.Response{Status: int32(status), Message: args[1], Payload: []byte(args[2])}
}

func event(stub shim.ChaincodeStubInterface, args []string) ([]byte, error) {
	if err := stub.SetEvent(args[0], []byte(args[1])); err != nil {
		return nil, err
	}
	return nil, stub.PutState(args[2], []byte(args[1]))
}

// twoEvents sets two, of which the last one counts.
func twoEvents(stub shim.ChaincodeStubInterface, args []string) ([]byte, error) {
	if err := stub.SetEvent("First", []byte("1")); err != nil {
		return nil, err
	}
	return event(stub, []string{"Second", "2", args[0]})
}

// transient keeps one transient value and names all of them.
func transient(stub shim.ChaincodeStubInterface, args []string) ([]byte, error) {
	values, err := stub.GetTransient()
	if err != nil {
		return nil, err
	}
	if err := stub.PutState(args[0], values["value"]); err != nil {
		return nil, err
	}
	return json.Marshal(slices.Sorted(maps.Keys(values)))
}

// who tells whom the contract takes the creator for.
func who(stub shim.ChaincodeStubInterface, _ []string) ([]byte, error) {
	id, err := cid.New(stub)
	if err != nil {
		return nil, err
	}
	mspID, err := id.GetMSPID()
	if err != nil {
		return nil, err
	}
	cert, err := id.GetX509Certificate()
	if err != nil {
		return nil, err
	}
	return json.Marshal(map[string]any{"mspID": mspID, "name": cert.Subject.CommonName, "roles": cert.Subject.OrganizationalUnit})
}

// about tells what the contract is told of the transaction.
func about(stub shim.ChaincodeStubInterface, args []string) ([]byte, error) {
	signed, err := stub.GetSignedProposal()
	if err != nil {
		return nil, err
	}
	binding, err := stub.GetBinding()
	if err != nil {
		return nil, err
	}
	stamp, err := stub.GetTxTimestamp()
	if err != nil {
		return nil, err
	}
	return json.Marshal(map[string]any{
		"channel": stub.GetChannelID(), "txID": stub.GetTxID(), "args": args, "signed": len(signed.GetSignature()) > 0,
		"binding": len(binding), "timed": stamp.IsValid(), "decorations": slices.Sorted(maps.Keys(stub.GetDecorations())),
	})
}

func echo(_ shim.ChaincodeStubInterface, args []string) ([]byte, error) { return json.Marshal(args) }

// call calls another contract: its name, its channel (empty means this one),
// then its arguments.
func call(stub shim.ChaincodeStubInterface, args []string) ([]byte, error) {
	raw := make([][]byte, 0, len(args))
	for _, arg := range args[2:] {
		raw = append(raw, []byte(arg))
	}
	answer := stub.InvokeChaincode(args[0], raw, args[1])
	if answer.GetStatus() != shim.OK {
		return nil, fmt.Errorf("%s answers %d: %s", args[0], answer.GetStatus(), answer.GetMessage())
	}
	return answer.GetPayload(), nil
}

// putPrivate takes the value from the transient data.
func putPrivate(stub shim.ChaincodeStubInterface, args []string) ([]byte, error) {
	values, err := stub.GetTransient()
	if err != nil {
		return nil, err
	}
	return nil, stub.PutPrivateData(args[0], args[1], values["value"])
}

func getPrivate(stub shim.ChaincodeStubInterface, args []string) ([]byte, error) {
	value, err := stub.GetPrivateData(args[0], args[1])
	if err == nil && value == nil {
		err = fmt.Errorf("there is no %q in %q", args[1], args[0])
	}
	return value, err
}

func hashPrivate(stub shim.ChaincodeStubInterface, args []string) ([]byte, error) {
	value, err := stub.GetPrivateDataHash(args[0], args[1])
	return fmt.Appendf(nil, "%x", value), err
}

func delPrivate(stub shim.ChaincodeStubInterface, args []string) ([]byte, error) {
	return nil, stub.DelPrivateData(args[0], args[1])
}

func purgePrivate(stub shim.ChaincodeStubInterface, args []string) ([]byte, error) {
	return nil, stub.PurgePrivateData(args[0], args[1])
}

func rangePrivate(stub shim.ChaincodeStubInterface, args []string) ([]byte, error) {
	found, err := stub.GetPrivateDataByRange(args[0], args[1], args[2])
	if err != nil {
		return nil, err
	}
	entries, err := collect(found)
	if err != nil {
		return nil, err
	}
	return json.Marshal(entries)
}

// setPolicy makes peers of those organisations endorse changes of the key.
func setPolicy(stub shim.ChaincodeStubInterface, args []string) ([]byte, error) {
	policy, err := statebased.NewStateEP(nil)
	if err != nil {
		return nil, err
	}
	if err := policy.AddOrgs(statebased.RoleTypePeer, args[1:]...); err != nil {
		return nil, err
	}
	raw, err := policy.Policy()
	if err != nil {
		return nil, err
	}
	return nil, stub.SetStateValidationParameter(args[0], raw)
}

func getPolicy(stub shim.ChaincodeStubInterface, args []string) ([]byte, error) {
	raw, err := stub.GetStateValidationParameter(args[0])
	if err != nil || raw == nil {
		return []byte("none"), err
	}
	policy, err := statebased.NewStateEP(raw)
	if err != nil {
		return nil, err
	}
	orgs := policy.ListOrgs()
	slices.Sort(orgs)
	return json.Marshal(orgs)
}
