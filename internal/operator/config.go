package operator

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"regexp"
	"strings"
	"time"

	"k8s.io/client-go/rest"

	"heddle.dev/heddle/internal/controller/access"
	"heddle.dev/heddle/internal/link"
	"heddle.dev/heddle/internal/specs"
	"heddle.dev/heddle/internal/version"
)

// SystemNamespace is where the operator itself runs.
const SystemNamespace = "heddle-system"

// Config is what the operator can be told.
type Config struct {
	// Rest reaches the API server.
	Rest *rest.Config
	// Namespaces are the networks' namespaces to work in, without any right in the cluster as a whole; the Network
	// kind is left alone then. Empty means the whole cluster.
	Namespaces []string
	// Lease is the namespace of the lease that keeps two operators from working at once; empty means no lease.
	Lease string
	// Identity of this process in the lease. A restarted container of the same pod has the same one and goes on at once.
	Identity string
	// MetricsAddress is where Prometheus finds metrics; "0" is nowhere.
	MetricsAddress string
	// HealthAddress is where the kubelet finds /healthz and /readyz; "0" is nowhere.
	HealthAddress string
	// BuilderImage is the image with the peers' external builder.
	BuilderImage string
	// Builds are the settings of contracts from source; without a registry there are no builds.
	Builds specs.BuildSettings
	// Links are the settings of gateways and links; Networks are linked in the whole cluster's mode only.
	Links specs.LinkSettings
	// JoinAddress and SiteAddress are where the gateway brings calls of other sites to; "0" is nowhere.
	JoinAddress, SiteAddress string
	// CAOverlap is how long the former CA of the gateway stays trusted after a change; a day unless given.
	CAOverlap time.Duration
	// CASettle is how long after all partners know the next CA it takes over; half a minute unless given.
	CASettle time.Duration
	// Now is the clock of all that has to do with other sites; nil is the machine's.
	Now func() time.Time
	// LogLevel below which nothing is logged.
	LogLevel slog.Level
	// Dial replaces the way in which nodes are reached; nil dials their Services.
	Dial access.DialFunc
	// SiteDial replaces the way in which other sites are reached; nil dials their endpoints.
	SiteDial link.DialFunc
}

var namespacePattern = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

// Parse reads the configuration from flags; each flag's default comes from the environment variable HEDDLE_<FLAG>.
func Parse(args []string, env func(string) string, out io.Writer) (Config, error) {
	var (
		cfg        Config
		namespaces string
		level      string
		lease      string
		dns        string
	)
	f := flag.NewFlagSet("heddle-operator", flag.ContinueOnError)
	f.SetOutput(out)
	str := func(p *string, name, def, usage string) {
		key := "HEDDLE_" + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
		if v := env(key); v != "" {
			def = v
		}
		f.StringVar(p, name, def, usage+" ($"+key+")")
	}
	str(&namespaces, "namespaces", "", "comma-separated `names` of the networks' namespaces to work in, with no rights in the rest of the cluster; empty means the whole cluster")
	str(&lease, "lease-namespace", SystemNamespace, "`namespace` of the lease that keeps two operators from working at once; \"none\" means no lease")
	str(&cfg.Identity, "identity", "", "`name` of this process in the lease; the host's name unless given")
	str(&cfg.MetricsAddress, "metrics-address", ":8080", "`address` of Prometheus metrics; 0 means none")
	str(&cfg.HealthAddress, "health-address", ":8081", "`address` of /healthz and /readyz; 0 means none")
	str(&cfg.BuilderImage, "builder-image", "heddle.dev/heddle-builder:"+version.Version, "`image` with the peers' external builder")
	str(&cfg.Builds.Registry, "registry", "", "`host:port` of the registry for contracts from source; empty means that there are none")
	str(&cfg.Builds.GoImage, "build-go-image", "heddle.dev/heddle-build-go:"+version.Version, "`image` that builds contracts in Go")
	str(&cfg.Builds.NodeImage, "build-node-image", "heddle.dev/heddle-build-node:"+version.Version, "`image` that builds contracts in JavaScript and TypeScript")
	str(&cfg.Builds.ModuleProxy, "module-proxy", "", "`URL` below which builds find /go and /npm; empty means the public ones")
	str(&cfg.Builds.ModuleProxyCIDR, "module-proxy-cidr", "", "`CIDR` in which the module proxy stands, for network policies")
	str(&cfg.Links.Image, "nginx-image", "heddle.dev/heddle-nginx:"+version.Version, "`image` of gateways and links between sites")
	str(&dns, "cluster-dns", "", "comma-separated `addresses` of the cluster's DNS, for gateways and links; those of this pod unless given")
	str(&cfg.Links.Domain, "cluster-domain", "", "`domain` of the cluster; that of this pod unless given")
	str(&cfg.JoinAddress, "join-address", ":9445", "`address` at which other sites join, behind the gateway; 0 means none")
	str(&cfg.SiteAddress, "site-address", ":9446", "`address` at which partners call, behind the gateway; 0 means none")
	str(&level, "log-level", "info", "`level` below which nothing is logged: debug, info, warn or error")
	if err := f.Parse(args); err != nil {
		return Config{}, err
	}
	if f.NArg() > 0 {
		return Config{}, fmt.Errorf("read flags: unexpected argument %q", f.Arg(0))
	}
	if err := cfg.LogLevel.UnmarshalText([]byte(level)); err != nil {
		return Config{}, fmt.Errorf("read flag log-level: %q is none of debug, info, warn, error", level)
	}
	if lease != "none" {
		cfg.Lease = lease
	}
	var err error
	if cfg.Namespaces, err = split(namespaces); err != nil {
		return Config{}, err
	}
	if dns != "" {
		cfg.Links.DNS = strings.Split(dns, ",")
	}
	return cfg, cfg.complete()
}

func split(namespaces string) ([]string, error) {
	var out []string
	for n := range strings.SplitSeq(namespaces, ",") {
		if n = strings.TrimSpace(n); n == "" {
			continue
		}
		if !namespacePattern.MatchString(n) {
			return nil, fmt.Errorf("read flag namespaces: %q is not a namespace's name", n)
		}
		out = append(out, n)
	}
	return out, nil
}

func (c *Config) complete() error {
	if c.BuilderImage == "" {
		return errors.New("read flag builder-image: it is empty")
	}
	if c.Identity != "" {
		return nil
	}
	host, err := os.Hostname()
	if err != nil {
		return fmt.Errorf("find the host's name for the lease (or set --identity): %w", err)
	}
	c.Identity = host
	return nil
}
