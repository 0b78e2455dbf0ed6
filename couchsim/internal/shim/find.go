package shim

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// CouchDB's own: how many documents a query gives that does not say, and the bookmark of no page.
const (
	findLimit  = 25
	noBookmark = "nil"
)

// findPage turns a query with a bookmark into one that skips, which is what PouchDB knows, and tells how many documents
// come before the page.
func findPage(raw []byte) (query []byte, skip int, err error) {
	var wish map[string]json.RawMessage
	if err := json.Unmarshal(raw, &wish); err != nil {
		return nil, 0, err
	}
	if wish == nil {
		return nil, 0, errors.New("a query is an object")
	}
	var bookmark string
	for name, into := range map[string]any{"bookmark": &bookmark, "skip": &skip} {
		if value, ok := wish[name]; ok {
			if err := json.Unmarshal(value, into); err != nil {
				return nil, 0, fmt.Errorf("read %s: %w", name, err)
			}
		}
	}
	if bookmark != "" && bookmark != noBookmark {
		number, ok := strings.CutPrefix(bookmark, "s")
		before, err := strconv.ParseInt(number, 10, 32)
		if !ok || err != nil || before < 0 {
			return nil, 0, fmt.Errorf("bookmark %.40q is none of this server", bookmark)
		}
		skip = int(before)
	}
	if skip < 0 {
		return nil, 0, errors.New("skip is negative")
	}
	delete(wish, "bookmark")
	wish["skip"] = json.RawMessage(strconv.Itoa(skip))
	if _, ok := wish["limit"]; !ok {
		wish["limit"] = json.RawMessage(strconv.Itoa(findLimit))
	}
	query, err = json.Marshal(wish)
	return query, skip, err
}

// findAnswer adds the bookmark of the next page to the answer to a query.
func findAnswer(raw []byte, skip int) ([]byte, error) {
	var answer map[string]json.RawMessage
	if err := json.Unmarshal(raw, &answer); err != nil {
		return nil, fmt.Errorf("read answer to query: %w", err)
	}
	if answer == nil {
		return nil, errors.New("read answer to query: it is null")
	}
	var docs []json.RawMessage
	if found, ok := answer["docs"]; ok {
		if err := json.Unmarshal(found, &docs); err != nil {
			return nil, fmt.Errorf("read answer to query: %w", err)
		}
	}
	bookmark := noBookmark
	if next := skip + len(docs); next > 0 {
		bookmark = "s" + strconv.Itoa(next)
	}
	answer["bookmark"] = json.RawMessage(strconv.Quote(bookmark))
	return json.Marshal(answer)
}
