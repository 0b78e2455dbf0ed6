package builder

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
)

const (
	imageFile  = "image.json"
	imageLimit = 64 << 10
)

var digestPattern = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)

// k8s is a contract that the peer launches as a pod: the package holds an image
// by digest, in the form of fabric-builder-k8s, so its packages run here.
type k8s struct{}

func (k8s) label() string { return "k8s" }

func (k8s) build(source, output *os.Root) error {
	content, err := readFile(source, imageFile, imageLimit)
	if err != nil {
		return err
	}
	if _, err := parseImage(content); err != nil {
		return fmt.Errorf("check %s: %w", imageFile, err)
	}
	return writeFile(output, imageFile, content, fileMode)
}

// release has nothing to hand out: without a connection the peer calls run.
func (k8s) release(_, _ *os.Root) error { return nil }

// parseImage returns the reference name@digest.
func parseImage(content []byte) (string, error) {
	var image struct {
		Name   string `json:"name"`
		Digest string `json:"digest"`
	}
	decoder := json.NewDecoder(bytes.NewReader(content))
	if err := decoder.Decode(&image); err != nil {
		return "", err
	}
	if err := decoder.Decode(new(any)); !errors.Is(err, io.EOF) {
		return "", errors.New("there is more after the first JSON value")
	}
	if image.Name == "" || len(image.Name) > 512 || strings.ContainsAny(image.Name, " \t\r\n@") {
		return "", fmt.Errorf(`"name" %q is not the name of an image`, image.Name)
	}
	if !digestPattern.MatchString(image.Digest) {
		return "", fmt.Errorf(`"digest" %q is not sha256: and 64 hexadecimal digits: a tag can come to mean another image`, image.Digest)
	}
	return image.Name + "@" + image.Digest, nil
}
