package couch

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"heddle.dev/heddle/fabsim/internal/peer/state"
)

const (
	fieldVersion = "~version"
	attachment   = "valueBytes"
)

// document makes a key's document.
func document(key, revision string, v *state.Value) map[string]any {
	doc := map[string]any{}
	if v.Deleted() {
		doc["_deleted"] = true
	} else if fields := object(v.Value); fields != nil {
		doc = fields
	} else {
		doc["_attachments"] = map[string]any{attachment: map[string]any{
			"content_type": "application/octet-stream", "data": base64.StdEncoding.EncodeToString(v.Value),
		}}
	}
	doc["_id"], doc[fieldVersion] = key, encodeVersion(v)
	if revision != "" {
		doc["_rev"] = revision
	}
	return doc
}

// object is a value as a JSON object, or nil if it is none.
func object(value []byte) map[string]any {
	var fields map[string]any
	decoder := json.NewDecoder(bytes.NewReader(value))
	decoder.UseNumber()
	if decoder.Decode(&fields) != nil || decoder.More() {
		return nil
	}
	return fields
}

func encodeVersion(v *state.Value) string {
	raw := binary.BigEndian.AppendUint64(nil, v.Version.Block)
	raw = binary.BigEndian.AppendUint64(raw, v.Version.Tx)
	return base64.StdEncoding.EncodeToString(append(raw, v.Metadata...))
}

// row reads a document. Objects come back as CouchDB has them: with their
// fields in order.
func row(doc map[string]any) (*state.Row, error) {
	id, _ := doc["_id"].(string)
	text, _ := doc[fieldVersion].(string)
	raw, err := base64.StdEncoding.DecodeString(text)
	if err != nil || len(raw) < 16 {
		return nil, fmt.Errorf("read document %q: it has no version", id)
	}
	out := &state.Row{Key: id}
	out.Version.Block, out.Version.Tx = binary.BigEndian.Uint64(raw), binary.BigEndian.Uint64(raw[8:])
	if len(raw) > 16 {
		out.Metadata = raw[16:]
	}
	if files, ok := doc["_attachments"].(map[string]any); ok {
		file, _ := files[attachment].(map[string]any)
		data, ok := file["data"].(string)
		if !ok {
			return nil, errStub
		}
		if out.Value.Value, err = base64.StdEncoding.DecodeString(data); err != nil {
			return nil, fmt.Errorf("read attachment of %q: %w", id, err)
		}
		return out, nil
	}
	fields := map[string]any{}
	for name, value := range doc {
		if !strings.HasPrefix(name, "_") && name != fieldVersion {
			fields[name] = value
		}
	}
	if out.Value.Value, err = json.Marshal(fields); err != nil {
		return nil, fmt.Errorf("read document %q: %w", id, err)
	}
	return out, nil
}

// errStub says that a document came without its attachment.
var errStub = errors.New("the attachment is not there")

// Check tells whether a write can be a document. The texts are Fabric's.
func (*DB) Check(key string, value []byte) error {
	switch {
	case !utf8.ValidString(key):
		return fmt.Errorf("invalid key [%x], must be a UTF-8 string", key)
	case strings.HasPrefix(key, "_"):
		return fmt.Errorf("invalid key [%s], cannot begin with \"_\"", key)
	case key == "":
		return errors.New("invalid key. Empty string is not supported as a key by couchdb")
	}
	for name := range object(value) {
		if name == fieldVersion || strings.HasPrefix(name, "_") {
			return fmt.Errorf("field [%s] is not valid for the CouchDB state database", name)
		}
	}
	return nil
}
