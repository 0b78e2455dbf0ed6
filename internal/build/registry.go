package build

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
)

// Registry is where sources come from and images go.
type Registry struct {
	// URL is https://HOST:PORT.
	URL string
	// CA is a file of certificates in PEM that verify it.
	CA string
}

const caLimit = 1 << 20

// host is HOST:PORT.
func (r Registry) host() (string, error) {
	parsed, err := url.Parse(r.URL)
	if err != nil {
		return "", fmt.Errorf("read address of registry: %w", err)
	}
	if parsed.Scheme != "https" || parsed.Host == "" || strings.Trim(parsed.Path, "/") != "" || parsed.User != nil {
		return "", fmt.Errorf("read address of registry: %q is not of the form https://HOST:PORT", r.URL)
	}
	return parsed.Host, nil
}

// transport trusts the registry's CA and nothing else, and goes through no proxy.
func (r Registry) transport() (*encrypted, error) {
	content, err := readSmall(r.CA, caLimit)
	if err != nil {
		return nil, fmt.Errorf("read CA of registry: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(content) {
		return nil, fmt.Errorf("read CA of registry: there is no certificate in %s", r.CA)
	}
	return &encrypted{&http.Transport{
		TLSClientConfig:       &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:   10 * time.Second,
		ResponseHeaderTimeout: time.Minute,
		MaxIdleConnsPerHost:   8,
	}}, nil
}

// encrypted refuses plain HTTP, which the registry's client falls back to for hosts of private addresses.
type encrypted struct{ *http.Transport }

// RoundTrip sends what is encrypted.
func (e *encrypted) RoundTrip(request *http.Request) (*http.Response, error) {
	if request.URL.Scheme != "https" {
		return nil, fmt.Errorf("reach %s: only https is used", request.URL.Host)
	}
	return e.Transport.RoundTrip(request)
}

// readKey reads the account that may push.
func readKey(folder string) (authn.Authenticator, error) {
	username, err := readSmall(folder+"/username", 1<<10)
	if err != nil {
		return nil, fmt.Errorf("read key for pushing: %w", err)
	}
	password, err := readSmall(folder+"/password", 1<<10)
	if err != nil {
		return nil, fmt.Errorf("read key for pushing: %w", err)
	}
	return authn.FromConfig(authn.AuthConfig{Username: strings.TrimSpace(string(username)), Password: strings.TrimSpace(string(password))}), nil
}

// readSmall reads a file of at most limit bytes that the pod's maker provides.
func readSmall(name string, limit int64) ([]byte, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	content, err := io.ReadAll(io.LimitReader(file, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(content)) > limit {
		return nil, fmt.Errorf("%s has more than %d bytes", name, limit)
	}
	return content, nil
}
