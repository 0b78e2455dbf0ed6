package shim

import (
	"bytes"
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strconv"
	"strings"
)

// maxBody bounds what is read of a request or an answer that has to be changed: CouchDB's bound for documents in the
// settings that Heddle gives.
const maxBody = 256 << 20

// Options of a shim.
type Options struct {
	// User and Password of the administrator: who does not give them gets nothing but word that the server is up.
	User, Password string
	// Backend reaches PouchDB's server, whatever the request's host is.
	Backend http.RoundTripper
}

// Shim answers as CouchDB would.
type Shim struct {
	o     Options
	proxy *httputil.ReverseProxy
}

// New makes a shim.
func New(o Options) *Shim {
	s := &Shim{o: o}
	s.proxy = &httputil.ReverseProxy{
		Transport: o.Backend,
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(&url.URL{Scheme: "http", Host: "pouchdb"})
			r.Out.Header.Del("Authorization")
			r.Out.Header.Del("Accept-Encoding")
		},
		ModifyResponse: change,
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			refuse(w, http.StatusInternalServerError, "internal_server_error", err.Error())
		},
	}
	return s
}

// ServeHTTP answers one request.
func (s *Shim) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	reading := r.Method == http.MethodGet || r.Method == http.MethodHead
	switch {
	case r.URL.Path == "/_up" && reading:
		s.up(w, r)
	case !s.known(r):
		w.Header().Set("WWW-Authenticate", `Basic realm="server"`)
		refuse(w, http.StatusUnauthorized, "unauthorized", "Name or password is incorrect.")
	case r.URL.Path == "/" && reading:
		answer(w, http.StatusOK, map[string]any{
			"couchdb": "Welcome", "version": "3.4.0-standin", "features": []string{}, "uuid": "00000000000000000000000000000000",
			"vendor": map[string]string{"name": "couchsim, a STAND-IN for CouchDB: PouchDB's server, for trying and testing"},
		})
	default:
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		changed, err := prepare(r)
		if err != nil {
			refuse(w, http.StatusBadRequest, "bad_request", err.Error())
			return
		}
		s.proxy.ServeHTTP(w, changed)
	}
}

// up tells whether PouchDB's server answers.
func (s *Shim) up(w http.ResponseWriter, r *http.Request) {
	ask, err := http.NewRequestWithContext(r.Context(), http.MethodGet, "http://pouchdb/", nil)
	if err == nil {
		var response *http.Response
		if response, err = s.o.Backend.RoundTrip(ask); err == nil {
			_, err = io.Copy(io.Discard, io.LimitReader(response.Body, maxBody))
			err = errors.Join(err, response.Body.Close())
		}
	}
	if err != nil {
		answer(w, http.StatusNotFound, map[string]string{"status": "nolb"})
		return
	}
	answer(w, http.StatusOK, map[string]string{"status": "ok"})
}

func (s *Shim) known(r *http.Request) bool {
	user, password, _ := r.BasicAuth()
	same := subtle.ConstantTimeCompare([]byte(user), []byte(s.o.User)) & subtle.ConstantTimeCompare([]byte(password), []byte(s.o.Password))
	return same == 1
}

func answer(w http.ResponseWriter, status int, content any) {
	raw, err := json.Marshal(content)
	if err != nil {
		status = http.StatusInternalServerError
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(append(raw, '\n')) // who asked may have gone
}

func refuse(w http.ResponseWriter, status int, code, reason string) {
	answer(w, status, map[string]string{"error": code, "reason": reason})
}

// skipKey is where a request's context holds how many documents come before the page that a query asks for.
type skipKey struct{}

// prepare turns a request to CouchDB into one to PouchDB's server.
func prepare(r *http.Request) (*http.Request, error) {
	if rev := strings.Trim(r.Header.Get("If-Match"), `"`); rev != "" {
		query := r.URL.Query()
		query.Set("rev", rev)
		r.URL.RawQuery = query.Encode()
		r.Header.Del("If-Match")
	}
	path := r.URL.EscapedPath()
	kind, params, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if r.Method == http.MethodPut && kind == "multipart/related" && isDocument(path) {
		body, err := inline(r.Body, params["boundary"])
		if err != nil {
			return nil, err
		}
		r.Header.Set("Content-Type", "application/json")
		setBody(r, body)
	}
	if r.Method == http.MethodPost && strings.HasSuffix(path, "/_find") {
		raw, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, fmt.Errorf("read query: %w", err)
		}
		query, skip, err := findPage(raw)
		if err != nil {
			return nil, err
		}
		setBody(r, query)
		r = r.WithContext(context.WithValue(r.Context(), skipKey{}, skip))
	}
	return r, nil
}

func setBody(r *http.Request, body []byte) {
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	r.Header.Set("Content-Length", strconv.Itoa(len(body)))
}

// change turns an answer of PouchDB's server into one of CouchDB.
func change(r *http.Response) error {
	if r.StatusCode != http.StatusOK {
		return nil
	}
	if skip, ok := r.Request.Context().Value(skipKey{}).(int); ok {
		return rewrite(r, func(raw []byte) ([]byte, error) { return findAnswer(raw, skip) })
	}
	if r.Request.Method != http.MethodGet || !isDocument(r.Request.URL.EscapedPath()) {
		return nil
	}
	return rewrite(r, func(raw []byte) ([]byte, error) {
		if rev := revision(raw); rev != "" {
			r.Header.Set("ETag", strconv.Quote(rev))
		}
		if !strings.Contains(r.Request.Header.Get("Accept"), "multipart/related") {
			return raw, nil
		}
		body, kind, err := split(raw)
		if err == nil && kind != "" {
			r.Header.Set("Content-Type", kind)
		}
		return body, err
	})
}

func rewrite(r *http.Response, how func([]byte) ([]byte, error)) error {
	raw, err := io.ReadAll(io.LimitReader(r.Body, 2*maxBody))
	if err := errors.Join(err, r.Body.Close()); err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	body, err := how(raw)
	if err != nil {
		return err
	}
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	r.Header.Set("Content-Length", strconv.Itoa(len(body)))
	return nil
}
