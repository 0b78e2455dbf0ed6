package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestItemsComeAndGo(t *testing.T) {
	l, c := newLedger(), new(CatalogContract)
	ctx := l.context()
	const stored = `{"id":"i1","kind":"bolt","maker":"acme","price":30}`
	want := Item{ID: "i1", Kind: "bolt", Maker: "acme", Price: 30}
	if item, err := c.Put(ctx, "i1", "bolt", "acme", 30); err != nil || *item != want || string(l.state["i1"]) != stored || l.event != "ItemPut "+stored {
		t.Fatalf("put: %v, %s, event %s", err, l.state["i1"], l.event)
	}
	if item, err := c.Get(ctx, "i1"); err != nil || *item != want {
		t.Errorf("get: %v, %v", item, err)
	}
	for name, call := range map[string]struct {
		id, kind, maker string
		price           int64
		want            string
	}{
		"no id":           {"", "bolt", "acme", 1, `id ""`},
		"a query as kind": {"i2", `{"$gt":null}`, "acme", 1, "kind"},
		"below zero":      {"i2", "bolt", "acme", -1, "price"},
		"too large":       {"i2", "bolt", "acme", maxPrice + 1, "price"},
	} {
		if _, err := c.Put(ctx, call.id, call.kind, call.maker, call.price); err == nil || !strings.Contains(err.Error(), call.want) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if err := c.Remove(ctx, "i1"); err != nil || len(l.state) != 0 || l.event != "ItemRemoved "+stored {
		t.Errorf("remove: %v, %v, event %s", err, l.state, l.event)
	}
	if err := c.Remove(ctx, "i1"); err == nil {
		t.Error("an item was removed twice")
	}
}

func TestQueries(t *testing.T) {
	l, c := newLedger(), new(CatalogContract)
	ctx := l.context()
	// CouchDB gives fields in its own order.
	l.state["i1"] = []byte(`{"price":30,"maker":"acme","kind":"bolt","id":"i1"}`)
	want := &Page{Items: []*Item{{ID: "i1", Kind: "bolt", Maker: "acme", Price: 30}}, Bookmark: "b+"}
	for name, q := range map[string]struct {
		find func() (*Page, error)
		want string
	}{
		"by price": {
			func() (*Page, error) { return c.FindByPrice(ctx, "bolt", 99, 10, "b") },
			`{"selector":{"kind":"bolt","price":{"$lte":99}},"sort":[{"kind":"asc"},{"price":"asc"}],"use_index":["_design/kind-price","kind-price"]}`,
		},
		"by maker": {
			func() (*Page, error) { return c.FindByMaker(ctx, "acme", 10, "b") },
			`{"selector":{"maker":"acme"},"use_index":["_design/maker","maker"]}`,
		},
	} {
		got, err := q.find()
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%s: %v %s", name, err, diff)
		}
		if l.query != q.want {
			t.Errorf("%s: asked %s, want %s", name, l.query, q.want)
		}
	}
	for _, size := range []int32{0, maxPageSize + 1} {
		if _, err := c.FindByMaker(ctx, "acme", size, ""); err == nil {
			t.Errorf("a page of %d was given", size)
		}
	}
}
