package link

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"heddle.dev/heddle/internal/pki"
)

// Invitation is what a site needs to use a token.
type Invitation struct {
	// SiteID and Endpoints of the inviting site.
	SiteID    string
	Endpoints []string
	// Pin of its gateway's CA.
	Pin string
	// Code to use.
	Code string
}

// Joined is what came of it.
type Joined struct {
	// CA of the inviting site's gateway.
	CA *x509.Certificate
	// DisplayName and Endpoints of the inviting site.
	DisplayName string
	Endpoints   []string
	// Check is the six digits that people compare.
	Check string
}

// Join uses an invitation: it proves this site's key over TLS that is pinned to the inviting site's CA. It can be
// repeated: the inviting site gives the same answer to the same key.
func (c *Client) Join(ctx context.Context, i Invitation) (*Joined, error) {
	self, err := c.opts.Self(ctx)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, joinTimeout+dialTimeout)
	defer cancel()
	name := JoinName(i.SiteID)
	var ca *x509.Certificate
	conn, err := c.dial(ctx, i.Endpoints, &tls.Config{
		MinVersion: tls.VersionTLS13, ServerName: name, Time: c.opts.Now, NextProtos: []string{"http/1.1"},
		InsecureSkipVerify: true, //nolint:gosec // VerifyConnection does it, against the pin
		VerifyConnection:   verifyPin(i.Pin, name, c.opts.Now, &ca),
	})
	if err != nil {
		return nil, fmt.Errorf("reach the inviting site: %w", err)
	}
	defer func() { _ = conn.Close() }()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	a, err := exchange(ctx, conn, name, self, i.Code)
	if err != nil {
		return nil, fmt.Errorf("join: %w", err)
	}
	return &Joined{CA: ca, DisplayName: a.DisplayName, Endpoints: a.Endpoints, Check: Check(i.Code, ca, self.CA.Cert, a.Nonce)}, nil
}

func exchange(ctx context.Context, conn *tls.Conn, name string, self *Self, code string) (*joinAnswer, error) {
	q := &joinRequest{
		Version: Version, Code: code, SiteID: self.SiteID, DisplayName: self.DisplayName, Endpoints: self.Endpoints,
		CA: string(pki.EncodeCerts(self.CA.Cert)),
	}
	cs := conn.ConnectionState()
	if err := q.sign(self.CA, &cs); err != nil {
		return nil, err
	}
	raw, err := json.Marshal(q)
	if err != nil {
		return nil, fmt.Errorf("encode request: %w", err)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://"+name+joinPath, bytes.NewReader(raw))
	if err != nil {
		return nil, fmt.Errorf("make request: %w", err)
	}
	request.Header.Set("Content-Type", "application/json")
	request.Close = true
	if err := request.Write(conn); err != nil {
		return nil, fmt.Errorf("send request: %w", err)
	}
	response, err := http.ReadResponse(bufio.NewReaderSize(conn, maxHeader), request)
	if err != nil {
		return nil, fmt.Errorf("read the answer: %w", err)
	}
	defer func() { _ = response.Body.Close() }()
	var a joinAnswer
	if err := readAnswer(response, &a); err != nil {
		return nil, err
	}
	if len(a.Nonce) != nonceSize {
		return nil, errors.New("the answer has no nonce")
	}
	if err := errors.Join(checkName(a.DisplayName), checkEndpoints(a.Endpoints)); err != nil {
		return nil, fmt.Errorf("read the answer: %w", err)
	}
	return &a, nil
}
