package nodeenv

import (
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write golden files")

func TestGolden(t *testing.T) {
	tls := TLS{Cert: "/tls/tls.crt", Key: "/tls/tls.key", Roots: "/tls/ca.crt"}
	peer := PeerConfig{
		ID: "peer0-banka", MSPID: "BankaMSP", Address: "peer0-banka.trade:7051", Listen: "0.0.0.0:7051",
		ChaincodeListen: "0.0.0.0:7052", ChaincodeAddress: "peer0-banka.trade:7052", OperationsListen: "0.0.0.0:9443",
		ConfigPath: "/etc/hyperledger/fabric", MSPPath: "/msp", DataPath: "/data", TLS: tls,
	}
	couch := peer
	couch.Bootstrap = []string{"peer0-banka.trade:7051", "peer1-banka.trade:7051"}
	couch.CouchDB = &CouchDB{Address: "127.0.0.1:5984"}
	couch.Builders = []Builder{{Name: "heddle", Path: "/builders/heddle", Propagate: []string{"POD_NAME", "POD_UID"}}}
	couch.Log = Log{Spec: "warn", Format: "json"}
	for name, vars := range map[string][]Var{
		"peer": Peer(peer), "peer-couchdb": Peer(couch),
		"orderer": Orderer(OrdererConfig{
			MSPID: "OrdMSP", ListenHost: "0.0.0.0", ListenPort: "7050", AdminListen: "0.0.0.0:7053", OperationsListen: "0.0.0.0:9443",
			ConfigPath: "/etc/hyperledger/fabric", MSPPath: "/msp", DataPath: "/data", TLS: tls,
		}),
	} {
		t.Run(name, func(t *testing.T) {
			got := strings.Join(Strings(vars), "\n") + "\n"
			path := "testdata/" + name + ".golden"
			if *update {
				if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Error(diff)
			}
			seen := map[string]bool{}
			for _, v := range vars {
				if seen[v.Name] {
					t.Errorf("%s is set twice", v.Name)
				}
				seen[v.Name] = true
			}
		})
	}
}
