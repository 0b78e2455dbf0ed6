package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"

	"github.com/hyperledger/fabric-contract-api-go/v2/contractapi"
)

const (
	maxPageSize = 100
	maxPrice    = 1<<53 - 1 // every client reads numbers up to this one exactly
)

var wordPattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

// Item is one entry of the catalog.
type Item struct {
	ID    string `json:"id"`
	Kind  string `json:"kind"`
	Maker string `json:"maker"`
	Price int64  `json:"price"`
}

// Page is one part of what was found. Bookmark goes into the call for the next
// part.
type Page struct {
	Items    []*Item `json:"items"`
	Bookmark string  `json:"bookmark"`
}

// query is what CouchDB is asked, in its own format.
type query struct {
	Selector map[string]any      `json:"selector"`
	Sort     []map[string]string `json:"sort,omitempty"`
	UseIndex []string            `json:"use_index"`
}

// CatalogContract finds items by what is in them. Its queries need CouchDB as the
// peers' state database; each has its index below META-INF/statedb/couchdb/indexes.
type CatalogContract struct {
	contractapi.Contract
}

// Put adds an item or replaces it.
func (c *CatalogContract) Put(ctx contractapi.TransactionContextInterface, id, kind, maker string, price int64) (*Item, error) {
	item := &Item{ID: id, Kind: kind, Maker: maker, Price: price}
	if err := errors.Join(word("id", id), word("kind", kind), word("maker", maker), whole("price", price)); err != nil {
		return nil, err
	}
	encoded, err := json.Marshal(item)
	if err != nil {
		return nil, fmt.Errorf("encode item %q: %w", id, err)
	}
	if err := ctx.GetStub().PutState(id, encoded); err != nil {
		return nil, fmt.Errorf("store item %q: %w", id, err)
	}
	return item, ctx.GetStub().SetEvent("ItemPut", encoded)
}

// Get returns an item.
func (c *CatalogContract) Get(ctx contractapi.TransactionContextInterface, id string) (*Item, error) {
	if err := word("id", id); err != nil {
		return nil, err
	}
	stored, err := ctx.GetStub().GetState(id)
	if err != nil {
		return nil, fmt.Errorf("read item %q: %w", id, err)
	}
	if stored == nil {
		return nil, fmt.Errorf("there is no item %q", id)
	}
	return decode(stored)
}

// Remove takes an item off the catalog.
func (c *CatalogContract) Remove(ctx contractapi.TransactionContextInterface, id string) error {
	item, err := c.Get(ctx, id)
	if err != nil {
		return err
	}
	if err := ctx.GetStub().DelState(id); err != nil {
		return fmt.Errorf("remove item %q: %w", id, err)
	}
	encoded, err := json.Marshal(item)
	if err != nil {
		return fmt.Errorf("encode item %q: %w", id, err)
	}
	return ctx.GetStub().SetEvent("ItemRemoved", encoded)
}

// FindByPrice returns a page of the items of a kind that cost no more than most,
// cheapest first.
func (c *CatalogContract) FindByPrice(ctx contractapi.TransactionContextInterface, kind string, most int64, pageSize int32, bookmark string) (*Page, error) {
	if err := errors.Join(word("kind", kind), whole("maxPrice", most)); err != nil {
		return nil, err
	}
	return find(ctx, query{
		Selector: map[string]any{"kind": kind, "price": map[string]int64{"$lte": most}},
		Sort:     []map[string]string{{"kind": "asc"}, {"price": "asc"}},
		UseIndex: []string{"_design/kind-price", "kind-price"},
	}, pageSize, bookmark)
}

// FindByMaker returns a page of a maker's items.
func (c *CatalogContract) FindByMaker(ctx contractapi.TransactionContextInterface, maker string, pageSize int32, bookmark string) (*Page, error) {
	if err := word("maker", maker); err != nil {
		return nil, err
	}
	return find(ctx, query{
		Selector: map[string]any{"maker": maker},
		UseIndex: []string{"_design/maker", "maker"},
	}, pageSize, bookmark)
}

// GetEvaluateTransactions names the transactions that only read.
func (c *CatalogContract) GetEvaluateTransactions() []string {
	return []string{"Get", "FindByPrice", "FindByMaker"}
}

// find is for evaluation only: what a rich query found is not checked again when
// the transaction commits. The query is encoded, never joined from texts: an
// argument cannot become a part of it.
func find(ctx contractapi.TransactionContextInterface, q query, pageSize int32, bookmark string) (page *Page, err error) {
	if pageSize < 1 || pageSize > maxPageSize {
		return nil, fmt.Errorf("pageSize %d is not between 1 and %d", pageSize, maxPageSize)
	}
	encoded, err := json.Marshal(q)
	if err != nil {
		return nil, fmt.Errorf("encode query: %w", err)
	}
	results, metadata, err := ctx.GetStub().GetQueryResultWithPagination(string(encoded), pageSize, bookmark)
	if err != nil {
		return nil, fmt.Errorf("query items: %w", err)
	}
	defer func() { err = errors.Join(err, results.Close()) }()
	page = &Page{Items: []*Item{}, Bookmark: metadata.GetBookmark()}
	for results.HasNext() {
		entry, err := results.Next()
		if err != nil {
			return nil, fmt.Errorf("query items: %w", err)
		}
		item, err := decode(entry.GetValue())
		if err != nil {
			return nil, err
		}
		page.Items = append(page.Items, item)
	}
	return page, nil
}

func decode(stored []byte) (*Item, error) {
	item := new(Item)
	if err := json.Unmarshal(stored, item); err != nil {
		return nil, fmt.Errorf("decode item: %w", err)
	}
	return item, nil
}

func word(name, text string) error {
	if !wordPattern.MatchString(text) {
		return fmt.Errorf("%s %q is not 1 to 64 letters, digits, dots, dashes and underscores", name, text)
	}
	return nil
}

func whole(name string, number int64) error {
	if number < 0 || number > maxPrice {
		return fmt.Errorf("%s \"%d\" is not a whole number from 0 to %d", name, number, int64(maxPrice))
	}
	return nil
}
