package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/hyperledger/fabric-chaincode-go/v2/shim"
)

// newServer reads the environment of a contract that runs as a service:
//
//	CHAINCODE_SERVER_ADDRESS    host:port to listen on
//	CHAINCODE_ID                package id, as the peer prints it at install
//	CHAINCODE_TLS_CERT, _KEY    files; both or neither
//	CHAINCODE_TLS_CLIENT_CACERT file; peers must then show a certificate of this CA
func newServer(getenv func(string) string, chaincode shim.Chaincode) (*shim.ChaincodeServer, error) {
	server := &shim.ChaincodeServer{
		CCID:    getenv("CHAINCODE_ID"),
		Address: getenv("CHAINCODE_SERVER_ADDRESS"),
		CC:      chaincode,
	}
	if server.CCID == "" {
		return nil, errors.New("serve contract: CHAINCODE_ID is empty: set it to the package id that the peer gave at install")
	}
	certificate, key := getenv("CHAINCODE_TLS_CERT"), getenv("CHAINCODE_TLS_KEY")
	switch {
	case certificate == "" && key == "":
		if getenv("CHAINCODE_TLS_CLIENT_CACERT") != "" {
			return nil, errors.New("serve contract: CHAINCODE_TLS_CLIENT_CACERT needs CHAINCODE_TLS_CERT and CHAINCODE_TLS_KEY too")
		}
		server.TLSProps.Disabled = true
		return server, nil
	case certificate == "" || key == "":
		return nil, errors.New("serve contract: set both CHAINCODE_TLS_CERT and CHAINCODE_TLS_KEY, or neither")
	}
	files := []struct {
		name    string
		content *[]byte
	}{
		{certificate, &server.TLSProps.Cert},
		{key, &server.TLSProps.Key},
		{getenv("CHAINCODE_TLS_CLIENT_CACERT"), &server.TLSProps.ClientCACerts},
	}
	for _, file := range files {
		if file.name == "" {
			continue
		}
		var err error
		if *file.content, err = os.ReadFile(file.name); err != nil {
			return nil, fmt.Errorf("read TLS file: %w", err)
		}
	}
	return server, nil
}
