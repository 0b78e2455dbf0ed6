package main

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"strings"

	"github.com/hyperledger/fabric-chaincode-go/v2/pkg/cid"
	"github.com/hyperledger/fabric-chaincode-go/v2/shim"
	"github.com/hyperledger/fabric-contract-api-go/v2/contractapi"
)

// ledger is as much of a peer as the contract needs, in memory.
type ledger struct {
	shim.ChaincodeStubInterface
	state map[string][]byte
	event string
}

func newLedger() *ledger {
	return &ledger{state: map[string][]byte{}}
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

func (l *ledger) CreateCompositeKey(kind string, attributes []string) (string, error) {
	return "\x00" + kind + "\x00" + strings.Join(attributes, "\x00"), nil
}

// client calls the contract; "mint" mints.
type client struct {
	cid.ClientIdentity
	name string
}

func (c client) GetMSPID() (string, error) { return "Org1MSP", nil }

func (c client) GetX509Certificate() (*x509.Certificate, error) {
	return &x509.Certificate{Subject: pkix.Name{CommonName: c.name}}, nil
}

func (c client) AssertAttributeValue(string, string) error {
	if c.name != "mint" {
		return errors.New("it is not there")
	}
	return nil
}

func (l *ledger) as(name string) contractapi.TransactionContextInterface {
	ctx := new(contractapi.TransactionContext)
	ctx.SetStub(l)
	ctx.SetClientIdentity(client{name: name})
	return ctx
}
