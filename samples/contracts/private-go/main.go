// Command private-go is a sample contract: offers with prices that
// only the members of a collection of private data see.
package main

import (
	"fmt"
	"os"

	"github.com/hyperledger/fabric-contract-api-go/v2/contractapi"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintf(os.Stderr, "private-go: %v\n", err)
		os.Exit(1)
	}
}

// run blocks as long as the contract serves the peer that launched it.
func run() error {
	chaincode, err := newChaincode()
	if err != nil {
		return err
	}
	return chaincode.Start()
}

func newChaincode() (*contractapi.ContractChaincode, error) {
	contract := new(OfferContract)
	contract.Info.Title = "private-go"
	contract.Info.Description = "Offers with private prices"
	contract.Info.Version = "1.0.0"
	chaincode, err := contractapi.NewChaincode(contract)
	if err != nil {
		return nil, fmt.Errorf("assemble contract: %w", err)
	}
	return chaincode, nil
}
