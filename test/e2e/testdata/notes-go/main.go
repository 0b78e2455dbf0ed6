package main

import (
	"fmt"
	"log"

	"github.com/hyperledger/fabric-contract-api-go/v2/contractapi"
)

// SmartContract keeps notes.
type SmartContract struct {
	contractapi.Contract
}

// Put writes a note.
func (s *SmartContract) Put(ctx contractapi.TransactionContextInterface, key, text string) error {
	return ctx.GetStub().PutState(key, []byte(text))
}

// Get reads a note.
func (s *SmartContract) Get(ctx contractapi.TransactionContextInterface, key string) (string, error) {
	text, err := ctx.GetStub().GetState(key)
	if err != nil {
		return "", err
	}
	if text == nil {
		return "", fmt.Errorf("note %s does not exist", key)
	}
	return string(text), nil
}

func main() {
	chaincode, err := contractapi.NewChaincode(&SmartContract{})
	if err != nil {
		log.Panicf("make chaincode: %v", err)
	}
	if err := chaincode.Start(); err != nil {
		log.Panicf("start chaincode: %v", err)
	}
}
