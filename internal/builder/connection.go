package builder

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"
)

const (
	maxDialTimeout = 5 * time.Minute
	// maxAddress is more than host and port can have.
	maxAddress = 512
)

// connection says where a contract listens and how the peer dials it. The names
// of its fields are the peer's.
type connection struct {
	Address            string          `json:"address"`
	Domain             string          `json:"domain,omitempty"`
	DialTimeout        json.RawMessage `json:"dial_timeout,omitempty"`
	TLSRequired        bool            `json:"tls_required"`
	ClientAuthRequired bool            `json:"client_auth_required,omitempty"`
	ClientKey          string          `json:"client_key,omitempty"`
	ClientCert         string          `json:"client_cert,omitempty"`
	RootCert           string          `json:"root_cert,omitempty"`
}

// parseConnection checks everything the peer of that name would trip over at the
// first call, or, worse, would not: a misspelt tls_required would mean no TLS.
func parseConnection(content []byte, peer string) (*connection, error) {
	decoder := json.NewDecoder(bytes.NewReader(content))
	decoder.DisallowUnknownFields()
	c := new(connection)
	if err := decoder.Decode(c); err != nil {
		return nil, err
	}
	if err := decoder.Decode(new(any)); !errors.Is(err, io.EOF) {
		return nil, errors.New("there is more after the first JSON value")
	}
	if err := c.expand(peer); err != nil {
		return nil, err
	}
	if err := checkAddress(c.Address); err != nil {
		return nil, err
	}
	timeout, err := parseTimeout(c.DialTimeout)
	if err != nil {
		return nil, err
	}
	c.DialTimeout = timeout
	if err := c.checkTLS(); err != nil {
		return nil, err
	}
	return c, nil
}

func checkAddress(address string) error {
	switch {
	case address == "":
		return errors.New(`"address" is empty: give host:port of the contract's service`)
	case strings.Contains(address, "{{"):
		return fmt.Errorf(`"address" %q holds a template: {{.peername}}, the name of the peer, is the only one that is expanded here`, address)
	case strings.Contains(address, "://"):
		return fmt.Errorf(`"address" %q is a URL: give host:port only`, address)
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf(`"address" %q is not host:port: %w`, address, err)
	}
	if host == "" || strings.ContainsAny(host, " \t\r\n/") {
		return fmt.Errorf(`"address" %q has no usable host`, address)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return fmt.Errorf(`"address" %q has no port between 1 and 65535`, address)
	}
	return nil
}

// peerName is what the builder of releases calls the name of a peer in a template.
var peerName = regexp.MustCompile(`\{\{-?\s*\.peername\s*-?\}\}`)

// expand puts the peer's name into the address, so that each peer can have a
// contract of its own. A package says nothing else by templates.
func (c *connection) expand(peer string) error {
	if !peerName.MatchString(c.Address) {
		return nil
	}
	if peer == "" {
		return fmt.Errorf(`"address" %q asks for the peer's name, which is not known here`, c.Address)
	}
	if len(c.Address) > maxAddress {
		return fmt.Errorf(`"address" has more than %d letters`, maxAddress)
	}
	c.Address = peerName.ReplaceAllLiteralString(c.Address, peer)
	return nil
}

// parseTimeout takes what the peer takes (a duration in words or a number of
// nanoseconds) and returns it in words; none stands for the peer's default.
func parseTimeout(raw json.RawMessage) (json.RawMessage, error) {
	if len(raw) == 0 || string(raw) == "null" {
		return nil, nil
	}
	var words string
	var timeout time.Duration
	if err := json.Unmarshal(raw, &words); err == nil {
		if words == "" {
			return nil, nil
		}
		if timeout, err = time.ParseDuration(words); err != nil {
			return nil, fmt.Errorf(`"dial_timeout" %q is not a duration such as "10s"`, words)
		}
	} else if err := json.Unmarshal(raw, &timeout); err != nil {
		return nil, fmt.Errorf(`"dial_timeout" %s is not a duration such as "10s"`, raw)
	}
	if timeout <= 0 || timeout > maxDialTimeout {
		return nil, fmt.Errorf(`"dial_timeout" %s is not above zero and at most %s`, timeout, maxDialTimeout)
	}
	return json.Marshal(timeout.String())
}

// checkTLS also drops what is not used, as stock peers do: a key that lies in a
// package for nothing should not be copied on.
func (c *connection) checkTLS() error {
	if !c.TLSRequired {
		if c.ClientAuthRequired {
			return errors.New(`"client_auth_required" needs "tls_required"`)
		}
		c.Domain, c.RootCert, c.ClientCert, c.ClientKey = "", "", "", ""
		return nil
	}
	if c.RootCert == "" {
		return errors.New(`"tls_required" needs "root_cert", the CA of the contract's certificate in PEM`)
	}
	if !x509.NewCertPool().AppendCertsFromPEM([]byte(c.RootCert)) {
		return errors.New(`"root_cert" holds no certificate in PEM`)
	}
	if !c.ClientAuthRequired {
		c.ClientCert, c.ClientKey = "", ""
		return nil
	}
	if c.ownPair() {
		return nil
	}
	if c.ClientCert == "" || c.ClientKey == "" {
		return errors.New(`"client_cert" and "client_key" belong together: give both in PEM, or neither, and the peer shows its own certificate`)
	}
	// The error names no key material.
	if _, err := tls.X509KeyPair([]byte(c.ClientCert), []byte(c.ClientKey)); err != nil {
		return fmt.Errorf(`"client_cert" and "client_key" do not fit: %w`, err)
	}
	return nil
}

// ownPair tells that the peer is to show its own certificate, as it does to other
// nodes: then no key stands in the package.
func (c *connection) ownPair() bool {
	return c.ClientAuthRequired && c.ClientCert == "" && c.ClientKey == ""
}

// fill puts in the pair that lies in the peer's files.
func (c *connection) fill(certFile, keyFile string) error {
	if certFile == "" || keyFile == "" {
		return errors.New("the peer's own certificate is asked for, but its files are not known here")
	}
	cert, err := readPEM(certFile)
	if err != nil {
		return err
	}
	key, err := readPEM(keyFile)
	if err != nil {
		return err
	}
	c.ClientCert, c.ClientKey = cert, key
	return c.checkTLS()
}

func readPEM(name string) (string, error) {
	file, err := os.Open(name)
	if err != nil {
		return "", fmt.Errorf("read the peer's own certificate: %w", err)
	}
	defer func() { _ = file.Close() }()
	content, err := io.ReadAll(io.LimitReader(file, connectionLimit))
	if err != nil {
		return "", fmt.Errorf("read the peer's own certificate: %w", err)
	}
	return string(content), nil
}

func (c *connection) encode() ([]byte, error) {
	encoded, err := json.Marshal(c) //nolint:gosec // the peer needs the key; the file is for its user only
	if err != nil {
		return nil, fmt.Errorf("encode connection: %w", err)
	}
	return append(encoded, '\n'), nil
}
