package launch

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/validation"
	"sigs.k8s.io/yaml"
)

var update = flag.Bool("update", false, "write golden files")

func golden(t *testing.T, name string, objects ...any) {
	t.Helper()
	var got bytes.Buffer
	for _, o := range objects {
		raw, err := yaml.Marshal(o)
		if err != nil {
			t.Fatal(err)
		}
		got.WriteString("---\n")
		got.Write(raw)
	}
	path := filepath.Join("testdata", name+".yaml")
	if *update {
		if err := os.WriteFile(path, got.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got.String()); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
}

func peer() Peer {
	return Peer{
		Node: "peer0-banka", Network: "trade", NetworkID: "id-12345",
		PodName: "peer0-banka-7d9f-x", PodUID: "0b2f", PodIP: "10.1.2.3",
	}
}

func contract() Contract {
	return Contract{
		PackageID: "asset:" + strings.Repeat("ab", 32), Image: "registry.local/asset@sha256:" + strings.Repeat("0", 64),
		Address: "peer0-banka.trade:7052", MSPID: "BankAMSP", Cert: "cert", Key: "key", Root: "root",
	}
}

func settings() Settings {
	return Settings{
		Chaincode: "asset", Channel: "demo", Contract: "basic", RuntimeClassName: "crun", ImagePullPolicy: corev1.PullAlways,
		ImagePullSecrets: []string{"pull", "pull-too"}, IdleSeconds: 60,
		Resources: &corev1.ResourceRequirements{
			Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("1")},
			Limits:   corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("1Gi")},
		},
	}
}

func TestGolden(t *testing.T) {
	plain, open := peer(), contract()
	plain.NetworkID, plain.PodIP = "", ""
	open.Cert, open.Key, open.Root = "", "", ""
	for name, c := range map[string]struct {
		peer     Peer
		contract Contract
		settings Settings
	}{
		"settings": {peer(), contract(), settings()},
		"defaults": {peer(), contract(), Settings{}},
		"no-tls":   {plain, open, Settings{}},
	} {
		t.Run(name, func(t *testing.T) {
			golden(t, name, Secret(c.peer, c.contract, c.settings), Pod(c.peer, c.contract, c.settings))
		})
	}
}

func TestName(t *testing.T) {
	for name, c := range map[string]struct {
		node, label, want string
	}{
		"plain":              {"peer0-banka", "asset", "cc-peer0-banka-asset-"},
		"odd letters":        {"peer0-banka", "Asset_1.0+b", "cc-peer0-banka-asset-1-0-b-"},
		"odd ends":           {"peer0-banka", "_asset.", "cc-peer0-banka-asset-"},
		"letters of others":  {"peer0-banka", "größe", "cc-peer0-banka-gr--e-"},
		"nothing is left":    {"peer0-banka", "___", "cc-peer0-banka-"},
		"no label":           {"peer0-banka", "", "cc-peer0-banka-"},
		"a long label":       {"peer0-banka", strings.Repeat("a", 100), "cc-peer0-banka-" + strings.Repeat("a", 37) + "-"},
		"cut behind a mark":  {"peer0-banka", strings.Repeat("a", 36) + "..b", "cc-peer0-banka-" + strings.Repeat("a", 36) + "-"},
		"room for a letter":  {strings.Repeat("p", 47), "asset", "cc-" + strings.Repeat("p", 47) + "-a-"},
		"a long node's name": {strings.Repeat("p", 49), "asset", "cc-" + strings.Repeat("p", 49) + "-"},
	} {
		t.Run(name, func(t *testing.T) {
			got := Name(Peer{Node: c.node}, Contract{PackageID: c.label + ":00", Cert: "1"})
			if head := got[:len(got)-hashSize]; head != c.want {
				t.Errorf("%q, want %q and a hash", got, c.want)
			}
			if errs := validation.IsDNS1123Label(got); len(errs) > 0 {
				t.Errorf("%q (%d letters): %v", got, len(got), errs)
			}
		})
	}
}

// TestNameIsOfOneLaunch: the same name again only for the same package and certificate at the same peer.
func TestNameIsOfOneLaunch(t *testing.T) {
	seen := map[string]string{}
	for what, c := range map[string]struct{ node, id, cert string }{
		"a launch": {"peer0-banka", "asset:00", "1"}, "another certificate": {"peer0-banka", "asset:00", "2"},
		"another hash": {"peer0-banka", "asset:01", "1"}, "another label": {"peer0-banka", "asset.:00", "1"},
		"another peer": {"peer1-banka", "asset:00", "1"},
	} {
		name := Name(Peer{Node: c.node}, Contract{PackageID: c.id, Cert: c.cert})
		if before, ok := seen[name]; ok {
			t.Errorf("%s and %s have the name %s", what, before, name)
		}
		seen[name] = what
		if again := Name(Peer{Node: c.node}, Contract{PackageID: c.id, Cert: c.cert}); again != name {
			t.Errorf("%s has the names %s and %s", what, name, again)
		}
	}
	if long := Name(Peer{Node: strings.Repeat("p", 60)}, contract()); !strings.HasPrefix(long, "cc-"+strings.Repeat("p", 60)+"-") {
		t.Errorf("%s does not hold the whole name of its peer, which the fence asks for", long)
	}
}

func TestHostAliases(t *testing.T) {
	for name, c := range map[string]struct {
		ip, address string
		want        []corev1.HostAlias
	}{
		"a name":        {"10.1.2.3", "peer0-banka.trade:7052", []corev1.HostAlias{{IP: "10.1.2.3", Hostnames: []string{"peer0-banka.trade"}}}},
		"IPv6":          {"fd00::3", "peer0-banka.trade:7052", []corev1.HostAlias{{IP: "fd00::3", Hostnames: []string{"peer0-banka.trade"}}}},
		"an address":    {"10.1.2.3", "10.1.2.3:7052", nil},
		"an IPv6":       {"10.1.2.3", "[fd00::3]:7052", nil},
		"without a pod": {"", "peer0-banka.trade:7052", nil},
		"no port":       {"10.1.2.3", "peer0-banka.trade", nil},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, hostAliases(Peer{PodIP: c.ip}, Contract{Address: c.address})); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestMemoryIsLimited whatever the settings, which stay as they are.
func TestMemoryIsLimited(t *testing.T) {
	for name, given := range map[string]*corev1.ResourceRequirements{
		"none": nil, "empty": {},
		"CPU": {Limits: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("1")}},
	} {
		t.Run(name, func(t *testing.T) {
			before := given.DeepCopy()
			if got := resources(given).Limits[corev1.ResourceMemory]; got.Value() != 256<<20 {
				t.Errorf("limit %s", got.String())
			}
			if diff := cmp.Diff(before, given); diff != "" {
				t.Errorf("the settings were changed:\n%s", diff)
			}
		})
	}
}

func TestWords(t *testing.T) {
	if got := contract().Label() + " " + SettingsConfigMap("asset"); got != "asset cc-asset" {
		t.Errorf("got %q", got)
	}
	for _, name := range []string{EnvAPI, EnvNode, EnvPodUID, "KUBERNETES_SERVICE_HOST"} {
		if !strings.Contains(strings.Join(Propagated(), " "), name) {
			t.Errorf("a peer withholds %s", name)
		}
	}
	if len(HopelessReasons()) == 0 {
		t.Error("nothing is hopeless")
	}
}
