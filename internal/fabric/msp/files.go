package msp

import (
	"fmt"
	"strings"
)

// Files lays the material out as the folder that Fabric's nodes and tools
// load, by slash-separated path. Sign certificate and key are not among them:
// they are the node's own (signcerts/cert.pem and keystore/key.pem).
func (m Material) Files() map[string][]byte {
	files := map[string][]byte{}
	put := func(folder, name string, blocks [][]byte) {
		for i, block := range blocks {
			path := fmt.Sprintf("%s/%s.pem", folder, name)
			if i > 0 {
				path = fmt.Sprintf("%s/%s-%d.pem", folder, name, i)
			}
			files[path] = block
		}
	}
	put("cacerts", "ca", m.CACerts)
	put("intermediatecerts", "ca", m.IntermediateCerts)
	put("tlscacerts", "tlsca", m.TLSCACerts)
	put("tlsintermediatecerts", "tlsca", m.TLSIntermediates)
	put("admincerts", "admin", m.Admins)
	put("crls", "crl", m.CRLs)
	if m.NodeOUs.Enable {
		files["config.yaml"] = m.NodeOUs.yaml(files)
	}
	return files
}

func (n NodeOUs) yaml(files map[string][]byte) []byte {
	var out strings.Builder
	out.WriteString("NodeOUs:\n  Enable: true\n")
	for _, role := range []struct {
		key string
		ou  OU
	}{{"Client", n.Client}, {"Peer", n.Peer}, {"Admin", n.Admin}, {"Orderer", n.Orderer}} {
		if role.ou.Identifier == "" {
			continue
		}
		fmt.Fprintf(&out, "  %sOUIdentifier:\n    OrganizationalUnitIdentifier: %s\n", role.key, role.ou.Identifier)
		if path := pathOf(files, role.ou.Certificate); path != "" {
			fmt.Fprintf(&out, "    Certificate: %s\n", path)
		}
	}
	return []byte(out.String())
}

// pathOf finds the file of an authority that a role is restricted to.
func pathOf(files map[string][]byte, block []byte) string {
	if len(block) == 0 {
		return ""
	}
	found := ""
	for path, content := range files {
		issuer := strings.HasPrefix(path, "cacerts/") || strings.HasPrefix(path, "intermediatecerts/")
		if issuer && string(content) == string(block) && (found == "" || path < found) {
			found = path
		}
	}
	return found
}
