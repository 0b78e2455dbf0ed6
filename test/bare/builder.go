package bare

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"

	"heddle.dev/heddle/internal/fabric/ccpackage"
	"heddle.dev/heddle/internal/fabric/nodeenv"
)

func (n *Network) builders() []nodeenv.Builder {
	path := n.options.BuilderPath
	if path == "" {
		path = filepath.Join(n.Dir, "builder")
	}
	return []nodeenv.Builder{{Name: "heddle", Path: path, Propagate: n.options.BuilderEnv}}
}

// builderScripts are the least that serves ccaas contracts, and launches k8s ones: here the name of an image is the path
// of a program.
var builderScripts = map[string]string{
	"detect": `grep -q -e '"type":"ccaas"' -e '"type":"k8s"' "$2/metadata.json"`,
	"build":  `cp -r "$1/." "$3/"`,
	// Without either file it fails, as the builders of releases do: cases of the differential suite count on that.
	"release": `if [ ! -f "$1/image.json" ]; then mkdir -p "$2/chaincode/server"; cp "$1/connection.json" "$2/chaincode/server/"; fi
if [ -d "$1/META-INF/statedb" ]; then cp -r "$1/META-INF/statedb" "$2/"; fi`,
	"run": `image=$1/image.json
cd "$2"
field() { sed -n 's/.*"'"$1"'":"\([^"]*\)".*/\1/p' "$2"; }
file() { (umask 077; printf '%b' "$(field "$1" chaincode.json)" >"$2"); }
file client_cert client.crt
file client_key client.key
file root_cert root.crt
export CORE_CHAINCODE_ID_NAME="$(field chaincode_id chaincode.json)" CORE_PEER_LOCALMSPID="$(field mspid chaincode.json)" CORE_PEER_TLS_ENABLED=true
export CORE_TLS_CLIENT_CERT_FILE="$PWD/client.crt" CORE_TLS_CLIENT_KEY_FILE="$PWD/client.key" CORE_PEER_TLS_ROOTCERT_FILE="$PWD/root.crt"
exec "$(field name "$image")" -peer.address="$(field peer_address chaincode.json)"`,
}

// Launch installs a package on every peer by which they start a contract's program themselves, and returns its id.
func (n *Network) Launch(ctx context.Context, name, program string, meta ...ccpackage.File) (string, error) {
	raw, err := os.ReadFile(program)
	if err != nil {
		return "", fmt.Errorf("launch %s: %w", name, err)
	}
	sum := sha256.Sum256(raw)
	pkg, err := ccpackage.K8s(name+"_1", ccpackage.Image{Name: program, Digest: "sha256:" + hex.EncodeToString(sum[:])}, meta...)
	if err != nil {
		return "", err
	}
	id, err := ccpackage.ID(pkg)
	if err != nil {
		return "", err
	}
	return id, n.install(ctx, pkg)
}

func (n *Network) writeBuilder() error {
	if n.options.BuilderPath != "" {
		return nil
	}
	dir := filepath.Join(n.Dir, "builder", "bin")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("write builder: %w", err)
	}
	for name, script := range builderScripts {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\nset -e\n"+script+"\n"), 0o700); err != nil {
			return fmt.Errorf("write builder: %w", err)
		}
	}
	return nil
}
