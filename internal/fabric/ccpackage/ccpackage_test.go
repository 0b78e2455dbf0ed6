package ccpackage

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hyperledger/fabric-admin-sdk/pkg/chaincode"
)

var index = File{Path: "META-INF/statedb/couchdb/indexes/owner.json", Data: []byte(`{"index":{"fields":["owner"]}}`)}

func TestCCAAS(t *testing.T) {
	want := Connection{Address: "asset.trade:9999", DialTimeout: "10s"}
	raw, err := CCAAS("asset_1", want, index)
	if err != nil {
		t.Fatal(err)
	}
	again, err := CCAAS("asset_1", want, index)
	if err != nil || !bytes.Equal(raw, again) {
		t.Errorf("the second package differs: %v", err)
	}
	p, err := Read(raw)
	if err != nil {
		t.Fatal(err)
	}
	got, err := p.Connection()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]File{index}, p.Meta()); diff != "" {
		t.Error(diff)
	}
	if _, err := p.Image(); err == nil {
		t.Error("a ccaas package has an image")
	}
	// The id that Fabric's own tools would compute.
	id, err := chaincode.PackageID(bytes.NewReader(raw))
	if err != nil || id != p.ID {
		t.Errorf("id %q, by others %q, %v", p.ID, id, err)
	}
}

// TestStable pins the bytes: a change of release must not make a new package.
func TestStable(t *testing.T) {
	raw, err := K8s("asset_1", Image{Name: "registry.local/asset", Digest: "sha256:" + strings.Repeat("ab", 32)}, index)
	if err != nil {
		t.Fatal(err)
	}
	id, err := ID(raw)
	if err != nil {
		t.Fatal(err)
	}
	const want = "asset_1:1e88bf56975375a3a04413905554afcc99e7c6d0314a7a5d8315efd330ddefa9"
	if id != want {
		t.Errorf("got %s, want %s", id, want)
	}
}

func TestRefuses(t *testing.T) {
	for name, write := range map[string]func() ([]byte, error){
		"a label with blanks":   func() ([]byte, error) { return CCAAS("a b", Connection{Address: "a:1"}) },
		"an empty label":        func() ([]byte, error) { return CCAAS("", Connection{Address: "a:1"}) },
		"a label too long":      func() ([]byte, error) { return CCAAS(strings.Repeat("a", 101), Connection{Address: "a:1"}) },
		"no address":            func() ([]byte, error) { return CCAAS("a", Connection{}) },
		"an image by tag":       func() ([]byte, error) { return K8s("a", Image{Name: "a:latest"}) },
		"a file elsewhere":      func() ([]byte, error) { return CCAAS("a", Connection{Address: "a:1"}, File{Path: "x"}) },
		"a file that leads out": func() ([]byte, error) { return CCAAS("a", Connection{Address: "a:1"}, File{Path: "META-INF/../../x"}) },
		"a file twice":          func() ([]byte, error) { return CCAAS("a", Connection{Address: "a:1"}, index, index) },
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := write(); err == nil {
				t.Error("accepted")
			}
		})
	}
}

func pack(t *testing.T, headers ...tar.Header) []byte {
	t.Helper()
	var out bytes.Buffer
	zip := gzip.NewWriter(&out)
	writer := tar.NewWriter(zip)
	for _, h := range headers {
		data := []byte("x")
		if h.Typeflag == tar.TypeReg {
			h.Size = int64(len(data))
		}
		if err := writer.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if h.Size > 0 {
			if _, err := writer.Write(data); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := writer.Close(); err != nil {
		t.Fatal(err)
	}
	if err := zip.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestReadRefuses(t *testing.T) {
	for name, raw := range map[string][]byte{
		"nothing":               nil,
		"no archive":            []byte("hello"),
		"no metadata":           pack(t, tar.Header{Name: "code.tar.gz", Typeflag: tar.TypeReg}),
		"a link":                pack(t, tar.Header{Name: "metadata.json", Typeflag: tar.TypeSymlink, Linkname: "/etc/passwd"}),
		"a file that leads out": pack(t, tar.Header{Name: "../metadata.json", Typeflag: tar.TypeReg}),
		"an absolute path":      pack(t, tar.Header{Name: "/metadata.json", Typeflag: tar.TypeReg}),
		"metadata not JSON":     pack(t, tar.Header{Name: "metadata.json", Typeflag: tar.TypeReg}),
	} {
		t.Run(name, func(t *testing.T) {
			if p, err := Read(raw); err == nil {
				t.Errorf("accepted: %+v", p)
			}
		})
	}
}

func TestReadMeta(t *testing.T) {
	tarOf := func(headers ...tar.Header) []byte {
		zip, err := gzip.NewReader(bytes.NewReader(pack(t, headers...)))
		if err != nil {
			t.Fatal(err)
		}
		raw, err := io.ReadAll(zip)
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	file := func(name string) tar.Header { return tar.Header{Name: name, Typeflag: tar.TypeReg} }
	for name, c := range map[string]struct {
		raw  []byte
		want []File
		ok   bool
	}{
		"an index":              {tarOf(file(index.Path)), []File{{Path: index.Path, Data: []byte("x")}}, true},
		"from here":             {tarOf(file("./" + index.Path)), []File{{Path: index.Path, Data: []byte("x")}}, true},
		"with its folders":      {tarOf(tar.Header{Name: "META-INF/", Typeflag: tar.TypeDir}, file("META-INF/a")), []File{{Path: "META-INF/a", Data: []byte("x")}}, true},
		"empty":                 {tarOf(), nil, true},
		"zipped":                {pack(t, file(index.Path)), nil, false},
		"no archive":            {[]byte(strings.Repeat("hello ", 100)), nil, false},
		"cut short":             {tarOf(file(index.Path))[:512], nil, false},
		"a file elsewhere":      {tarOf(file("src/a.go")), nil, false},
		"a file of that name":   {tarOf(file("META-INF")), nil, false},
		"a file that leads out": {tarOf(file("META-INF/../../a")), nil, false},
		"a file beside it":      {tarOf(file("META-INF/../a")), nil, false},
		"an absolute path":      {tarOf(file("/META-INF/a")), nil, false},
		"a link":                {tarOf(tar.Header{Name: "META-INF/a", Typeflag: tar.TypeSymlink, Linkname: "/etc/passwd"}), nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := ReadMeta(c.raw)
			if (err == nil) != c.ok {
				t.Errorf("error %v", err)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func FuzzReadMeta(f *testing.F) {
	var raw bytes.Buffer
	writer := tar.NewWriter(&raw)
	if err := writer.WriteHeader(&tar.Header{Name: index.Path, Typeflag: tar.TypeReg, Size: int64(len(index.Data))}); err != nil {
		f.Fatal(err)
	}
	if _, err := writer.Write(index.Data); err != nil {
		f.Fatal(err)
	}
	if err := writer.Close(); err != nil {
		f.Fatal(err)
	}
	f.Add(raw.Bytes())
	f.Fuzz(func(t *testing.T, raw []byte) {
		files, err := ReadMeta(raw)
		if err != nil {
			return
		}
		for _, file := range files {
			if !strings.HasPrefix(file.Path, "META-INF/") || strings.Contains(file.Path, "/../") {
				t.Errorf("path %q", file.Path)
			}
		}
	})
}

func FuzzRead(f *testing.F) {
	raw, err := CCAAS("asset_1", Connection{Address: "a:1"}, index)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	f.Add([]byte{0x1f, 0x8b})
	f.Fuzz(func(t *testing.T, raw []byte) {
		p, err := Read(raw)
		if err != nil {
			return
		}
		if !strings.HasPrefix(p.ID, p.Label+":") {
			t.Errorf("id %q of label %q", p.ID, p.Label)
		}
		for _, file := range p.Files {
			if strings.HasPrefix(file.Path, "/") || strings.HasPrefix(file.Path, "..") {
				t.Errorf("path %q", file.Path)
			}
		}
	})
}
