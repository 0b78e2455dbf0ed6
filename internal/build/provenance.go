package build

import (
	"encoding/json"
	"fmt"
	"strings"

	"heddle.dev/heddle/internal/version"
)

// These are the parts of an in-toto statement with SLSA's provenance that are used.
type (
	statement struct {
		Type          string     `json:"_type"`
		Subject       []resource `json:"subject"`
		PredicateType string     `json:"predicateType"`
		Predicate     predicate  `json:"predicate"`
	}
	resource struct {
		Name   string            `json:"name,omitempty"`
		URI    string            `json:"uri,omitempty"`
		Digest map[string]string `json:"digest"`
	}
	predicate struct {
		Definition definition `json:"buildDefinition"`
		Run        run        `json:"runDetails"`
	}
	definition struct {
		Type string `json:"buildType"`
		// External are what the person chose, Internal what the platform did with it.
		External     map[string]string `json:"externalParameters"`
		Internal     map[string]string `json:"internalParameters"`
		Dependencies []resource        `json:"resolvedDependencies"`
	}
	run struct {
		Builder builderID `json:"builder"`
	}
	builderID struct {
		ID      string            `json:"id"`
		Version map[string]string `json:"version"`
	}
)

func sha256Of(digest string) map[string]string {
	return map[string]string{"sha256": strings.TrimPrefix(digest, "sha256:")}
}

// provenance states how an image came about. The language and the source are the Job's word; the recipe's and the
// toolchain's names are the word of the container that compiled.
func (o PushOptions) provenance(c *Compiled, digest, base string) ([]byte, error) {
	external := map[string]string{"source": o.SourceDigest}
	if o.Language != "" {
		external["language"] = o.Language
	}
	if o.Path != "" {
		external["path"] = o.Path
	}
	dependencies := []resource{{URI: "heddle:source", Digest: sha256Of(o.SourceDigest)}}
	if base != "" {
		dependencies = append(dependencies, resource{URI: "heddle:base/" + c.Base, Digest: sha256Of(base)})
	}
	encoded, err := json.Marshal(statement{
		Type: "https://in-toto.io/Statement/v1", PredicateType: "https://slsa.dev/provenance/v1",
		Subject: []resource{{Name: o.Image, Digest: sha256Of(digest)}},
		Predicate: predicate{
			Definition: definition{
				Type: "https://heddle.dev/build/v1", External: external,
				Internal:     map[string]string{"recipe": clip(c.Recipe, 100), "toolchain": clip(c.Toolchain, 300)},
				Dependencies: dependencies,
			},
			Run: run{builderID{"https://heddle.dev/heddle-build", map[string]string{"heddle": version.Version}}},
		},
	})
	if err != nil {
		return nil, fmt.Errorf("encode provenance: %w", err)
	}
	return encoded, nil
}
