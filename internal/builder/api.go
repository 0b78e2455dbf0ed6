package builder

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	apiTimeout  = 5 * time.Second
	apiLimit    = 4 << 20
	tokenFile   = "token"
	rootsFile   = "ca.crt"
	maxAPIError = 8 << 10
)

// api speaks to the API server with the peer's token. It is no client-go: one of
// these runs in the peer's pod for each contract, and is to stay small.
type api struct {
	base   string
	folder string
	http   *http.Client
}

// newAPI reads where the API server is from what the kubelet sets, and the token
// and the roots from a folder.
func newAPI(folder string, getenv func(string) string) (*api, error) {
	host, port := getenv("KUBERNETES_SERVICE_HOST"), getenv("KUBERNETES_SERVICE_PORT")
	if host == "" || port == "" {
		return nil, errors.New("KUBERNETES_SERVICE_HOST or KUBERNETES_SERVICE_PORT is not set: the peer has to pass them on (propagateEnvironment)")
	}
	roots, err := os.ReadFile(filepath.Join(folder, rootsFile))
	if err != nil {
		return nil, fmt.Errorf("read the API server's roots: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(roots) {
		return nil, errors.New("read the API server's roots: there is no certificate in them")
	}
	return &api{
		base: "https://" + net.JoinHostPort(host, port), folder: folder,
		http: &http.Client{Transport: &http.Transport{
			TLSClientConfig:     &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS13},
			TLSHandshakeTimeout: apiTimeout, ForceAttemptHTTP2: true,
		}},
	}, nil
}

// statusError is an answer that is no success.
type statusError struct {
	code    int
	message string
}

func (e *statusError) Error() string {
	return fmt.Sprintf("the API server answers %d: %s", e.code, e.message)
}

func isCode(err error, code int) bool {
	var s *statusError
	return errors.As(err, &s) && s.code == code
}

// open sends a request; the caller closes the body.
func (a *api) open(ctx context.Context, method, path string, query url.Values, body any) (*http.Response, error) {
	var content io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		content = bytes.NewReader(b)
	}
	request, err := http.NewRequestWithContext(ctx, method, a.base+path+"?"+query.Encode(), content)
	if err != nil {
		return nil, err
	}
	// The kubelet replaces the token long before it ends.
	token, err := os.ReadFile(filepath.Join(a.folder, tokenFile))
	if err != nil {
		return nil, fmt.Errorf("read the peer's token: %w", err)
	}
	request.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	answer, err := a.http.Do(request)
	if err != nil {
		return nil, err
	}
	if answer.StatusCode < 300 {
		return answer, nil
	}
	defer func() { _ = answer.Body.Close() }()
	var status metav1.Status
	text, err := io.ReadAll(io.LimitReader(answer.Body, maxAPIError))
	if err == nil && json.Unmarshal(text, &status) == nil && status.Message != "" {
		text = []byte(status.Message)
	}
	return nil, &statusError{answer.StatusCode, string(text)}
}

// do sends a request and decodes the answer into out unless that is nil.
func (a *api) do(ctx context.Context, method, path string, query url.Values, body, out any) error {
	ctx, cancel := context.WithTimeout(ctx, apiTimeout)
	defer cancel()
	answer, err := a.open(ctx, method, path, query, body)
	if err != nil {
		return err
	}
	defer func() { _ = answer.Body.Close() }()
	if out == nil {
		return nil
	}
	return json.NewDecoder(io.LimitReader(answer.Body, apiLimit)).Decode(out)
}
