package caclient

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"heddle.dev/heddle/internal/fabric/identity"
)

// identitiesPath is where identities are managed; it exists below the API's
// prefix only.
const identitiesPath = "/api/v1/identities/"

// codeNotFound is the server's number for an identity that it does not have.
const codeNotFound = 63

// Known is an identity as the CA has it.
type Known struct {
	// Name and Type of the identity.
	Name, Type string
	// Attributes with the server's own, whose names start with "hf.".
	Attributes []Attribute
}

// Identity is what the CA knows of an identity; nil if it knows none of that
// name.
func (c *Client) Identity(ctx context.Context, by *identity.Identity, name string) (*Known, error) {
	var answer struct {
		ID         string      `json:"id"`
		Type       string      `json:"type"`
		Attributes []Attribute `json:"attrs"`
	}
	err := c.send(ctx, http.MethodGet, c.identityPath(name), token(by), nil, &answer)
	var refused *Error
	if errors.As(err, &refused) && refused.Code == codeNotFound {
		return nil, nil //nolint:nilnil // unknown is an answer
	}
	if err != nil {
		return nil, fmt.Errorf("ask CA %s for %q: %w", c.address, name, err)
	}
	return &Known{Name: answer.ID, Type: answer.Type, Attributes: answer.Attributes}, nil
}

// Modify gives an identity another secret and other attributes. Attributes
// that are not named stay; one with an empty value is removed.
func (c *Client) Modify(ctx context.Context, by *identity.Identity, r Registration) error {
	request := struct {
		Secret         string      `json:"secret,omitempty"`
		MaxEnrollments int         `json:"max_enrollments,omitempty"`
		Attributes     []Attribute `json:"attrs,omitempty"`
		CAName         string      `json:"caname,omitempty"`
	}{r.Secret, r.MaxEnrollments, r.Attributes, c.name}
	var answer struct{}
	if err := c.send(ctx, http.MethodPut, c.identityPath(r.Name), token(by), request, &answer); err != nil {
		return fmt.Errorf("change %q at CA %s: %w", r.Name, c.address, err)
	}
	return nil
}

func (c *Client) identityPath(name string) string {
	path := identitiesPath + url.PathEscape(name)
	if c.name != "" {
		path += "?ca=" + url.QueryEscape(c.name)
	}
	return path
}
