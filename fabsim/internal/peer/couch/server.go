package couch

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"heddle.dev/heddle/fabsim/internal/node"
)

// Options of a connection to CouchDB.
type Options struct {
	Address, User, Password string
	Timeout                 time.Duration
	// Retries is how often the start tries to reach the server.
	Retries int
	// QueryLimit is how many documents are fetched at a time.
	QueryLimit int
	Log        *node.Logger
}

// Server is a CouchDB.
type Server struct {
	o      Options
	client *http.Client
}

const maxAnswer = 256 << 20

// Open waits until the server answers.
func Open(ctx context.Context, o Options) (*Server, error) {
	s := &Server{o: o, client: &http.Client{
		Timeout: o.Timeout, Transport: &http.Transport{MaxIdleConns: 100, MaxIdleConnsPerHost: 100, IdleConnTimeout: time.Minute},
	}}
	var err error
	for attempt := range max(o.Retries, 1) {
		if err = s.Health(ctx); err == nil {
			return s, s.system(ctx)
		}
		o.Log.Warnf("CouchDB at %s does not answer yet: %s", o.Address, err)
		timer := time.NewTimer(min(time.Duration(attempt+1)*250*time.Millisecond, 5*time.Second))
		select {
		case <-timer.C:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return nil, fmt.Errorf("reach CouchDB at %s: %w", o.Address, err)
}

// system makes the databases that CouchDB itself needs.
func (s *Server) system(ctx context.Context) error {
	for _, name := range []string{"_users", "_replicator"} {
		if err := s.ensure(ctx, name); err != nil {
			return err
		}
	}
	return nil
}

// Health asks whether the server is up.
func (s *Server) Health(ctx context.Context) error {
	return s.call(ctx, http.MethodGet, "", nil, nil, nil)
}

// statusError is an answer of the server that is no success.
type statusError struct {
	Status int    `json:"-"`
	Code   string `json:"error"`
	Reason string `json:"reason"`
}

// Error has Fabric's words, which contracts' clients see.
func (e *statusError) Error() string {
	return fmt.Sprintf("error handling CouchDB request. Error:%s,  Status Code:%d,  Reason:%s", e.Code, e.Status, e.Reason)
}

func isStatus(err error, code int) bool {
	var e *statusError
	return errors.As(err, &e) && e.Status == code
}

const attempts = 3

// call makes a request and decodes the answer; trouble on the way and errors
// of the server are tried again.
func (s *Server) call(ctx context.Context, method, path string, query url.Values, in, out any) error {
	var err error
	for attempt := range attempts {
		err = s.once(ctx, method, path, query, in, out)
		var answer *statusError
		if err == nil || ctx.Err() != nil || errors.As(err, &answer) && answer.Status < http.StatusInternalServerError {
			return err
		}
		timer := time.NewTimer(time.Duration(attempt+1) * 100 * time.Millisecond)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		}
	}
	return err
}

func (s *Server) once(ctx context.Context, method, path string, query url.Values, in, out any) error {
	var body io.Reader
	if in != nil {
		raw, err := json.Marshal(in)
		if err != nil {
			return fmt.Errorf("write CouchDB request: %w", err)
		}
		body = bytes.NewReader(raw)
	}
	target := "http://" + s.o.Address + "/" + path
	if len(query) > 0 {
		target += "?" + query.Encode()
	}
	request, err := http.NewRequestWithContext(ctx, method, target, body)
	if err != nil {
		return fmt.Errorf("make CouchDB request: %w", err)
	}
	request.Header.Set("Accept", "application/json")
	if in != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	if s.o.User != "" {
		request.SetBasicAuth(s.o.User, s.o.Password)
	}
	response, err := s.client.Do(request)
	if err != nil {
		return fmt.Errorf("ask CouchDB: %w", err)
	}
	defer response.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("read CouchDB's answer: %w", err)
	}
	if response.StatusCode >= http.StatusBadRequest {
		problem := &statusError{}
		_ = json.Unmarshal(raw, problem) // what it does not say stays empty
		problem.Status = response.StatusCode
		return problem
	}
	if out == nil {
		return nil
	}
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	if err := decoder.Decode(out); err != nil {
		return fmt.Errorf("read CouchDB's answer: %w", err)
	}
	return nil
}

// ensure makes a database if there is none.
func (s *Server) ensure(ctx context.Context, name string) error {
	err := s.call(ctx, http.MethodPut, url.PathEscape(name), nil, nil, nil)
	if err != nil && !isStatus(err, http.StatusPreconditionFailed) {
		return fmt.Errorf("make database %s: %w", name, err)
	}
	return nil
}
