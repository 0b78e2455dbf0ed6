package main

import (
	"crypto/sha256"
	"errors"

	"github.com/hyperledger/fabric-chaincode-go/v2/pkg/cid"
	"github.com/hyperledger/fabric-chaincode-go/v2/shim"
	"github.com/hyperledger/fabric-contract-api-go/v2/contractapi"
)

// ledger is as much of a peer as the contract needs, in memory.
type ledger struct {
	shim.ChaincodeStubInterface
	state     map[string][]byte
	private   map[string][]byte // by collection, slash, key
	transient map[string][]byte
	event     string
}

func newLedger() *ledger {
	return &ledger{state: map[string][]byte{}, private: map[string][]byte{}, transient: map[string][]byte{}}
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

func (l *ledger) GetTransient() (map[string][]byte, error) { return l.transient, nil }

func (l *ledger) GetPrivateData(collection, key string) ([]byte, error) {
	return l.private[collection+"/"+key], nil
}

func (l *ledger) GetPrivateDataHash(collection, key string) ([]byte, error) {
	stored, ok := l.private[collection+"/"+key]
	if !ok {
		return nil, nil
	}
	sum := sha256.Sum256(stored)
	return sum[:], nil
}

func (l *ledger) PutPrivateData(collection, key string, value []byte) error {
	l.private[collection+"/"+key] = value
	return nil
}

func (l *ledger) PurgePrivateData(collection, key string) error {
	if _, ok := l.private[collection+"/"+key]; !ok {
		return errors.New("there is nothing to purge")
	}
	delete(l.private, collection+"/"+key)
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
