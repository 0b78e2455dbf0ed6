package lifecycle

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	pb "github.com/hyperledger/fabric-protos-go-apiv2/peer"
	lb "github.com/hyperledger/fabric-protos-go-apiv2/peer/lifecycle"
)

// records are an organisation's or the channel's, in memory.
type records struct {
	org   string
	state map[string][]byte
	wrote []string
	reads int
}

func newTestRecords(org string) *records { return &records{org: org, state: map[string][]byte{}} }

func (r *records) Get(_ context.Context, key string) ([]byte, error) { return r.state[key], nil }

func (r *records) Put(_ context.Context, key string, value []byte) error {
	r.state[key] = value
	r.wrote = append(r.wrote, key)
	return nil
}

func (r *records) MSPID() string { return r.org }

func (r *records) GetHash(_ context.Context, key string) ([]byte, error) {
	r.reads++
	if r.state[key] == nil {
		return nil, nil
	}
	sum := sha256.Sum256(r.state[key])
	return sum[:], nil
}

func wish(sequence int64, version string) *Definition {
	return &Definition{
		Sequence: sequence, Endorsement: &lb.ChaincodeEndorsementInfo{Version: version},
		Validation: &lb.ChaincodeValidationInfo{}, Collections: &pb.CollectionConfigPackage{},
	}
}

func anyPolicy(string) bool { return true }

// commitTest commits a definition.
func commitTest(t *testing.T, public *records, d *Definition) {
	t.Helper()
	fields, err := d.all()
	if err != nil {
		t.Fatal(err)
	}
	if err := writeRecord(t.Context(), namespaces, "cc", typeDefinition, fields, public); err != nil {
		t.Fatal(err)
	}
}

func TestApprove(t *testing.T) {
	type step struct {
		sequence     int64
		version, pkg string
		commit       bool
		want         string
	}
	for name, steps := range map[string][]step{
		"first":             {{sequence: 1, version: "1", pkg: "p"}},
		"zero":              {{sequence: 0, version: "1", want: "requested sequence is 0"}},
		"too far":           {{sequence: 2, version: "1", want: "requested sequence 2 is larger than the next available sequence number 1"}},
		"the same again":    {{sequence: 1, version: "1", pkg: "p"}, {sequence: 1, version: "1", pkg: "p", want: "attempted to redefine uncommitted sequence (1) for namespace cc with unchanged content"}},
		"another package":   {{sequence: 1, version: "1", pkg: "p"}, {sequence: 1, version: "1", pkg: "q"}},
		"another version":   {{sequence: 1, version: "1", pkg: "p"}, {sequence: 1, version: "2", pkg: "p"}},
		"late, as agreed":   {{sequence: 1, version: "1", pkg: "p", commit: true}, {sequence: 1, version: "1", pkg: "q"}},
		"late, the same":    {{sequence: 1, version: "1", pkg: "p", commit: true}, {sequence: 1, version: "1", pkg: "p", want: "attempted to redefine the current committed sequence (1) for namespace cc"}},
		"late, differently": {{sequence: 1, version: "1", pkg: "p", commit: true}, {sequence: 1, version: "2", pkg: "p", want: "with different parameters: expected Version '1' does not match passed Version '2'"}},
		"behind":            {{sequence: 1, version: "1", commit: true}, {sequence: 2, version: "2", commit: true}, {sequence: 1, version: "1", want: "currently defined sequence 2 is larger than requested sequence 1"}},
	} {
		t.Run(name, func(t *testing.T) {
			public, org := newTestRecords(""), newTestRecords("A")
			for _, s := range steps {
				d := wish(s.sequence, s.version)
				err := approve(t.Context(), "trade", "cc", d, s.pkg, anyPolicy, public, org)
				if s.want == "" && err != nil || s.want != "" && (err == nil || !strings.Contains(err.Error(), s.want)) {
					t.Fatalf("got %v, want %q", err, s.want)
				}
				if s.commit {
					commitTest(t, public, d)
				}
			}
		})
	}
}

func TestReadiness(t *testing.T) {
	public, a, b := newTestRecords(""), newTestRecords("A"), newTestRecords("B")
	if err := approve(t.Context(), "trade", "cc", wish(1, "1"), "p", anyPolicy, public, a); err != nil {
		t.Fatal(err)
	}
	if err := approve(t.Context(), "trade", "cc", wish(1, "2"), "p", anyPolicy, public, b); err != nil {
		t.Fatal(err)
	}
	d := wish(1, "1")
	d.Collections = nil // as it comes in a request; an approval has an empty one
	approvals, mismatches, err := readiness(t.Context(), "trade", "cc", d, anyPolicy, public, []Opaque{a, b, newTestRecords("C")})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]bool{"A": true, "B": false, "C": false}, approvals); diff != "" {
		t.Error(diff)
	}
	got := map[string][]string{}
	for org, m := range mismatches {
		got[org] = m.GetItems()
	}
	if diff := cmp.Diff(map[string][]string{"B": {"EndorsementInfo"}, "C": {"ChaincodeParameters"}}, got); diff != "" {
		t.Error(diff)
	}
}

func TestDefinitionWritesOnlyChanges(t *testing.T) {
	public := newTestRecords("")
	commitTest(t, public, wish(1, "1"))
	public.wrote = nil
	commitTest(t, public, wish(2, "1"))
	if diff := cmp.Diff([]string{"namespaces/fields/cc/Sequence"}, public.wrote); diff != "" {
		t.Error(diff)
	}
	d, err := Defined(t.Context(), "cc", public)
	if err != nil || d == nil || d.Sequence != 2 || d.Endorsement.GetVersion() != "1" {
		t.Errorf("got %v, %v", d, err)
	}
}

func TestPackageOf(t *testing.T) {
	public, org := newTestRecords(""), newTestRecords("A")
	if err := approve(t.Context(), "trade", "cc", wish(1, "1"), "right", anyPolicy, public, org); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		packages []string
		want     string
	}{
		"installed": {[]string{"wrong", "right"}, "right"}, "not installed": {[]string{"wrong"}, ""}, "nothing installed": {nil, ""},
	} {
		got, err := PackageOf(t.Context(), "cc", 1, c.packages, org)
		if err != nil || got != c.want {
			t.Errorf("%s: got %q, %v", name, got, err)
		}
	}
	org.reads = 0
	if _, err := PackageOf(t.Context(), "cc", 1, []string{"one", "two", "three", "right"}, org); err != nil || org.reads != 2 {
		t.Errorf("%d reads of four packages, %v: want 2, for each package is compared with the same records", org.reads, err)
	}
}

// archive makes a package of files.
func archive(tb testing.TB, files ...string) []byte {
	tb.Helper()
	var out bytes.Buffer
	zipped := gzip.NewWriter(&out)
	w := tar.NewWriter(zipped)
	for i := 0; i < len(files); i += 2 {
		if err := w.WriteHeader(&tar.Header{Name: files[i], Mode: 0o600, Size: int64(len(files[i+1])), Typeflag: tar.TypeReg}); err != nil {
			tb.Fatal(err)
		}
		if _, err := w.Write([]byte(files[i+1])); err != nil {
			tb.Fatal(err)
		}
	}
	if err := errors.Join(w.Close(), zipped.Close()); err != nil {
		tb.Fatal(err)
	}
	return out.Bytes()
}

func TestParsePackage(t *testing.T) {
	const metadata = `{"type":"ccaas","label":"cc_1"}`
	for name, c := range map[string]struct {
		raw  []byte
		want string
	}{
		"good":        {archive(t, "metadata.json", metadata, "code.tar.gz", "x"), ""},
		"no archive":  {[]byte("x"), "error reading as gzip stream"},
		"no code":     {archive(t, "metadata.json", metadata), "did not find a code package inside the package"},
		"no metadata": {archive(t, "code.tar.gz", "x"), "did not find any package metadata (missing metadata.json)"},
		"bad label":   {archive(t, "metadata.json", `{"label":"a b"}`, "code.tar.gz", "x"), "invalid label 'a b'"},
		"bad JSON":    {archive(t, "metadata.json", "{", "code.tar.gz", "x"), "could not unmarshal metadata.json as json"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ParsePackage(c.raw)
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

func TestPackages(t *testing.T) {
	p, err := OpenPackages(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	raw := archive(t, "metadata.json", `{"label":"cc_1"}`, "code.tar.gz", "x")
	id := PackageID("cc_1", raw)
	if err := p.Save(id, raw); err != nil {
		t.Fatal(err)
	}
	ids, err := p.List()
	if err != nil || !cmp.Equal(ids, []string{id}) {
		t.Errorf("got %v, %v", ids, err)
	}
	if got, err := p.Load(id); err != nil || !bytes.Equal(got, raw) {
		t.Errorf("got another package, %v", err)
	}
	var missing NotInstalledError
	for _, bad := range []string{"x:y", "../x", "a/b:c"} {
		if _, err := p.Load(bad); !errors.As(err, &missing) {
			t.Errorf("%s: got %v", bad, err)
		}
	}
}

func FuzzParsePackage(f *testing.F) {
	f.Add(archive(f, "metadata.json", `{"type":"ccaas","label":"cc_1"}`, "code.tar.gz", "x"))
	f.Add([]byte("x"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if p, err := ParsePackage(raw); err == nil && (p.Label == "" || p.Code == nil) {
			t.Fatal("a package without label or code")
		}
	})
}
