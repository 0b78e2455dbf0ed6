package main

import (
	"github.com/hyperledger/fabric-chaincode-go/v2/pkg/cid"
	"github.com/hyperledger/fabric-chaincode-go/v2/shim"
	"github.com/hyperledger/fabric-contract-api-go/v2/contractapi"
)

// ledger is as much of a peer as the contract needs, in memory.
type ledger struct {
	shim.ChaincodeStubInterface
	state    map[string][]byte
	policies map[string][]byte
	event    string
}

func newLedger() *ledger {
	return &ledger{state: map[string][]byte{}, policies: map[string][]byte{}}
}

func (l *ledger) GetState(key string) ([]byte, error) { return l.state[key], nil }

func (l *ledger) PutState(key string, value []byte) error {
	l.state[key] = value
	return nil
}

func (l *ledger) DelState(key string) error {
	delete(l.state, key)
	return nil
}

func (l *ledger) SetEvent(name string, payload []byte) error {
	l.event = name + " " + string(payload)
	return nil
}

func (l *ledger) GetStateValidationParameter(key string) ([]byte, error) { return l.policies[key], nil }

func (l *ledger) SetStateValidationParameter(key string, policy []byte) error {
	l.policies[key] = policy
	return nil
}

// client calls the contract for an organization.
type client struct {
	cid.ClientIdentity
	mspID string
}

func (c client) GetMSPID() (string, error) { return c.mspID, nil }

func (l *ledger) as(mspID string) contractapi.TransactionContextInterface {
	ctx := new(contractapi.TransactionContext)
	ctx.SetStub(l)
	ctx.SetClientIdentity(client{mspID: mspID})
	return ctx
}
