package builder

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
)

const (
	metadataFile  = "metadata.json"
	metadataLimit = 64 << 10
)

// kindOf returns the kind that metadata.json below root names.
func kindOf(root *os.Root) (kind, error) {
	content, err := readFile(root, metadataFile, metadataLimit)
	if err != nil {
		return nil, err
	}
	return parseMetadata(content)
}

// parseMetadata takes letters of either case for the type, as stock peers do.
// Other fields are the packager's business.
func parseMetadata(content []byte) (kind, error) {
	var metadata struct {
		Type string `json:"type"`
	}
	if err := json.Unmarshal(content, &metadata); err != nil {
		return nil, fmt.Errorf("parse %s: %w", metadataFile, err)
	}
	labels := make([]string, 0, len(kinds()))
	for _, k := range kinds() {
		if strings.EqualFold(k.label(), metadata.Type) {
			return k, nil
		}
		labels = append(labels, k.label())
	}
	return nil, fmt.Errorf("package type %q is not served here, only %s", metadata.Type, strings.Join(labels, ", "))
}
