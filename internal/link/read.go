package link

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
)

// readJSON reads the body of a call.
func readJSON(r *http.Request, most int64, into any) error {
	if !isJSON(r) {
		return Refuse(RefusedInvalid, "The message is not JSON")
	}
	raw, err := readBounded(r.Body, most)
	if err != nil {
		return Refuse(RefusedInvalid, "The message cannot be read, or is longer than allowed")
	}
	if err := decodeOne(raw, into); err != nil {
		return Refuse(RefusedInvalid, "The message is not what it should be")
	}
	return nil
}

func readBounded(r io.Reader, most int64) ([]byte, error) {
	raw, err := io.ReadAll(io.LimitReader(r, most+1))
	if err != nil {
		return nil, fmt.Errorf("read message: %w", err)
	}
	if int64(len(raw)) > most {
		return nil, fmt.Errorf("read message: longer than %d bytes", most)
	}
	return raw, nil
}

// decodeOne reads one value and nothing after it. Fields that are not known are of a newer release.
func decodeOne(raw []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(raw))
	if err := d.Decode(into); err != nil {
		return fmt.Errorf("decode message: %w", err)
	}
	if _, err := d.Token(); err != io.EOF {
		return fmt.Errorf("decode message: there is something after it")
	}
	return nil
}
