package node_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"heddle.dev/heddle/fabsim/internal/node"
	"heddle.dev/heddle/fabsim/internal/simtest"
)

const file = `
Peer:
  Address: 1.2.3.4:7051
  TLS: {Enabled: false, Cert: {File: tls/server.crt}}
  Keepalive: {MinInterval: 60s}
  List: [a, b]
  Bootstrap: 127.0.0.1:7051
Chaincode:
  ExternalBuilders:
  - {name: file, path: /f}
Size: 4096
`

func load(t *testing.T, o node.ConfigOptions, env ...string) *node.Config {
	t.Helper()
	dir := t.TempDir()
	simtest.Write(t, dir, map[string][]byte{"core.yaml": []byte(file)})
	o.Name, o.Environ = "core", append(env, "FABRIC_CFG_PATH="+dir)
	c, err := node.LoadConfig(o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestConfig(t *testing.T) {
	type builder struct{ Name, Path string }
	tests := map[string]struct {
		env  []string
		read func(*node.Config) any
		want any
	}{
		"a text of the file":           {read: func(c *node.Config) any { return c.String("peer.address", "") }, want: "1.2.3.4:7051"},
		"a text of the environment":    {env: []string{"CORE_PEER_ADDRESS=x:1"}, read: func(c *node.Config) any { return c.String("peer.address", "") }, want: "x:1"},
		"a text of nowhere":            {read: func(c *node.Config) any { return c.String("peer.nothing", "otherwise") }, want: "otherwise"},
		"another prefix is not ours":   {env: []string{"ORDERER_PEER_ADDRESS=x:1"}, read: func(c *node.Config) any { return c.String("peer.address", "") }, want: "1.2.3.4:7051"},
		"a truth of the environment":   {env: []string{"CORE_PEER_TLS_ENABLED=true"}, read: func(c *node.Config) any { return c.Bool("peer.tls.enabled", false) }, want: true},
		"a duration":                   {read: func(c *node.Config) any { return c.Duration("peer.keepalive.minInterval", 0) }, want: time.Minute},
		"a list of the file":           {read: func(c *node.Config) any { return c.Strings("peer.list") }, want: []string{"a", "b"}},
		"a single text as a list":      {read: func(c *node.Config) any { return c.Strings("peer.bootstrap") }, want: []string{"127.0.0.1:7051"}},
		"a list in brackets":           {env: []string{"CORE_PEER_LIST=[/a, /b]"}, read: func(c *node.Config) any { return c.Strings("peer.list") }, want: []string{"/a", "/b"}},
		"a list with blanks":           {env: []string{"CORE_PEER_LIST=a b"}, read: func(c *node.Config) any { return c.Strings("peer.list") }, want: []string{"a", "b"}},
		"a plain size":                 {read: func(c *node.Config) any { return c.Size("size", 0) }, want: int64(4096)},
		"a size with its unit":         {env: []string{"CORE_SIZE=10 MB"}, read: func(c *node.Config) any { return c.Size("size", 0) }, want: int64(10 << 20)},
		"an absolute path":             {env: []string{"CORE_PEER_TLS_CERT_FILE=/t"}, read: func(c *node.Config) any { return c.Path("peer.tls.cert.file", "") }, want: "/t"},
		"builders of the file":         {read: func(c *node.Config) any { var b []builder; c.Decode("chaincode.externalBuilders", &b); return b }, want: []builder{{"file", "/f"}}},
		"builders of the environment":  {env: []string{"CORE_CHAINCODE_EXTERNALBUILDERS=[{name: e, path: /e}]"}, read: func(c *node.Config) any { var b []builder; c.Decode("chaincode.externalBuilders", &b); return b }, want: []builder{{"e", "/e"}}},
		"a branch as a map":            {read: func(c *node.Config) any { return c.Map("peer.keepalive") }, want: map[string]string{"mininterval": "60s"}},
		"the environment before a map": {env: []string{"CORE_PEER_KEEPALIVE_MININTERVAL=5s"}, read: func(c *node.Config) any { return c.Map("peer.keepalive") }, want: map[string]string{"mininterval": "5s"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			c := load(t, node.ConfigOptions{}, test.env...)
			if diff := cmp.Diff(test.want, test.read(c)); diff != "" {
				t.Error(diff)
			}
			if err := c.Err(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestEmptyVariable(t *testing.T) {
	for counts, want := range map[bool]string{true: "", false: "1.2.3.4:7051"} {
		c := load(t, node.ConfigOptions{EmptyCounts: counts}, "CORE_PEER_ADDRESS=")
		if got := c.String("peer.address", "otherwise"); got != want {
			t.Errorf("empty counts: %v: got %q, want %q", counts, got, want)
		}
	}
}

func TestConfigProblems(t *testing.T) {
	tests := map[string]func(*node.Config){
		"a truth":    func(c *node.Config) { c.Bool("peer.address", false) },
		"a number":   func(c *node.Config) { c.Int("peer.address", 0) },
		"a fraction": func(c *node.Config) { c.Float("peer.address", 0) },
		"a duration": func(c *node.Config) { c.Duration("peer.address", 0) },
		"a size":     func(c *node.Config) { c.Size("peer.address", 0) },
		"builders":   func(c *node.Config) { var b []struct{ Name string }; c.Decode("peer.address", &b) },
	}
	for name, read := range tests {
		t.Run(name, func(t *testing.T) {
			c := load(t, node.ConfigOptions{})
			read(c)
			if c.Err() == nil {
				t.Error("an address was taken for it")
			}
		})
	}
	t.Run("too large a size", func(t *testing.T) {
		c := load(t, node.ConfigOptions{}, "CORE_SIZE=9 GB")
		c.Size("size", 0)
		if c.Err() == nil {
			t.Error("it was taken")
		}
	})
	t.Run("no file", func(t *testing.T) {
		if _, err := node.LoadConfig(node.ConfigOptions{Name: "nobody", Environ: []string{"FABRIC_CFG_PATH=" + t.TempDir()}}); err == nil {
			t.Error("there was one")
		}
	})
	t.Run("no YAML", func(t *testing.T) {
		dir := t.TempDir()
		simtest.Write(t, dir, map[string][]byte{"core.yaml": []byte("a: [")})
		if _, err := node.LoadConfig(node.ConfigOptions{Name: "core", Environ: []string{"FABRIC_CFG_PATH=" + dir}}); err == nil {
			t.Error("it was taken")
		}
	})
}
