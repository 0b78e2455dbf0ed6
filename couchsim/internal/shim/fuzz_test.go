package shim

import (
	"bytes"
	"encoding/json"
	"io"
	"mime"
	"mime/multipart"
	"strings"
	"testing"
)

// FuzzInline: whatever comes in parts, the result is a document of JSON or an error.
func FuzzInline(f *testing.F) {
	f.Add([]byte(twoParts), "b")
	f.Add([]byte("--b\r\n\r\n{\"_attachments\":{\"a\":null}}\r\n--b--"), "b")
	f.Fuzz(func(t *testing.T, body []byte, boundary string) {
		out, err := inline(bytes.NewReader(body), boundary)
		if err == nil && !json.Valid(out) {
			t.Errorf("%q is no JSON", out)
		}
	})
}

// FuzzSplit: what is split and put together again is the same document.
func FuzzSplit(f *testing.F) {
	f.Add([]byte(`{"_id":"k","_rev":"1-a","_attachments":{"valueBytes":{"content_type":"text/plain","data":"aGk="}}}`))
	f.Add([]byte(`{"_attachments":{"a":{"data":""},"b":{"data":"AA=="}}}`))
	f.Add([]byte(`{"_attachments":{"b":{"data":""},"a":{"data":"0000"}}}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		body, kind, err := split(raw)
		if err != nil || kind == "" {
			return
		}
		_, params, err := mime.ParseMediaType(kind)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := multipart.NewReader(bytes.NewReader(body), params["boundary"]).NextPart(); err != nil {
			t.Fatalf("the parts cannot be read: %v", err)
		}
		again, err := inline(bytes.NewReader(body), params["boundary"])
		if err != nil {
			t.Fatalf("the parts of %q cannot be put together: %v", raw, err)
		}
		_, want, _ := readDocument(bytes.NewReader(raw))
		_, got, err := readDocument(bytes.NewReader(again))
		if err != nil || len(want.files) < len(got.files) {
			t.Fatalf("%q became %q (%v)", raw, again, err)
		}
		for name, file := range got.files {
			if file != nil && !bytes.Equal(*file.Data, *want.files[name].Data) {
				t.Errorf("attachment %q of %q has other content", name, raw)
			}
		}
	})
}

// FuzzFindPage: a query stays JSON, and what it skips is never negative.
func FuzzFindPage(f *testing.F) {
	f.Add([]byte(`{"selector":{"a":1},"bookmark":"s5","limit":2}`))
	f.Add([]byte(`{"selector":{},"skip":3,"bookmark":"nil"}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		query, skip, err := findPage(raw)
		if err != nil {
			return
		}
		var wish struct{ Skip, Limit json.RawMessage }
		if err := json.Unmarshal(query, &wish); err != nil || skip < 0 || len(wish.Skip) == 0 || len(wish.Limit) == 0 {
			t.Errorf("%q became %q, which skips %d (%v)", raw, query, skip, err)
		}
	})
}

func FuzzFindAnswer(f *testing.F) {
	f.Add([]byte(`{"docs":[{"a":1},{"a":2}],"warning":"no index"}`), 3)
	f.Fuzz(func(t *testing.T, raw []byte, skip int) {
		out, err := findAnswer(raw, skip)
		if err == nil && !json.Valid(out) {
			t.Errorf("%q is no JSON", out)
		}
	})
}

func FuzzSettings(f *testing.F) {
	f.Add("[chttpd]\nbind_address = 127.0.0.1\n; comment\nport=5984\n")
	f.Fuzz(func(t *testing.T, text string) {
		values, err := parseSettings(io.LimitReader(strings.NewReader(text), maxSettings))
		for name, value := range values {
			if err == nil && (!strings.Contains(name, "/") || strings.Contains(value, "\n")) {
				t.Errorf("setting %q is %q", name, value)
			}
		}
	})
}
