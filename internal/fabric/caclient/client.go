package caclient

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"heddle.dev/heddle/internal/fabric/identity"
)

const (
	// maxAnswer bounds what the server may tell us; lists of revoked
	// certificates are the longest.
	maxAnswer   = 16 << 20
	idleTimeout = 30 * time.Second
)

// Options of a client.
type Options struct {
	// Address of the server, host:port.
	Address string
	// ServerName is what its certificate has to name. Empty means the host of
	// Address.
	ServerName string
	// Roots are the TLS authorities that its certificate comes from, in PEM.
	Roots []byte
	// CAName chooses among several authorities of one server; optional.
	CAName string
	// DialContext opens connections; nil means directly.
	DialContext func(ctx context.Context, network, address string) (net.Conn, error)
}

// Client of a fabric-ca server.
type Client struct {
	address, name string
	http          *http.Client
}

// New makes a client. It does not connect yet.
func New(o Options) (*Client, error) {
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(o.Roots) {
		return nil, fmt.Errorf("connect to CA %q: there is no TLS root certificate", o.Address)
	}
	if o.ServerName == "" {
		host, _, err := net.SplitHostPort(o.Address)
		if err != nil {
			return nil, fmt.Errorf("connect to CA %q: the address is not of the form host:port", o.Address)
		}
		o.ServerName = host
	}
	dial := o.DialContext
	if dial == nil {
		dial = (&net.Dialer{}).DialContext
	}
	return &Client{address: o.Address, name: o.CAName, http: &http.Client{Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: pool, ServerName: o.ServerName, MinVersion: tls.VersionTLS12},
		DialContext:     dial, IdleConnTimeout: idleTimeout, MaxIdleConnsPerHost: 1,
	}}}, nil
}

// Close drops idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Error is the server's refusal.
type Error struct {
	// Status is the HTTP status, Code the server's own number.
	Status, Code int
	// Message is the server's own sentence.
	Message string
}

func (e *Error) Error() string {
	return fmt.Sprintf("the CA refuses (%d, code %d): %s", e.Status, e.Code, e.Message)
}

// Unauthorized tells whether name, secret or certificate were not accepted.
func (e *Error) Unauthorized() bool { return e.Status == http.StatusUnauthorized }

// credentials sign a request.
type credentials func(request *http.Request, body []byte) error

func basic(name, secret string) credentials {
	return func(request *http.Request, _ []byte) error {
		request.SetBasicAuth(name, secret)
		return nil
	}
}

// token signs method, path and body with an enrolment.
func token(by *identity.Identity) credentials {
	return func(request *http.Request, body []byte) error {
		encode := base64.StdEncoding.EncodeToString
		cert := encode(by.Credentials())
		text := strings.Join([]string{request.Method, encode([]byte(request.URL.RequestURI())), encode(body), cert}, ".")
		signature, err := by.Sign([]byte(text))
		if err != nil {
			return err
		}
		request.Header.Set("Authorization", cert+"."+encode(signature))
		return nil
	}
}

// call posts a request and decodes the result.
func (c *Client) call(ctx context.Context, path string, sign credentials, request, result any) error {
	return c.send(ctx, http.MethodPost, path, sign, request, result)
}

// send makes a request, without a body if request is nil.
func (c *Client) send(ctx context.Context, method, path string, sign credentials, request, result any) error {
	var body []byte
	if request != nil {
		var err error
		if body, err = json.Marshal(request); err != nil {
			return fmt.Errorf("encode request: %w", err)
		}
	}
	r, err := http.NewRequestWithContext(ctx, method, "https://"+c.address+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/json")
	if sign != nil {
		if err := sign(r, body); err != nil {
			return err
		}
	}
	response, err := c.http.Do(r)
	if err != nil {
		var wrapped *url.Error
		if errors.As(err, &wrapped) {
			err = wrapped.Err // it repeats the address
		}
		return err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	return decode(response.StatusCode, text, result)
}

// decode reads the frame that every answer has.
func decode(status int, text []byte, result any) error {
	var answer struct {
		Success bool            `json:"success"`
		Result  json.RawMessage `json:"result"`
		Errors  []struct {
			Code    int    `json:"code"`
			Message string `json:"message"`
		} `json:"errors"`
	}
	if err := json.Unmarshal(text, &answer); err != nil {
		return fmt.Errorf("read answer (status %d): it is not one of a CA: %w", status, err)
	}
	if !answer.Success || status/100 != 2 {
		refusal := &Error{Status: status, Message: http.StatusText(status)}
		var messages []string
		for _, e := range answer.Errors {
			refusal.Code = e.Code
			messages = append(messages, e.Message)
		}
		if len(messages) > 0 {
			refusal.Message = strings.Join(messages, "; ")
		}
		return refusal
	}
	if err := json.Unmarshal(answer.Result, result); err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	return nil
}
