package couch

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"heddle.dev/heddle/fabsim/internal/peer/state"
)

// Snapshot reads the state as it is.
func (db *DB) Snapshot() state.Reader { return reader{db} }

type reader struct{ db *DB }

// Close does nothing: nothing is held.
func (reader) Close() {}

// Get reads a document.
func (r reader) Get(ctx context.Context, ns, key string) (*state.Value, error) {
	found, err := r.get(ctx, ns, id(ns, key))
	if err != nil || found == nil {
		return nil, err
	}
	return &found.Value, nil
}

func (r reader) get(ctx context.Context, ns, name string) (*state.Row, error) {
	if name == "" || strings.HasPrefix(name, "_") {
		return nil, nil //nolint:nilnil // no key is called so
	}
	doc := map[string]any{}
	err := r.db.server.call(ctx, http.MethodGet, r.db.path(ns, name), url.Values{"attachments": {"true"}}, nil, &doc)
	if isStatus(err, http.StatusNotFound) {
		return nil, nil //nolint:nilnil // a key that there is not is nothing wrong
	}
	if err != nil {
		return nil, err
	}
	return row(doc)
}

// Range reads documents in the order of their names.
func (r reader) Range(_ context.Context, ns, start, end string, limit int) (state.Rows, error) {
	if strings.Contains(ns, "$$h") {
		return nil, errors.New("hashes have no order")
	}
	return &rangeRows{reader: r, ns: ns, next: start, end: end, left: limit, limited: limit > 0}, nil
}

type rangeRows struct {
	reader

	ns, next, end string
	left          int
	limited, done bool
	rows          []*state.Row
}

func (r *rangeRows) Next(ctx context.Context) (*state.Row, error) {
	if r.limited && r.left == 0 {
		return nil, nil //nolint:nilnil // the end of the page is nothing wrong
	}
	if len(r.rows) == 0 && !r.done {
		if err := r.fetch(ctx); err != nil {
			return nil, err
		}
	}
	if len(r.rows) == 0 {
		return nil, nil //nolint:nilnil // the end of the rows is nothing wrong
	}
	out := r.rows[0]
	r.rows = r.rows[1:]
	r.left--
	return out, nil
}

// page is what the server gives of a range.
type page struct {
	Rows []struct {
		ID  string         `json:"id"`
		Doc map[string]any `json:"doc"`
	} `json:"rows"`
}

// fetch reads the next documents and the name of the one after them.
func (r *rangeRows) fetch(ctx context.Context) error {
	want := r.db.server.o.QueryLimit
	if r.limited {
		want = min(want, r.left)
	}
	query, err := r.query(want + 1)
	if err != nil {
		return err
	}
	var found page
	err = r.db.server.call(ctx, http.MethodGet, r.db.path(r.ns, "_all_docs"), query, nil, &found)
	if isStatus(err, http.StatusNotFound) {
		r.done, r.next = true, ""
		return nil
	}
	if err != nil {
		return err
	}
	r.done, r.next = len(found.Rows) <= want, r.end
	if !r.done {
		r.next = found.Rows[want].ID
		found.Rows = found.Rows[:want]
	}
	if err := r.take(ctx, found); err != nil {
		return err
	}
	if len(r.rows) == 0 && !r.done {
		return r.fetch(ctx)
	}
	return nil
}

func (r *rangeRows) query(limit int) (url.Values, error) {
	query := url.Values{
		"include_docs": {"true"}, "attachments": {"true"}, "inclusive_end": {"false"}, "limit": {strconv.Itoa(limit)},
	}
	for name, key := range map[string]string{"startkey": r.next, "endkey": r.end} {
		if key == "" {
			continue
		}
		raw, err := json.Marshal(key)
		if err != nil {
			return nil, fmt.Errorf("write range: %w", err)
		}
		query.Set(name, string(raw))
	}
	return query, nil
}

// take reads the documents of a page, but for those that are the server's or
// our own.
func (r *rangeRows) take(ctx context.Context, found page) error {
	for _, one := range found.Rows {
		if strings.HasPrefix(one.ID, "_design/") || one.ID == savepoint && r.ns == "" {
			continue
		}
		read, err := row(one.Doc)
		if errors.Is(err, errStub) {
			read, err = r.get(ctx, r.ns, one.ID)
		}
		if err != nil {
			return err
		}
		if read != nil {
			r.rows = append(r.rows, read)
		}
	}
	return nil
}

// Bookmark is the name of the document after the page.
func (r *rangeRows) Bookmark() string { return r.next }

// Query asks for all documents that a selector matches.
func (r reader) Query(ctx context.Context, ns, query string) (state.Rows, error) {
	return r.Page(ctx, ns, query, "", 0)
}

// Page asks for a page of them.
func (r reader) Page(ctx context.Context, ns, query, bookmark string, size int) (state.Rows, error) {
	decoder := json.NewDecoder(strings.NewReader(query))
	decoder.UseNumber()
	wish := map[string]any{}
	if err := decoder.Decode(&wish); err != nil {
		return nil, err //nolint:wrapcheck // the contract's author sees what is wrong with the query
	}
	if fields, ok := wish["fields"].([]any); ok {
		for _, needed := range []any{"_id", fieldVersion} {
			if !slices.Contains(fields, needed) {
				fields = append(fields, needed)
			}
		}
		wish["fields"] = fields
	}
	rows := &queryRows{reader: r, ns: ns, wish: wish, bookmark: bookmark, left: size, limited: size > 0}
	if err := r.db.ensure(ctx, r.db.name(ns)); err != nil {
		return nil, err
	}
	return rows, rows.fetch(ctx)
}

type queryRows struct {
	reader

	ns            string
	wish          map[string]any
	bookmark      string
	left          int
	limited, done bool
	rows          []*state.Row
}

func (q *queryRows) Next(ctx context.Context) (*state.Row, error) {
	if len(q.rows) == 0 && !q.done {
		if err := q.fetch(ctx); err != nil {
			return nil, err
		}
	}
	if len(q.rows) == 0 {
		return nil, nil //nolint:nilnil // the end of the rows is nothing wrong
	}
	out := q.rows[0]
	q.rows = q.rows[1:]
	return out, nil
}

func (q *queryRows) fetch(ctx context.Context) error {
	want := q.db.server.o.QueryLimit
	if q.limited {
		want = min(want, q.left)
	}
	if want == 0 {
		q.done = true
		return nil
	}
	q.wish["limit"] = want
	if q.bookmark != "" {
		q.wish["bookmark"] = q.bookmark
	}
	var found struct {
		Docs     []map[string]any `json:"docs"`
		Bookmark string           `json:"bookmark"`
	}
	if err := q.db.server.call(ctx, http.MethodPost, q.db.path(q.ns, "_find"), nil, q.wish, &found); err != nil {
		return err
	}
	q.bookmark = found.Bookmark
	q.left -= len(found.Docs)
	q.done = len(found.Docs) < want || q.limited && q.left <= 0
	for _, doc := range found.Docs {
		if _, counted := doc[fieldVersion]; !counted {
			continue
		}
		read, err := row(doc)
		if errors.Is(err, errStub) {
			name, _ := doc["_id"].(string)
			read, err = q.get(ctx, q.ns, name)
		}
		if err != nil {
			return err
		}
		if read != nil {
			q.rows = append(q.rows, read)
		}
	}
	return nil
}

// Bookmark is the server's own.
func (q *queryRows) Bookmark() string { return q.bookmark }
