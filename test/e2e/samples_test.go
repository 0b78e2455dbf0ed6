package e2e

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	batchv1 "k8s.io/api/batch/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/test/harness"
)

// atOnce is how many contracts are deployed at a time.
const atOnce = 3

// TestSamples: every sample, in every language, is deployed from its source and gives the results that it promises, on
// peers with CouchDB; changed source is the next version, and a call shows the change. The same source on a second channel is
// not built again. Rich queries use the indexes that came with the source, and go without where there are none.
func TestSamples(t *testing.T) {
	ctx, c := start(t, 28*time.Minute)
	for _, prepare := range []func(context.Context) error{c.InstallBuilds, func(ctx context.Context) error { return c.LoadImage(ctx, "couchdb") }} {
		if err := prepare(ctx); errors.Is(err, harness.ErrUnavailable) {
			t.Skipf("skipped, not passed: %v", err)
		} else if err != nil {
			t.Fatal(err)
		}
	}
	s := raft3("samples")
	s.Orderers, s.Channels = 1, []string{demoChannel, "second"}
	for i := range s.Orgs {
		s.Orgs[i].Template = "stateDatabase: CouchDB"
	}
	s.Orgs[0].CA = "Managed"
	up(ctx, t, c, s)
	for _, args := range [][]string{{"minter", "--attribute", "token.minter=true"}, {"user"}} {
		out, err := c.Heddle(ctx, append([]string{"identity", "enroll", "--network", s.Name, "--org", "banka", "-n", s.Name}, args...)...)
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	// Go's first takes as long as several others: its dependencies are compiled once.
	names := []string{"asset-go", "asset-js", "asset-ts"}
	for _, language := range []string{"js", "ts", "go"} {
		for _, sample := range []string{"catalog", "keylevel", "private", "token"} {
			names = append(names, sample+"-"+language)
		}
	}
	folder := t.TempDir()
	side(t, atOnce, names, func(t *testing.T, name string) { trySample(ctx, t, c, s, folder, name) })
	t.Run("second channel", func(t *testing.T) {
		side(t, atOnce, names[:3], func(t *testing.T, name string) { onSecondChannel(ctx, t, c, s, folder, name) })
	})
	t.Run("without indexes", func(t *testing.T) { withoutIndexes(ctx, t, c, s) })
}

// trySample deploys a sample, calls it, changes its source, and deploys and calls it again.
func trySample(ctx context.Context, t *testing.T, c *harness.Cluster, s shape, folder, name string) {
	source := filepath.Join(folder, name)
	must(t, os.CopyFS(source, os.DirFS(c.Path("samples", "contracts", name))))
	flags := []string{"--channel", demoChannel, "-n", s.Name}
	if strings.HasPrefix(name, "private-") {
		flags = append(flags, "--collections", ownCollections(t, source, s))
	}
	deploy(ctx, t, c, source, flags...)
	first := deployed(ctx, t, c, s, name)
	contract := s.Name + "/" + demoChannel + "/" + name
	sample, _, _ := strings.Cut(name, "-")
	transact(ctx, t, c, contract, sampleCalls(s.Name)[sample]...)
	transact(ctx, t, c, contract, transaction{call: "Edition", refused: true, want: "Edition"})

	addEdition(t, source)
	deploy(ctx, t, c, source, flags...)
	next := deployed(ctx, t, c, s, name)
	if first.Spec.Version != "1.0" || *first.Status.Sequence != 1 || next.Spec.Version != "1.1" || *next.Status.Sequence != 2 {
		t.Errorf("version %s, sequence %d became version %s, sequence %d", first.Spec.Version, *first.Status.Sequence, next.Spec.Version, *next.Status.Sequence)
	}
	if first.Status.Image == next.Status.Image {
		t.Errorf("changed source is the same image: %s", next.Status.Image)
	}
	for _, org := range s.Orgs {
		transact(ctx, t, c, contract, transaction{call: "Edition", flags: []string{"--as", org.Name}, want: "second"})
	}
}

// ownCollections writes the sample's collections with the network's MSP ids in place of the sample's.
func ownCollections(t *testing.T, source string, s shape) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(source, "collections.json"))
	must(t, err)
	file := filepath.Join(t.TempDir(), "collections.json")
	must(t, os.WriteFile(file, []byte(strings.NewReplacer("Org1MSP", s.Orgs[0].MSP, "Org2MSP", s.Orgs[1].MSP).Replace(string(text))), 0o600))
	return file
}

var (
	goContract   = regexp.MustCompile(`type (\w+) struct \{\s+contractapi\.Contract\b`)
	nodeContract = regexp.MustCompile(`class \w+ extends Contract \{`)
)

// addEdition adds a transaction Edition to a sample's source, which returns "second".
func addEdition(t *testing.T, source string) {
	t.Helper()
	read := func(parts ...string) string {
		text, err := os.ReadFile(filepath.Join(append([]string{source}, parts...)...))
		must(t, err)
		return string(text)
	}
	file, text := "", ""
	switch source[strings.LastIndex(source, "-")+1:] {
	case "go":
		name := goContract.FindStringSubmatch(read("contract.go"))
		if name == nil {
			t.Fatalf("%s has no contract", source)
		}
		file, text = "edition.go", "package main\n\nfunc (c *"+name[1]+") Edition() string { return \"second\" }\n"
	case "js":
		file = "index.js"
		text = nodeContract.ReplaceAllString(read(file), "$0\n  async Edition() {\n    return 'second';\n  }\n")
	case "ts":
		file = filepath.Join("src", "index.ts")
		text = nodeContract.ReplaceAllString(read(file), "$0\n  @Transaction(false)\n  async Edition(): Promise<string> {\n    return 'second';\n  }\n")
	}
	must(t, os.WriteFile(filepath.Join(source, file), []byte(text), 0o600))
}

// onSecondChannel puts the source that is on one channel onto another: with what was built, from a state of its own.
func onSecondChannel(ctx context.Context, t *testing.T, c *harness.Cluster, s shape, folder, name string) {
	before := buildsOf(ctx, t, c, s.Name, name)
	deploy(ctx, t, c, filepath.Join(folder, name), "--channel", "second", "-n", s.Name)
	if diff := cmp.Diff(before, buildsOf(ctx, t, c, s.Name, name)); diff != "" {
		t.Errorf("builds and Jobs before and after the deploy on the second channel: %s", diff)
	}
	var other v1alpha1.Chaincode
	must(t, c.Get(ctx, client.ObjectKey{Namespace: s.Name, Name: "second-" + name}, &other))
	one := deployed(ctx, t, c, s, name)
	if other.Spec.Build != one.Spec.Build || other.Status.Image != one.Status.Image || *other.Status.Sequence != 1 {
		t.Errorf("on the second channel: build %s, image %s, sequence %d; on the first: %s, %s", other.Spec.Build, other.Status.Image, *other.Status.Sequence, one.Spec.Build, one.Status.Image)
	}
	transact(ctx, t, c, s.Name+"/second/"+name,
		transaction{call: "Edition", want: "second"},
		transaction{call: "Read a1", refused: true, want: "there is none"},
		transaction{submit: true, call: "Create a1 dora 1", want: `{"id":"a1","owner":"dora","value":1}`},
	)
}

// buildsOf are the builds of a contract and their Jobs, by name and UID.
func buildsOf(ctx context.Context, t *testing.T, c *harness.Cluster, network, name string) []string {
	t.Helper()
	var builds v1alpha1.ChaincodeBuildList
	var jobs batchv1.JobList
	must(t, c.List(ctx, &builds, client.InNamespace(network)))
	must(t, c.List(ctx, &jobs, client.InNamespace(network)))
	var out []string
	for i := range builds.Items {
		if b := &builds.Items[i]; strings.HasPrefix(b.Name, name+"-") {
			out = append(out, "build "+b.Name+" "+string(b.UID))
		}
	}
	for i := range jobs.Items {
		if j := &jobs.Items[i]; strings.HasPrefix(j.Name, "build-"+name+"-") {
			out = append(out, "job "+j.Name+" "+string(j.UID))
		}
	}
	slices.Sort(out)
	if len(out) == 0 {
		t.Errorf("%s has no build", name)
	}
	return out
}

// withoutIndexes deploys the catalog without its indexes: CouchDB finds by looking at everything, and cannot sort.
func withoutIndexes(ctx context.Context, t *testing.T, c *harness.Cluster, s shape) {
	source := filepath.Join(t.TempDir(), "plain")
	must(t, os.CopyFS(source, os.DirFS(c.Path("samples", "contracts", "catalog-js"))))
	must(t, os.RemoveAll(filepath.Join(source, "META-INF")))
	file := filepath.Join(source, "index.js")
	text, err := os.ReadFile(file)
	must(t, err)
	plain := regexp.MustCompile(`(?m)^ *use_index: .*\n`).ReplaceAll(text, nil)
	if len(plain) == len(text) {
		t.Fatal("no query of catalog-js names an index")
	}
	must(t, os.WriteFile(file, plain, 0o600))
	deploy(ctx, t, c, source, "--channel", demoChannel, "-n", s.Name)
	transact(ctx, t, c, s.Name+"/"+demoChannel+"/plain",
		transaction{submit: true, call: "Put i1 bolt acme 30", want: item1},
		transaction{submit: true, call: "Put i2 bolt omni 10", want: `{"id":"i2","kind":"bolt","maker":"omni","price":10}`},
		transaction{call: "FindByMaker acme 10 -", flags: []string{"--as", "bankb"}, want: `{"items":[` + item1 + `],"bookmark":"…"}`},
		transaction{call: "FindByPrice bolt 99 10 -", refused: true, want: "index"},
	)
}
