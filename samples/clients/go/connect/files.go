package connect

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Files of an identity, as "heddle identity enroll --out" and the Identity's
// Secret have them.
const (
	certFile    = "cert.pem"
	keyFile     = "key.pem"
	mspIDFile   = "mspID"
	profileFile = "connection-profile.json"
)

// profile is what is needed of a connection profile.
type profile struct {
	Organizations map[string]struct {
		MSPID string   `json:"mspid"`
		Peers []string `json:"peers"`
	} `json:"organizations"`
	Peers map[string]struct {
		URL        string `json:"url"`
		TLSCACerts struct {
			PEM string `json:"pem"`
		} `json:"tlsCACerts"`
		GRPCOptions struct {
			ServerName string `json:"ssl-target-name-override"`
		} `json:"grpcOptions"`
	} `json:"peers"`
}

// endpoint is a peer's gateway.
type endpoint struct {
	address, serverName, roots string
}

// identityFiles is the content of an identity's folder.
type identityFiles struct {
	mspID     string
	cert, key []byte
	peer      endpoint
}

// read takes the peer from another profile if one is named.
func read(folder, otherProfile string) (*identityFiles, error) {
	texts := map[string][]byte{}
	for _, name := range []string{certFile, keyFile, mspIDFile} {
		text, err := os.ReadFile(filepath.Join(folder, name))
		if err != nil {
			return nil, fmt.Errorf("read identity: %w", err)
		}
		texts[name] = text
	}
	file := otherProfile
	if file == "" {
		file = filepath.Join(folder, profileFile)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read connection profile: %w", err)
	}
	var p profile
	if err := json.Unmarshal(text, &p); err != nil {
		return nil, fmt.Errorf("read connection profile %s: %w", file, err)
	}
	files := &identityFiles{mspID: strings.TrimSpace(string(texts[mspIDFile])), cert: texts[certFile], key: texts[keyFile]}
	if files.peer, err = p.peerOf(files.mspID); err != nil {
		return nil, fmt.Errorf("read connection profile %s: %w", file, err)
	}
	return files, nil
}

// peerOf is the first peer of an organization.
func (p profile) peerOf(mspID string) (endpoint, error) {
	for _, organization := range p.Organizations {
		if organization.MSPID != mspID || len(organization.Peers) == 0 {
			continue
		}
		peer := p.Peers[organization.Peers[0]]
		return endpoint{strings.TrimPrefix(peer.URL, "grpcs://"), peer.GRPCOptions.ServerName, peer.TLSCACerts.PEM}, nil
	}
	return endpoint{}, fmt.Errorf("it has no peers of %s", mspID)
}
