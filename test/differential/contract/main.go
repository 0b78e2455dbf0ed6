// Command contract is what the differential suite runs on both kinds of nodes:
// every call of the shim behind a function of its own, so that a case can
// provoke exactly one thing. It runs as a service only.
package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/hyperledger/fabric-chaincode-go/v2/shim"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
)

func main() {
	if err := run(os.Getenv); err != nil {
		fmt.Fprintf(os.Stderr, "contract: %v\n", err)
		os.Exit(1)
	}
}

// run serves until it fails.
func run(getenv func(string) string) error {
	server := &shim.ChaincodeServer{
		CCID: getenv("CHAINCODE_ID"), Address: getenv("CHAINCODE_SERVER_ADDRESS"), CC: probe{},
		TLSProps: shim.TLSProperties{Disabled: true},
	}
	if server.CCID == "" || server.Address == "" {
		return errors.New("serve contract: CHAINCODE_ID and CHAINCODE_SERVER_ADDRESS have to be set")
	}
	return server.Start()
}

// probe is the contract.
type probe struct{}

// Init does what Invoke does: for contracts whose definition asks for it.
func (p probe) Init(stub shim.ChaincodeStubInterface) *peer.Response { return p.Invoke(stub) }

// Invoke calls the function that the first argument names. An error is status
// 500, as contracts usually have it.
func (p probe) Invoke(stub shim.ChaincodeStubInterface) *peer.Response {
	name, args := stub.GetFunctionAndParameters()
	if name == "respond" {
		return respond(args)
	}
	call, ok := functions()[name]
	if !ok {
		return shim.Error(fmt.Sprintf("there is no function %q", name))
	}
	if len(args) < call.args {
		return shim.Error(fmt.Sprintf("%s takes %d arguments, not %d", name, call.args, len(args)))
	}
	payload, err := call.run(stub, args)
	if err != nil {
		return shim.Error(err.Error())
	}
	return shim.Success(payload)
}

// function is one of the contract's.
type function struct {
	args int
	run  func(stub shim.ChaincodeStubInterface, args []string) ([]byte, error)
}

func functions() map[string]function {
	return map[string]function{
		"put": {2, put}, "get": {1, get}, "del": {1, del}, "update": {2, update}, "fill": {2, fill}, "big": {2, big},
		"nothing": {0, nothing}, "twice": {1, twice}, "readAfterWrite": {2, readAfterWrite}, "multi": {1, multi}, "batch": {2, batch},
		"range": {2, byRange}, "page": {4, page}, "rangeThenPut": {3, rangeThenPut}, "pageThenPut": {2, pageThenPut}, "first": {2, first},
		"putComposite": {2, putComposite}, "composite": {1, composite}, "pageComposite": {3, pageComposite},
		"history": {1, history}, "query": {1, query}, "pageQuery": {3, pageQuery},
		"event": {3, event}, "twoEvents": {1, twoEvents}, "transient": {1, transient}, "who": {0, who}, "about": {0, about}, "echo": {0, echo}, "call": {2, call},
		"putPrivate": {2, putPrivate}, "getPrivate": {2, getPrivate}, "hashPrivate": {2, hashPrivate}, "delPrivate": {2, delPrivate},
		"purgePrivate": {2, purgePrivate}, "rangePrivate": {3, rangePrivate},
		"setPolicy": {1, setPolicy}, "getPolicy": {1, getPolicy},
	}
}
