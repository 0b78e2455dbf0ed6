package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/hyperledger/fabric-contract-api-go/v2/contractapi"
)

// The events of this contract; the payload of each is the asset in JSON, as it
// stands after the change (before it, for a deletion).
const (
	EventCreated     = "AssetCreated"
	EventUpdated     = "AssetUpdated"
	EventTransferred = "AssetTransferred"
	EventDeleted     = "AssetDeleted"
)

const (
	maxPageSize   = 1000
	maxTextLength = 256
)

// Asset is one entry of the world state, stored in JSON under its ID.
type Asset struct {
	ID    string `json:"id"`
	Owner string `json:"owner"`
	Value int    `json:"value"`
}

// Page is one part of a listing. Bookmark goes into the call for the next part;
// it is empty at the end.
type Page struct {
	Assets   []*Asset `json:"assets"`
	Bookmark string   `json:"bookmark"`
}

// AssetContract keeps assets. Its methods are the contract's transactions.
type AssetContract struct {
	contractapi.Contract
}

// Create adds an asset; an existing ID is refused.
func (c *AssetContract) Create(ctx contractapi.TransactionContextInterface, id, owner string, value int) (*Asset, error) {
	asset := &Asset{ID: id, Owner: owner, Value: value}
	if err := asset.check(); err != nil {
		return nil, fmt.Errorf("create asset: %w", err)
	}
	stored, err := ctx.GetStub().GetState(id)
	if err != nil {
		return nil, fmt.Errorf("look up asset %q: %w", id, err)
	}
	if stored != nil {
		return nil, fmt.Errorf("create asset %q: it exists already", id)
	}
	return asset, put(ctx, EventCreated, asset)
}

// Read returns an asset.
func (c *AssetContract) Read(ctx contractapi.TransactionContextInterface, id string) (*Asset, error) {
	if id == "" {
		return nil, errors.New("read asset: id is empty")
	}
	stored, err := ctx.GetStub().GetState(id)
	if err != nil {
		return nil, fmt.Errorf("read asset %q: %w", id, err)
	}
	if stored == nil {
		return nil, fmt.Errorf("read asset %q: there is none", id)
	}
	asset := new(Asset)
	if err := json.Unmarshal(stored, asset); err != nil {
		return nil, fmt.Errorf("decode asset %q: %w", id, err)
	}
	return asset, nil
}

// Update sets the owner and the value of an asset that exists.
func (c *AssetContract) Update(ctx contractapi.TransactionContextInterface, id, owner string, value int) (*Asset, error) {
	asset, err := c.Read(ctx, id)
	if err != nil {
		return nil, err
	}
	asset.Owner, asset.Value = owner, value
	if err := asset.check(); err != nil {
		return nil, fmt.Errorf("update asset: %w", err)
	}
	return asset, put(ctx, EventUpdated, asset)
}

// Transfer hands an asset to a new owner.
func (c *AssetContract) Transfer(ctx contractapi.TransactionContextInterface, id, owner string) (*Asset, error) {
	asset, err := c.Read(ctx, id)
	if err != nil {
		return nil, err
	}
	asset.Owner = owner
	if err := asset.check(); err != nil {
		return nil, fmt.Errorf("transfer asset: %w", err)
	}
	return asset, put(ctx, EventTransferred, asset)
}

// Delete removes an asset from the world state; its history stays on the ledger.
func (c *AssetContract) Delete(ctx contractapi.TransactionContextInterface, id string) error {
	asset, err := c.Read(ctx, id)
	if err != nil {
		return err
	}
	if err := ctx.GetStub().DelState(id); err != nil {
		return fmt.Errorf("delete asset %q: %w", id, err)
	}
	return emit(ctx, EventDeleted, asset)
}

// List returns up to pageSize assets in the order of their IDs. It is for
// evaluation only: Fabric refuses to write in a transaction that reads pages.
func (c *AssetContract) List(ctx contractapi.TransactionContextInterface, pageSize int32, bookmark string) (page *Page, err error) {
	if pageSize < 1 || pageSize > maxPageSize {
		return nil, fmt.Errorf("list assets: page size %d is not between 1 and %d", pageSize, maxPageSize)
	}
	results, metadata, err := ctx.GetStub().GetStateByRangeWithPagination("", "", pageSize, bookmark)
	if err != nil {
		return nil, fmt.Errorf("list assets: %w", err)
	}
	defer func() { err = errors.Join(err, results.Close()) }()
	page = &Page{Assets: []*Asset{}, Bookmark: metadata.GetBookmark()}
	for results.HasNext() {
		entry, err := results.Next()
		if err != nil {
			return nil, fmt.Errorf("list assets: %w", err)
		}
		asset := new(Asset)
		if err := json.Unmarshal(entry.GetValue(), asset); err != nil {
			return nil, fmt.Errorf("decode asset %q: %w", entry.GetKey(), err)
		}
		page.Assets = append(page.Assets, asset)
	}
	return page, nil
}

// GetEvaluateTransactions names the transactions that only read, so that clients
// which look at the contract's metadata do not send them to the orderers.
func (c *AssetContract) GetEvaluateTransactions() []string {
	return []string{"Read", "List"}
}

// check keeps what is stored readable by every later call.
func (a *Asset) check() error {
	texts := []struct{ name, text string }{{"id", a.ID}, {"owner", a.Owner}}
	for _, t := range texts {
		switch {
		case t.text == "":
			return fmt.Errorf("%s is empty", t.name)
		case len(t.text) > maxTextLength:
			return fmt.Errorf("%s has %d bytes, more than %d", t.name, len(t.text), maxTextLength)
		case !utf8.ValidString(t.text):
			return fmt.Errorf("%s is not UTF-8", t.name)
		}
	}
	// Fabric keeps keys that begin with this byte for composite keys.
	if a.ID[0] == 0 {
		return errors.New("id begins with a zero byte")
	}
	if a.Value < 0 {
		return fmt.Errorf("value %d is negative", a.Value)
	}
	return nil
}

func put(ctx contractapi.TransactionContextInterface, event string, asset *Asset) error {
	encoded, err := json.Marshal(asset)
	if err != nil {
		return fmt.Errorf("encode asset %q: %w", asset.ID, err)
	}
	if err := ctx.GetStub().PutState(asset.ID, encoded); err != nil {
		return fmt.Errorf("store asset %q: %w", asset.ID, err)
	}
	return emit(ctx, event, asset)
}

func emit(ctx contractapi.TransactionContextInterface, event string, asset *Asset) error {
	payload, err := json.Marshal(asset)
	if err != nil {
		return fmt.Errorf("encode event %q: %w", event, err)
	}
	if err := ctx.GetStub().SetEvent(event, payload); err != nil {
		return fmt.Errorf("emit event %q: %w", event, err)
	}
	return nil
}
