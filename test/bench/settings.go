package main

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"heddle.dev/heddle/internal/fabric/channelconfig"
	"heddle.dev/heddle/internal/fabric/nodeenv"
)

// fingerprint is the hash of all that must be the same on both sides: the nodes' environment apart from addresses and
// paths, and the channel's configuration apart from names, keys and addresses.
func fingerprint(environments [][]nodeenv.Var, channel channelconfig.Channel) (string, error) {
	var env []string
	for _, vars := range environments {
		var node []string
		for _, v := range vars {
			if setting(v.Name) {
				node = append(node, v.Name+"="+unplaced(v))
			}
		}
		slices.Sort(node)
		env = append(env, strings.Join(node, "\n"))
	}
	slices.Sort(env)
	raw, err := json.Marshal(map[string]any{
		"env": env, "consensus": channel.Consensus, "consenters": len(channel.Consenters), "batch": channel.Batch,
		"raft": channel.RaftOptions, "capabilities": channel.Capabilities, "policies": channel.Policies, "acls": channel.ACLs,
		"members": len(channel.ApplicationOrgs),
	})
	if err != nil {
		return "", fmt.Errorf("encode settings: %w", err)
	}
	return fmt.Sprintf("%x", sha256.Sum256(raw))[:16], nil
}

// setting tells Fabric's own variables from those of the container around it.
func setting(name string) bool {
	return strings.HasPrefix(name, "CORE_") || strings.HasPrefix(name, "ORDERER_") || strings.HasPrefix(name, "FABRIC_LOGGING")
}

// unplaced is a variable's value unless it says where something is or what it is called: those differ of necessity.
func unplaced(v nodeenv.Var) string {
	if strings.ContainsAny(v.Value, "/:.") || strings.HasSuffix(v.Name, "_ID") || strings.HasSuffix(v.Name, "PORT") || strings.HasSuffix(v.Name, "MSPID") {
		return ""
	}
	return v.Value
}
