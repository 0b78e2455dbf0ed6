package differential

import (
	"path/filepath"
	"testing"

	"heddle.dev/heddle/internal/fabric/nodeenv"
	"heddle.dev/heddle/test/bare"
	"heddle.dev/heddle/test/couch"
)

// TestCouchDBReal runs the cases of CouchDB on real nodes.
func TestCouchDBReal(t *testing.T) {
	runCouchDB(t, bare.RequireReal(t), *update)
}

// TestCouchDBSimulated runs the cases of CouchDB on stand-in nodes.
func TestCouchDBSimulated(t *testing.T) {
	runCouchDB(t, bare.RequireSimulated(t), false)
}

// runCouchDB gives each peer a server of CouchDB's protocol of its own.
func runCouchDB(t *testing.T, programs bare.Programs, record bool) {
	t.Helper()
	server := couch.Prepare(t, filepath.Join("..", ".."))
	runAll(t, programs, setup{record: record, scenarios: richQueries(), peerEnv: func(string) []nodeenv.Var { return server.Start(t) }})
}

// richQueries are the cases that need CouchDB as state database.
func richQueries() []scenario {
	return []scenario{
		{name: "rich-query", run: func(r *recorder) {
			r.quietly(func() {
				r.transact(r.clientA, "probe", "put", r.key("a"), `{"case":"rich-query","owner":"alice"}`)
				r.transact(r.clientA, "probe", "put", r.key("b"), `{"case":"rich-query","owner":"bob"}`)
			})
			r.ask(r.clientA, trade, "probe", "query", `{"selector":{"case":"rich-query","owner":"alice"}}`)
			r.ask(r.clientA, trade, "probe", "query", `{"selector":{"case":"rich-query","owner":"nobody"}}`)
		}},
		{name: "rich-query-operators", run: func(r *recorder) {
			r.quietly(func() {
				r.transact(r.clientA, "probe", "put", r.key("a"), `{"case":"ops","size":1,"tags":["x"]}`)
				r.transact(r.clientA, "probe", "put", r.key("b"), `{"case":"ops","size":5,"tags":["x","y"]}`)
				r.transact(r.clientA, "probe", "put", r.key("c"), `{"case":"ops","size":9}`)
			})
			for _, selector := range []string{`{"case":"ops","size":{"$gt":4}}`, `{"case":"ops","$or":[{"size":1},{"size":9}]}`, `{"case":"ops","tags":{"$elemMatch":{"$eq":"y"}}}`, `{"case":"ops","tags":{"$exists":false}}`} {
				r.ask(r.clientA, trade, "probe", "query", `{"selector":`+selector+`}`)
			}
			r.ask(r.clientA, trade, "probe", "query", `{"selector":{"case":"ops"},"fields":["size"]}`)
			r.ask(r.clientA, trade, "probe", "query", `{"selector":{"case":"ops"},"limit":1}`)
		}},
		{name: "rich-query-refused", run: func(r *recorder) {
			r.ask(r.clientA, trade, "probe", "query", `{"selector":`)
			r.ask(r.clientA, trade, "probe", "query", `{"owner":"alice"}`)
			r.ask(r.clientA, trade, "probe", "query", ``)
		}},
		{name: "rich-query-in-transaction", run: func(r *recorder) {
			r.quietly(func() { r.transact(r.clientA, "probe", "put", r.key("a"), `{"case":"in-transaction"}`) })
			r.transact(r.clientA, "probe", "query", `{"selector":{"case":"in-transaction"}}`)
		}},
		{name: "couchdb-values", run: func(r *recorder) {
			for _, v := range [][2]string{{"json", `{"z":1, "a":[1,2.50,"x"], "n":null}`}, {"text", "no JSON"}, {"number", "12"}, {"empty object", "{}"}} {
				r.quietly(func() { r.transact(r.clientA, "probe", "put", r.key(v[0]), v[1]) })
				r.ask(r.clientA, trade, "probe", "get", r.key(v[0]))
			}
			r.quietly(func() { r.transact(r.clientA, "probe", "del", r.key("json")) })
			r.ask(r.clientA, trade, "probe", "get", r.key("json"))
		}},
		{name: "couchdb-reserved-fields", run: func(r *recorder) {
			r.transact(r.clientA, "probe", "put", r.key("a"), `{"_id":"mine"}`)
			r.transact(r.clientA, "probe", "put", "_underscore", `{"a":1}`)
		}},
	}
}
