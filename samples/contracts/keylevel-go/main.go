// Command keylevel-go is a sample contract: titles, each
// with an endorsement policy of its own.
package main

import (
	"fmt"
	"os"

	"github.com/hyperledger/fabric-contract-api-go/v2/contractapi"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintf(os.Stderr, "keylevel-go: %v\n", err)
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
	contract := new(TitleContract)
	contract.Info.Title = "keylevel-go"
	contract.Info.Description = "Titles with an endorsement policy for each"
	contract.Info.Version = "1.0.0"
	chaincode, err := contractapi.NewChaincode(contract)
	if err != nil {
		return nil, fmt.Errorf("assemble contract: %w", err)
	}
	return chaincode, nil
}
