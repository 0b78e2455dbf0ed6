package couch

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"

	"heddle.dev/heddle/fabsim/internal/peer/state"
)

// DB is the state of one channel. A snapshot of it is the state as it is: what
// changes while a transaction reads is found by the check of versions.
type DB struct {
	server  *Server
	channel string

	mu    sync.Mutex
	known map[string]bool
}

var _ state.DB = (*DB)(nil)

// Channel opens the state of a channel.
func (s *Server) Channel(ctx context.Context, channel string) (*DB, error) {
	db := &DB{server: s, channel: channel, known: map[string]bool{}}
	return db, db.ensure(ctx, db.name(""))
}

const (
	maxName   = 238
	savepoint = "statedb_savepoint"
)

// name is the database of a namespace.
func (db *DB) name(ns string) string {
	escaped := strings.ToLower(regexp.MustCompile(`[A-Z]`).ReplaceAllStringFunc(ns, func(letter string) string { return "$" + letter }))
	name := strings.ReplaceAll(db.channel, ".", "$") + "_" + strings.ReplaceAll(escaped, ".", "$")
	if len(name) > maxName {
		name = fmt.Sprintf("%s(%x)", name[:maxName-66], sha256.Sum256([]byte(db.channel+"_"+ns)))
	}
	return name
}

func (db *DB) ensure(ctx context.Context, name string) error {
	db.mu.Lock()
	defer db.mu.Unlock()
	if db.known[name] {
		return nil
	}
	if err := db.server.ensure(ctx, name); err != nil {
		return err
	}
	db.known[name] = true
	return nil
}

// id is a key as a document's name: hashes are no texts.
func id(ns, key string) string {
	if strings.Contains(ns, "$$h") {
		return base64.StdEncoding.EncodeToString([]byte(key))
	}
	return key
}

func (db *DB) path(ns string, parts ...string) string {
	var out strings.Builder
	out.WriteString(url.PathEscape(db.name(ns)))
	for _, part := range parts {
		out.WriteString("/" + url.PathEscape(part))
	}
	return out.String()
}

// Height reads the savepoint.
func (db *DB) Height(ctx context.Context) (uint64, error) {
	var doc struct{ BlockNum uint64 }
	err := db.server.call(ctx, http.MethodGet, db.path("", savepoint), nil, nil, &doc)
	if isStatus(err, http.StatusNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("read state's savepoint: %w", err)
	}
	return doc.BlockNum + 1, nil
}

// Apply writes the documents and then the savepoint: after a crash between the
// two the block is applied again, to the same end.
func (db *DB) Apply(ctx context.Context, batch *state.Batch, block uint64) error {
	for ns, keys := range batch.Spaces {
		if err := db.ensure(ctx, db.name(ns)); err != nil {
			return err
		}
		if err := db.write(ctx, ns, keys); err != nil {
			return fmt.Errorf("apply block %d to state: %w", block, err)
		}
	}
	var before struct {
		Rev string `json:"_rev"`
	}
	if err := db.server.call(ctx, http.MethodGet, db.path("", savepoint), nil, nil, &before); err != nil && !isStatus(err, http.StatusNotFound) {
		return fmt.Errorf("apply block %d to state: %w", block, err)
	}
	doc := map[string]any{"_id": savepoint, "BlockNum": block}
	if before.Rev != "" {
		doc["_rev"] = before.Rev
	}
	if err := db.server.call(ctx, http.MethodPut, db.path("", savepoint), nil, doc, nil); err != nil {
		return fmt.Errorf("apply block %d to state: %w", block, err)
	}
	return nil
}

// write writes documents in bulk; those that somebody changed meanwhile, as
// only a request that was tried again does, once more.
func (db *DB) write(ctx context.Context, ns string, keys map[string]*state.Value) error {
	left := maps.Clone(keys)
	for range attempts {
		docs, err := db.documents(ctx, ns, left)
		if err != nil || len(docs) == 0 {
			return err
		}
		refused, err := db.put(ctx, ns, docs)
		if err != nil || len(refused) == 0 {
			return err
		}
		maps.DeleteFunc(left, func(key string, _ *state.Value) bool { return !refused[id(ns, key)] })
	}
	return fmt.Errorf("write documents of %s: %d of them are refused", ns, len(left))
}

// documents makes the documents of keys, as successors of those that there are.
func (db *DB) documents(ctx context.Context, ns string, keys map[string]*state.Value) ([]any, error) {
	revisions, err := db.revisions(ctx, ns, keys)
	if err != nil {
		return nil, err
	}
	var docs []any
	for key, value := range keys {
		name := id(ns, key)
		if value.Deleted() && revisions[name] == "" {
			continue
		}
		docs = append(docs, document(name, revisions[name], value))
	}
	return docs, nil
}

// put writes documents in bulk and tells which of them were refused.
func (db *DB) put(ctx context.Context, ns string, docs []any) (map[string]bool, error) {
	var results []struct {
		ID    string `json:"id"`
		Error string `json:"error"`
	}
	if err := db.server.call(ctx, http.MethodPost, db.path(ns, "_bulk_docs"), nil, map[string]any{"docs": docs}, &results); err != nil {
		return nil, fmt.Errorf("write documents of %s: %w", ns, err)
	}
	refused := map[string]bool{}
	for _, result := range results {
		if result.Error != "" {
			refused[result.ID] = true
		}
	}
	return refused, nil
}

func (db *DB) revisions(ctx context.Context, ns string, keys map[string]*state.Value) (map[string]string, error) {
	var names []string
	for key := range keys {
		names = append(names, id(ns, key))
	}
	var found struct {
		Rows []struct {
			ID    string `json:"id"`
			Value struct {
				Rev     string `json:"rev"`
				Deleted bool   `json:"deleted"`
			} `json:"value"`
		} `json:"rows"`
	}
	if err := db.server.call(ctx, http.MethodPost, db.path(ns, "_all_docs"), nil, map[string]any{"keys": names}, &found); err != nil {
		return nil, fmt.Errorf("read revisions of %s: %w", ns, err)
	}
	out := map[string]string{}
	for _, r := range found.Rows {
		if !r.Value.Deleted {
			out[r.ID] = r.Value.Rev
		}
	}
	return out, nil
}

// Index makes the indexes of a contract's files; what is wrong with one is
// logged, as Fabric does, for the contract works without.
func (db *DB) Index(ctx context.Context, ns string, files map[string][]byte) error {
	if err := db.ensure(ctx, db.name(ns)); err != nil {
		return err
	}
	for name, content := range files {
		var definition json.RawMessage = content
		if !json.Valid(content) {
			db.server.o.Log.Errorf("Index %s of %s is no JSON", name, ns)
			continue
		}
		err := db.server.call(ctx, http.MethodPost, db.path(ns, "_index"), nil, definition, nil)
		var refused *statusError
		if errors.As(err, &refused) {
			db.server.o.Log.Errorf("Cannot make index %s of %s: %s", name, ns, err)
			continue
		}
		if err != nil {
			return fmt.Errorf("make index %s of %s: %w", name, ns, err)
		}
	}
	return nil
}
