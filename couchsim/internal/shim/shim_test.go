package shim

import (
	"encoding/json"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const twoParts = "--b\r\nContent-Type: application/json\r\n\r\n" +
	`{"a":1,"_attachments":{"z":{"follows":true,"content_type":"text/plain","length":2},"a":{"follows":true,"length":0}}}` +
	"\r\n--b\r\n\r\nhi\r\n--b\r\n\r\n\r\n--b--"

func TestIsDocument(t *testing.T) {
	for path, want := range map[string]bool{
		"/db/key": true, "/db/%00key%2Fwith": true, "/db/_design/x": true,
		"/": false, "/db": false, "/db/": false, "/db/_find": false, "/db/_all_docs": false, "/db/_design/x/_view": false, "/db/key/file": false,
	} {
		if got := isDocument(path); got != want {
			t.Errorf("isDocument(%q) = %t, want %t", path, got, want)
		}
	}
}

func TestInline(t *testing.T) {
	for name, c := range map[string]struct {
		body, want string
		bad        bool
	}{
		"two attachments":    {body: twoParts, want: `{"_attachments":{"a":{"data":""},"z":{"content_type":"text/plain","data":"aGk="}},"a":1}`},
		"no attachment":      {body: "--b\r\n\r\n{\"a\":1}\r\n--b--", want: `{"a":1}`},
		"a part is missing":  {body: strings.Replace(twoParts, "\r\n--b\r\n\r\n\r\n--b--", "\r\n--b--", 1), bad: true},
		"a part too many":    {body: strings.Replace(twoParts, "--b--", "--b\r\n\r\nmore\r\n--b--", 1), bad: true},
		"no JSON":            {body: "--b\r\n\r\nnothing\r\n--b--", bad: true},
		"null":               {body: "--b\r\n\r\nnull\r\n--b--", bad: true},
		"no parts":           {body: "", bad: true},
		"attachments are []": {body: "--b\r\n\r\n{\"_attachments\":[]}\r\n--b--", bad: true},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := inline(strings.NewReader(c.body), "b")
			if (err != nil) != c.bad {
				t.Fatalf("error %v", err)
			}
			if diff := cmp.Diff(c.want, string(got)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestFindPage(t *testing.T) {
	for name, c := range map[string]struct {
		query, want string
		skip        int
		bad         bool
	}{
		"first page":         {query: `{"selector":{},"limit":2}`, want: `{"limit":2,"selector":{},"skip":0}`},
		"next page":          {query: `{"selector":{},"limit":2,"bookmark":"s4"}`, want: `{"limit":2,"selector":{},"skip":4}`, skip: 4},
		"no page":            {query: `{"selector":{},"limit":2,"bookmark":"nil"}`, want: `{"limit":2,"selector":{},"skip":0}`},
		"skip of its own":    {query: `{"selector":{},"limit":2,"skip":3}`, want: `{"limit":2,"selector":{},"skip":3}`, skip: 3},
		"no limit":           {query: `{"selector":{}}`, want: `{"limit":25,"selector":{},"skip":0}`},
		"CouchDB's bookmark": {query: `{"selector":{},"bookmark":"g1AAAA"}`, bad: true},
		"negative bookmark":  {query: `{"selector":{},"bookmark":"s-1"}`, bad: true},
		"number as bookmark": {query: `{"selector":{},"bookmark":4}`, bad: true},
		"negative skip":      {query: `{"selector":{},"skip":-1}`, bad: true},
		"no object":          {query: `[]`, bad: true},
		"null":               {query: `null`, bad: true},
	} {
		t.Run(name, func(t *testing.T) {
			got, skip, err := findPage([]byte(c.query))
			if (err != nil) != c.bad || skip != c.skip {
				t.Fatalf("skip %d, error %v", skip, err)
			}
			if diff := cmp.Diff(c.want, string(got)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestReadAddress(t *testing.T) {
	for name, c := range map[string]struct {
		files map[string]string
		want  string
		bad   bool
	}{
		"nothing":        {want: "0.0.0.0:5984"},
		"localhost":      {files: map[string]string{"heddle.ini": "[chttpd]\nbind_address = 127.0.0.1\n"}, want: "127.0.0.1:5984"},
		"the last holds": {files: map[string]string{"10.ini": "[chttpd]\nbind_address = any\nport=1", "20.ini": "[chttpd]\nbind_address = ::1"}, want: "[::1]:1"},
		"other section":  {files: map[string]string{"a.ini": "; c\n[httpd]\nbind_address = 127.0.0.1"}, want: "0.0.0.0:5984"},
		"a name":         {files: map[string]string{"a.ini": "[chttpd]\nbind_address = localhost"}, bad: true},
		"no setting":     {files: map[string]string{"a.ini": "[chttpd]\nwhat"}, bad: true},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for file, text := range c.files {
				if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			got, err := ReadAddress(dir)
			if (err != nil) != c.bad || got != c.want {
				t.Errorf("got %q (%v), want %q", got, err, c.want)
			}
		})
	}
}

// pouch plays PouchDB's server: it notes what it is asked and answers with one body.
type pouch struct {
	asked, body string
	answer      string
}

func (p *pouch) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	raw, _ := io.ReadAll(r.Body)
	p.asked, p.body = r.Method+" "+r.URL.RequestURI(), string(raw)
	if r.Header.Get("Authorization") != "" || r.Header.Get("If-Match") != "" {
		p.asked = "the password, or the revision, was handed on"
	}
	w.Header().Set("ETag", `"hash"`)
	_, _ = io.WriteString(w, p.answer)
}

func start(t *testing.T) (*pouch, *httptest.Server) {
	t.Helper()
	p := &pouch{}
	backend := httptest.NewServer(p)
	t.Cleanup(backend.Close)
	address := strings.TrimPrefix(backend.URL, "http://")
	s := httptest.NewServer(New(Options{User: "heddle", Password: "secret", Backend: roundTrip(func(r *http.Request) (*http.Response, error) {
		r.URL.Host = address
		return http.DefaultTransport.RoundTrip(r)
	})}))
	t.Cleanup(s.Close)
	return p, s
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func ask(t *testing.T, method, url, body string, headers ...string) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.SetBasicAuth("heddle", "secret")
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	raw, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response, string(raw)
}

func TestOnlyTheAdministratorGetsIn(t *testing.T) {
	p, s := start(t)
	for name, c := range map[string]struct {
		path, user, password string
		want                 int
	}{
		"right": {"/db", "heddle", "secret", 200}, "wrong password": {"/db", "heddle", "other", 401}, "wrong user": {"/db", "admin", "secret", 401},
		"nobody": {"/db", "", "", 401}, "nobody at the root": {"/", "", "", 401}, "the probe": {"/_up", "", "", 200},
	} {
		t.Run(name, func(t *testing.T) {
			p.asked = ""
			r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL+c.path, nil)
			if err != nil {
				t.Fatal(err)
			}
			if c.user != "" {
				r.SetBasicAuth(c.user, c.password)
			}
			response, err := http.DefaultClient.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			_ = response.Body.Close()
			if response.StatusCode != c.want {
				t.Errorf("status %d, want %d", response.StatusCode, c.want)
			}
			if c.want == 401 && p.asked != "" {
				t.Errorf("PouchDB was asked: %s", p.asked)
			}
		})
	}
}

func TestItSaysThatItIsAStandIn(t *testing.T) {
	_, s := start(t)
	response, body := ask(t, http.MethodGet, s.URL+"/", "")
	var root struct {
		CouchDB, Version string
		Vendor           struct{ Name string }
	}
	if err := json.Unmarshal([]byte(body), &root); err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("status %d, %v", response.StatusCode, err)
	}
	if root.CouchDB != "Welcome" || !strings.HasPrefix(root.Version, "3.4.") || !strings.Contains(root.Vendor.Name, "STAND-IN") {
		t.Errorf("got %s", body)
	}
}

func TestDocuments(t *testing.T) {
	p, s := start(t)
	p.answer = `{"_id":"k","_rev":"2-b","_attachments":{"valueBytes":{"content_type":"application/octet-stream","data":"aGk="}}}`
	t.Run("read in parts", func(t *testing.T) {
		response, body := ask(t, http.MethodGet, s.URL+"/db/%00k%2F1?attachments=true", "", "Accept", "multipart/related")
		if p.asked != "GET /db/%00k%2F1?attachments=true" || response.Header.Get("ETag") != `"2-b"` {
			t.Errorf("asked %s, ETag %s", p.asked, response.Header.Get("ETag"))
		}
		_, params, err := mime.ParseMediaType(response.Header.Get("Content-Type"))
		if err != nil {
			t.Fatal(err)
		}
		var parts []string
		reader := multipart.NewReader(strings.NewReader(body), params["boundary"])
		for {
			part, err := reader.NextPart()
			if err != nil {
				break
			}
			raw, _ := io.ReadAll(part)
			parts = append(parts, part.FileName()+" "+string(raw))
		}
		want := []string{
			` {"_attachments":{"valueBytes":{"content_type":"application/octet-stream","follows":true,"length":2}},"_id":"k","_rev":"2-b"}`, "valueBytes hi",
		}
		if diff := cmp.Diff(want, parts); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("read as JSON", func(t *testing.T) {
		if _, body := ask(t, http.MethodGet, s.URL+"/db/k", "", "Accept", "application/json"); body != p.answer {
			t.Errorf("got %s", body)
		}
	})
	t.Run("written in parts", func(t *testing.T) {
		ask(t, http.MethodPut, s.URL+"/db/k", twoParts, "Content-Type", `multipart/related;boundary="b"`, "If-Match", `"1-a"`)
		if p.asked != "PUT /db/k?rev=1-a" || !strings.Contains(p.body, `"data":"aGk="`) {
			t.Errorf("asked %s with %s", p.asked, p.body)
		}
	})
	t.Run("written in broken parts", func(t *testing.T) {
		p.asked = ""
		response, _ := ask(t, http.MethodPut, s.URL+"/db/k", "nothing", "Content-Type", `multipart/related;boundary="b"`)
		if response.StatusCode != http.StatusBadRequest || p.asked != "" {
			t.Errorf("status %d, asked %s", response.StatusCode, p.asked)
		}
	})
}

func TestPages(t *testing.T) {
	p, s := start(t)
	p.answer = `{"docs":[{"_id":"a"},{"_id":"b"}]}`
	_, first := ask(t, http.MethodPost, s.URL+"/db/_find", `{"selector":{"x":1},"limit":2}`)
	if first != `{"bookmark":"s2","docs":[{"_id":"a"},{"_id":"b"}]}` || p.body != `{"limit":2,"selector":{"x":1},"skip":0}` {
		t.Errorf("asked %s, got %s", p.body, first)
	}
	p.answer = `{"docs":[]}`
	if _, last := ask(t, http.MethodPost, s.URL+"/db/_find", `{"selector":{"x":1},"limit":2,"bookmark":"s2"}`); last != `{"bookmark":"s2","docs":[]}` {
		t.Errorf("got %s", last)
	}
	if p.body != `{"limit":2,"selector":{"x":1},"skip":2}` {
		t.Errorf("asked %s", p.body)
	}
	if response, _ := ask(t, http.MethodPost, s.URL+"/db/_find", `{"selector":`); response.StatusCode != http.StatusBadRequest {
		t.Errorf("a query that is no JSON: status %d", response.StatusCode)
	}
}
