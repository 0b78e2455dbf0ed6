package export

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"heddle.dev/heddle/internal/fabric/msp"
)

var update = flag.Bool("update", false, "write the golden files")

func block(name string) []byte {
	return []byte("-----BEGIN CERTIFICATE-----\n" + name + "\n-----END CERTIFICATE-----\n")
}

func member(name string, n Organization) Organization {
	n.Name, n.MSPID = name, strings.ToUpper(name[:1])+name[1:]+"MSP"
	n.MSP = msp.Material{
		CACerts: [][]byte{block(name + "-root")}, IntermediateCerts: [][]byte{block(name + "-ops"), block(name + "-app")},
		TLSCACerts: [][]byte{block(name + "-tlsroot")}, TLSIntermediates: [][]byte{block(name + "-tlsops")},
		NodeOUs: msp.DefaultNodeOUs(),
	}
	return n
}

// demo is a network like the sample: an ordering organisation and two members, one of which has test-network's names
// in its peers' certificates.
func demo() Network {
	user := func(name string) User { return User{Name: name, Cert: block(name), Key: []byte("key of " + name)} }
	return Network{
		Name: "demo",
		Organizations: []Organization{
			member("ordering", Organization{
				Orderers: []Node{{Name: "orderer0-ordering", Address: "orderer0-ordering.demo:7050"}, {Name: "orderer1-ordering", Address: "orderer1-ordering.demo:7050"}},
				Users:    []User{user("Admin")},
			}),
			member("org1", Organization{
				Peers: []Node{{Name: "peer0-org1", Address: "localhost:7051", ServerName: "peer0-org1.demo", SANs: []string{"peer0.org1.example.com"}}},
				CA:    &Node{Name: "ca-org1", Address: "localhost:7054"}, CAName: "ca-org1",
				Users: []User{user("Admin"), user("User1")},
			}),
			member("org2", Organization{
				Peers: []Node{{Name: "peer0-org2", Address: "peer0-org2.demo:7051"}},
				Users: []User{user("Admin")},
			}),
		},
		Channels: []Channel{{ID: "demo", Members: []string{"org1", "org2"}}, {ID: "private", Members: []string{"org2"}}},
	}
}

// listing is every file with its mode and content, for a golden file.
func listing(files map[string]File) string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(files)) {
		mode := "public "
		if files[name].Private {
			mode = "private"
		}
		fmt.Fprintf(&b, "== %s %s\n%s", mode, name, files[name].Data)
		if !strings.HasSuffix(string(files[name].Data), "\n") {
			b.WriteString("\n")
		}
	}
	return b.String()
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", name, diff)
	}
}

func TestTestNetwork(t *testing.T) {
	files, err := TestNetwork(demo(), "example.com")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "test-network.golden", listing(files))
}

// TestTestNetworkPaths names the paths that the applications of fabric-samples have written into them.
func TestTestNetworkPaths(t *testing.T) {
	files, err := TestNetwork(demo(), "example.com")
	if err != nil {
		t.Fatal(err)
	}
	org1 := "organizations/peerOrganizations/org1.example.com/"
	for _, name := range []string{
		org1 + "users/User1@org1.example.com/msp/signcerts/User1@org1.example.com-cert.pem",
		org1 + "users/User1@org1.example.com/msp/keystore/priv_sk",
		org1 + "users/Admin@org1.example.com/msp/config.yaml",
		org1 + "peers/peer0.org1.example.com/tls/ca.crt",
		org1 + "connection-org1.json",
		org1 + "connection-org1.yaml",
		org1 + "ca/ca.org1.example.com-cert.pem",
		org1 + "tlsca/tlsca.org1.example.com-cert.pem",
		"organizations/ordererOrganizations/example.com/orderers/orderer.example.com/msp/tlscacerts/tlsca.example.com-cert.pem",
		"organizations/ordererOrganizations/example.com/orderers/orderer2.example.com/tls/ca.crt",
		"organizations/ordererOrganizations/example.com/users/Admin@example.com/msp/keystore/priv_sk",
	} {
		if _, ok := files[name]; !ok {
			t.Errorf("%s is missing", name)
		}
	}
	for name, f := range files {
		if strings.Contains(string(f.Data), "key of") != f.Private {
			t.Errorf("%s: Private is %v", name, f.Private)
		}
	}
}

func TestSeveralOrderingOrganizations(t *testing.T) {
	n := demo()
	n.Organizations[1].Orderers = []Node{{Name: "orderer0-org1", Address: "orderer0-org1.demo:7050"}}
	files, err := TestNetwork(n, "example.com")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{
		"organizations/ordererOrganizations/ordering.example.com/orderers/orderer.ordering.example.com/tls/ca.crt",
		"organizations/ordererOrganizations/org1.example.com/orderers/orderer.org1.example.com/tls/ca.crt",
	} {
		if _, ok := files[name]; !ok {
			t.Errorf("%s is missing", name)
		}
	}
}

func TestProfile(t *testing.T) {
	profile, err := Profile(demo(), "org1")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "profile.json", string(profile))
	text, err := ToYAML(profile)
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "profile.yaml", string(text))
	if _, err := Profile(demo(), "org3"); err == nil {
		t.Error("a profile of an organisation that does not exist was made")
	}
}

func TestProfiles(t *testing.T) {
	for name, c := range map[string]struct {
		orgs []string
		want []string
	}{
		"all with peers": {want: []string{"connection-org1.json", "connection-org1.yaml", "connection-org2.json", "connection-org2.yaml"}},
		"one":            {orgs: []string{"org2"}, want: []string{"connection-org2.json", "connection-org2.yaml"}},
		"without peers":  {orgs: []string{"ordering"}, want: nil},
	} {
		t.Run(name, func(t *testing.T) {
			files, err := Profiles(demo(), c.orgs)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, slices.Sorted(maps.Keys(files))); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func tree(t *testing.T, dir string) []string {
	t.Helper()
	var out []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		rel, _ := filepath.Rel(dir, path)
		out = append(out, fmt.Sprintf("%04o %s", info.Mode().Perm(), rel))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestWrite(t *testing.T) {
	files := map[string]File{"a/b/cert.pem": {Data: []byte("cert")}, "a/key.pem": {Data: []byte("key"), Private: true}}
	want := []string{"0644 a/b/cert.pem", "0600 a/key.pem"}
	dir := filepath.Join(t.TempDir(), "new", "folder")
	if err := Write(t.Context(), dir, files, false); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, tree(t, dir)); diff != "" {
		t.Error(diff)
	}

	// A second time it refuses, and replaces when told to: a key that was readable by all is not afterwards.
	if err := Write(t.Context(), dir, files, false); err == nil {
		t.Error("existing files were overwritten")
	}
	if err := os.Chmod(filepath.Join(dir, "a/key.pem"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := Write(t.Context(), dir, files, true); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, tree(t, dir)); diff != "" {
		t.Error(diff)
	}
}

// TestWriteUndo: an interrupted or failed export leaves nothing of its own, and everything that was there.
func TestWriteUndo(t *testing.T) {
	files := map[string]File{"a/one": {Data: []byte("1")}, "b/two": {Data: []byte("2")}}
	t.Run("interrupted", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		dir := filepath.Join(t.TempDir(), "out")
		if err := Write(ctx, dir, files, false); !errors.Is(err, context.Canceled) {
			t.Fatalf("got %v", err)
		}
		if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the folder is there: %v", err)
		}
	})
	t.Run("a folder is in the way", func(t *testing.T) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "b"), []byte("mine"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := Write(t.Context(), dir, files, false); err == nil {
			t.Fatal("no error")
		}
		if diff := cmp.Diff([]string{"0600 b"}, tree(t, dir)); diff != "" {
			t.Error(diff)
		}
		if _, err := os.Stat(filepath.Join(dir, "a")); !errors.Is(err, fs.ErrNotExist) {
			t.Error("folder a was left behind")
		}
	})
	t.Run("links lead nowhere", func(t *testing.T) {
		dir, outside := t.TempDir(), t.TempDir()
		if err := os.Symlink(outside, filepath.Join(dir, "a")); err != nil {
			t.Fatal(err)
		}
		if err := Write(t.Context(), dir, files, true); err == nil {
			t.Error("a link out of the folder was followed")
		}
		if got := tree(t, outside); len(got) > 0 {
			t.Errorf("files outside of the folder: %v", got)
		}
	})
}
