// Command asset-go is Heddle's sample contract: assets that can be created,
// read, changed, handed over, deleted and listed, with an event at each change.
//
// It runs in both ways a peer can use: launched by the peer it dials the address
// given by -peer.address; as a service (CHAINCODE_SERVER_ADDRESS is set) it
// listens and the peer dials it.
package main

import (
	"fmt"
	"os"

	"github.com/hyperledger/fabric-contract-api-go/v2/contractapi"
)

func main() {
	if err := run(os.Getenv); err != nil {
		fmt.Fprintf(os.Stderr, "asset-go: %v\n", err)
		os.Exit(1)
	}
}

// run blocks as long as the contract serves.
func run(getenv func(string) string) error {
	chaincode, err := newChaincode()
	if err != nil {
		return err
	}
	if getenv("CHAINCODE_SERVER_ADDRESS") == "" {
		return chaincode.Start()
	}
	server, err := newServer(getenv, chaincode)
	if err != nil {
		return err
	}
	return server.Start()
}

func newChaincode() (*contractapi.ContractChaincode, error) {
	contract := new(AssetContract)
	contract.Info.Title = "asset-go"
	contract.Info.Description = "Assets with an owner and a value"
	contract.Info.Version = "1.0.0"
	chaincode, err := contractapi.NewChaincode(contract)
	if err != nil {
		return nil, fmt.Errorf("assemble contract: %w", err)
	}
	return chaincode, nil
}
