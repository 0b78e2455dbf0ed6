package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strconv"

	"github.com/hyperledger/fabric-contract-api-go/v2/contractapi"
)

const (
	// prices is the collection of collections.json: both organizations keep what
	// is in it.
	prices    = "prices"
	maxAmount = 1<<53 - 1 // every client reads numbers up to this one exactly
)

var (
	idPattern     = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)
	amountPattern = regexp.MustCompile(`^[0-9]+$`)
	saltPattern   = regexp.MustCompile(`^[0-9a-f]{32,64}$`)
)

// Offer is what everybody on the channel sees.
type Offer struct {
	ID     string `json:"id"`
	Seller string `json:"seller"`
}

// Secret is what stands in a collection.
type Secret struct {
	Amount int64  `json:"amount"`
	Salt   string `json:"salt"`
}

// Verdict says whether a told price is the offer's.
type Verdict struct {
	ID      string `json:"id"`
	Matches bool   `json:"matches"`
}

// OfferContract has offers that everybody on the channel sees, with prices that
// only the collection's members see. Secrets come in transient data, which is not
// written to the ledger. Their hashes are, so each has a salt: without one,
// whoever sees the hash could try all amounts.
type OfferContract struct {
	contractapi.Contract
}

// Offer makes an offer of the caller's organization at the price in the transient
// data.
func (c *OfferContract) Offer(ctx contractapi.TransactionContextInterface, id string) (*Offer, error) {
	price, err := secret(ctx)
	if err != nil {
		return nil, err
	}
	if err := checkID(id); err != nil {
		return nil, err
	}
	seller, err := ctx.GetClientIdentity().GetMSPID()
	if err != nil {
		return nil, fmt.Errorf("identify caller: %w", err)
	}
	stored, err := ctx.GetStub().GetState(id)
	if err != nil {
		return nil, fmt.Errorf("look up offer %q: %w", id, err)
	}
	if stored != nil {
		return nil, fmt.Errorf("offer %q exists already", id)
	}
	if err := ctx.GetStub().PutPrivateData(prices, id, price); err != nil {
		return nil, fmt.Errorf("store price of %q: %w", id, err)
	}
	offer := &Offer{ID: id, Seller: seller}
	encoded, err := json.Marshal(offer)
	if err != nil {
		return nil, fmt.Errorf("encode offer %q: %w", id, err)
	}
	if err := ctx.GetStub().PutState(id, encoded); err != nil {
		return nil, fmt.Errorf("store offer %q: %w", id, err)
	}
	return offer, ctx.GetStub().SetEvent("Offered", encoded)
}

// Get returns what everybody sees of an offer.
func (c *OfferContract) Get(ctx contractapi.TransactionContextInterface, id string) (*Offer, error) {
	if err := checkID(id); err != nil {
		return nil, err
	}
	stored, err := ctx.GetStub().GetState(id)
	offer := new(Offer)
	return offer, decode(stored, err, offer, fmt.Sprintf("offer %q", id))
}

// Price returns the price of an offer, to members of the collection.
func (c *OfferContract) Price(ctx contractapi.TransactionContextInterface, id string) (*Secret, error) {
	if _, err := c.Get(ctx, id); err != nil {
		return nil, err
	}
	stored, err := ctx.GetStub().GetPrivateData(prices, id)
	price := new(Secret)
	return price, decode(stored, err, price, fmt.Sprintf("price of %q here", id))
}

// Verify says whether the price in the transient data is the offer's: the hash is
// enough, so anybody may ask.
func (c *OfferContract) Verify(ctx contractapi.TransactionContextInterface, id string) (*Verdict, error) {
	told, err := secret(ctx)
	if err != nil {
		return nil, err
	}
	if err := checkID(id); err != nil {
		return nil, err
	}
	stored, err := ctx.GetStub().GetPrivateDataHash(prices, id)
	if err != nil {
		return nil, fmt.Errorf("read hash of %q: %w", id, err)
	}
	if len(stored) == 0 {
		return nil, fmt.Errorf("there is no offer %q", id)
	}
	sum := sha256.Sum256(told)
	return &Verdict{ID: id, Matches: bytes.Equal(sum[:], stored)}, nil
}

// SetLimit notes the most that the caller's organization would pay, on its own
// peers: every organization has such a collection without a definition. Only that
// organization's peers can endorse it.
func (c *OfferContract) SetLimit(ctx contractapi.TransactionContextInterface, id string) error {
	limit, err := secret(ctx)
	if err != nil {
		return err
	}
	if _, err := c.Get(ctx, id); err != nil {
		return err
	}
	collection, err := own(ctx)
	if err != nil {
		return err
	}
	return ctx.GetStub().PutPrivateData(collection, id, limit)
}

// Limit returns what the caller's organization noted; to be asked of its own
// peers.
func (c *OfferContract) Limit(ctx contractapi.TransactionContextInterface, id string) (*Secret, error) {
	if err := checkID(id); err != nil {
		return nil, err
	}
	collection, err := own(ctx)
	if err != nil {
		return nil, err
	}
	stored, err := ctx.GetStub().GetPrivateData(collection, id)
	limit := new(Secret)
	return limit, decode(stored, err, limit, fmt.Sprintf("limit for %q here", id))
}

// Withdraw ends an offer of the caller's organization; the price goes from the
// peers' history too.
func (c *OfferContract) Withdraw(ctx contractapi.TransactionContextInterface, id string) error {
	offer, err := c.Get(ctx, id)
	if err != nil {
		return err
	}
	caller, err := ctx.GetClientIdentity().GetMSPID()
	if err != nil {
		return fmt.Errorf("identify caller: %w", err)
	}
	if offer.Seller != caller {
		return fmt.Errorf("offer %q is one of %s, which alone can withdraw it", id, offer.Seller)
	}
	encoded, err := json.Marshal(offer)
	if err != nil {
		return fmt.Errorf("encode offer %q: %w", id, err)
	}
	if err := errors.Join(ctx.GetStub().PurgePrivateData(prices, id), ctx.GetStub().DelState(id)); err != nil {
		return fmt.Errorf("withdraw offer %q: %w", id, err)
	}
	return ctx.GetStub().SetEvent("Withdrawn", encoded)
}

// GetEvaluateTransactions names the transactions that only read.
func (c *OfferContract) GetEvaluateTransactions() []string {
	return []string{"Get", "Price", "Verify", "Limit"}
}

// own is the collection of the caller's organization alone.
func own(ctx contractapi.TransactionContextInterface) (string, error) {
	mspID, err := ctx.GetClientIdentity().GetMSPID()
	if err != nil {
		return "", fmt.Errorf("identify caller: %w", err)
	}
	return "_implicit_org_" + mspID, nil
}

// secret takes amount and salt from the transient data, encoded as a Secret;
// errors must not repeat them.
func secret(ctx contractapi.TransactionContextInterface) ([]byte, error) {
	given, err := ctx.GetStub().GetTransient()
	if err != nil {
		return nil, fmt.Errorf("read transient data: %w", err)
	}
	amount, err := strconv.ParseInt(string(given["amount"]), 10, 64)
	if err != nil || amount > maxAmount || !amountPattern.Match(given["amount"]) {
		return nil, fmt.Errorf("transient \"amount\" is not a whole number from 0 to %d", int64(maxAmount))
	}
	if !saltPattern.Match(given["salt"]) {
		return nil, errors.New(`transient "salt" is not 32 to 64 random hexadecimal digits`)
	}
	return json.Marshal(Secret{Amount: amount, Salt: string(given["salt"])})
}

// decode takes what a read returned, its error too.
func decode(stored []byte, err error, into any, what string) error {
	if err != nil {
		return fmt.Errorf("read %s: %w", what, err)
	}
	if len(stored) == 0 {
		return fmt.Errorf("there is no %s", what)
	}
	if err := json.Unmarshal(stored, into); err != nil {
		return fmt.Errorf("decode %s: %w", what, err)
	}
	return nil
}

func checkID(id string) error {
	if !idPattern.MatchString(id) {
		return fmt.Errorf("id %q is not 1 to 64 letters, digits, dots, dashes and underscores", id)
	}
	return nil
}
