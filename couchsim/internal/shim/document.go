package shim

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/textproto"
	"slices"
	"strconv"
	"strings"
)

// isDocument tells whether an escaped path is that of a document: /DATABASE/NAME, or /DATABASE/_design/NAME.
func isDocument(path string) bool {
	parts := strings.Split(strings.TrimPrefix(path, "/"), "/")
	switch len(parts) {
	case 2:
		return parts[0] != "" && parts[1] != "" && parts[1][0] != '_'
	case 3:
		return parts[0] != "" && parts[1] == "_design" && parts[2] != ""
	default:
		return false
	}
}

// attachment is a file of a document, as it stands in the document.
type attachment struct {
	ContentType string `json:"content_type,omitempty"`
	// Data is the content, which may be empty; in JSON it is base64.
	Data *[]byte `json:"data,omitempty"`
	// Follows says that the content is a part of its own, of Length bytes.
	Follows bool   `json:"follows,omitempty"`
	Length  int    `json:"length,omitempty"`
	Digest  string `json:"digest,omitempty"`
	RevPos  int    `json:"revpos,omitempty"`
	Stub    bool   `json:"stub,omitempty"`
}

// attachments are the files of a document, in the order in which they stand there.
type attachments struct {
	names []string
	files map[string]*attachment
}

// UnmarshalJSON keeps the order of the names, which that of the parts follows.
func (a *attachments) UnmarshalJSON(raw []byte) error {
	if err := json.Unmarshal(raw, &a.files); err != nil {
		return err
	}
	decoder := json.NewDecoder(bytes.NewReader(raw))
	for depth := 0; ; {
		token, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		switch token := token.(type) {
		case json.Delim:
			if token == '{' || token == '[' {
				depth++
			} else {
				depth--
			}
		case string:
			if depth == 1 && !slices.Contains(a.names, token) && a.files[token] != nil {
				a.names = append(a.names, token)
			}
		}
	}
}

// MarshalJSON writes the files by name.
func (a *attachments) MarshalJSON() ([]byte, error) { return json.Marshal(a.files) }

// inline turns a document in parts into one of JSON alone, with the attachments' content inside.
func inline(r io.Reader, boundary string) ([]byte, error) {
	reader := multipart.NewReader(r, boundary)
	head, err := reader.NextPart()
	if err != nil {
		return nil, fmt.Errorf("read first part: %w", err)
	}
	doc, files, err := readDocument(head)
	if err != nil {
		return nil, err
	}
	var waiting []string
	for _, name := range files.names {
		if files.files[name].Follows {
			waiting = append(waiting, name)
		}
	}
	for _, name := range waiting {
		part, err := reader.NextPart()
		if err != nil {
			return nil, fmt.Errorf("read part of attachment %q: %w", name, err)
		}
		content, err := io.ReadAll(part)
		if err != nil {
			return nil, fmt.Errorf("read attachment %q: %w", name, err)
		}
		file := files.files[name]
		file.Data, file.Follows, file.Length = &content, false, 0
	}
	if _, err := reader.NextPart(); !errors.Is(err, io.EOF) {
		return nil, errors.New("there are more parts than attachments that follow")
	}
	if len(files.names) > 0 {
		if doc["_attachments"], err = json.Marshal(files); err != nil {
			return nil, err
		}
	}
	return json.Marshal(doc)
}

func readDocument(r io.Reader) (map[string]json.RawMessage, *attachments, error) {
	var doc map[string]json.RawMessage
	if err := json.NewDecoder(r).Decode(&doc); err != nil {
		return nil, nil, fmt.Errorf("read document: %w", err)
	}
	if doc == nil {
		return nil, nil, errors.New("read document: it is null")
	}
	files := &attachments{}
	if raw, ok := doc["_attachments"]; ok {
		if err := json.Unmarshal(raw, files); err != nil {
			return nil, nil, fmt.Errorf("read attachments: %w", err)
		}
	}
	return doc, files, nil
}

// revision is the revision of a document in JSON, empty if it has none.
func revision(raw []byte) string {
	var doc struct {
		Rev string `json:"_rev"`
	}
	if json.Unmarshal(raw, &doc) != nil {
		return ""
	}
	return doc.Rev
}

// split turns a document with attachments inside into one in parts. A document whose attachments have no content with
// them comes back as it is, with an empty content type.
func split(raw []byte) (body []byte, contentType string, err error) {
	doc, files, err := readDocument(bytes.NewReader(raw))
	if err != nil {
		return nil, "", err
	}
	content := map[string][]byte{}
	// The parts follow in the order in which the head is written: by name.
	slices.Sort(files.names)
	for _, name := range files.names {
		file := files.files[name]
		if file.Data == nil {
			return raw, "", nil
		}
		content[name] = *file.Data
		file.Data, file.Follows, file.Length = nil, true, len(content[name])
	}
	if len(content) == 0 {
		return raw, "", nil
	}
	if doc["_attachments"], err = json.Marshal(files); err != nil {
		return nil, "", err
	}
	head, err := json.Marshal(doc)
	if err != nil {
		return nil, "", err
	}
	var out bytes.Buffer
	writer := multipart.NewWriter(&out)
	err = writePart(writer, textproto.MIMEHeader{"Content-Type": {"application/json"}}, head)
	for _, name := range files.names {
		err = errors.Join(err, writePart(writer, textproto.MIMEHeader{
			"Content-Type":        {files.files[name].ContentType},
			"Content-Disposition": {"attachment; filename=" + strconv.Quote(name)},
		}, content[name]))
	}
	if err := errors.Join(err, writer.Close()); err != nil {
		return nil, "", fmt.Errorf("write document in parts: %w", err)
	}
	return out.Bytes(), `multipart/related; boundary="` + writer.Boundary() + `"`, nil
}

func writePart(w *multipart.Writer, header textproto.MIMEHeader, content []byte) error {
	part, err := w.CreatePart(header)
	if err != nil {
		return err
	}
	_, err = part.Write(content)
	return err
}
