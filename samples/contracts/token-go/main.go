// Command token-go is a sample contract: a fungible token
// with accounts and allowances.
package main

import (
	"fmt"
	"os"

	"github.com/hyperledger/fabric-contract-api-go/v2/contractapi"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintf(os.Stderr, "token-go: %v\n", err)
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
	contract := new(TokenContract)
	contract.Info.Title = "token-go"
	contract.Info.Description = "A fungible token with accounts and allowances"
	contract.Info.Version = "1.0.0"
	chaincode, err := contractapi.NewChaincode(contract)
	if err != nil {
		return nil, fmt.Errorf("assemble contract: %w", err)
	}
	return chaincode, nil
}
