package main

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/hyperledger/fabric-contract-api-go/v2/contractapi"
)

// most is the largest number that every client reads exactly. No more tokens are
// made, so no sum can exceed it.
const most = 1<<53 - 1

const supplyKey = "supply"

// Movement tells of tokens that moved: result and event of each transaction that
// moves some. From is empty for new ones, To for destroyed ones.
type Movement struct {
	From   string `json:"from"`
	To     string `json:"to"`
	Amount int64  `json:"amount"`
}

// Approval tells of an allowance that was set.
type Approval struct {
	Owner   string `json:"owner"`
	Spender string `json:"spender"`
	Amount  int64  `json:"amount"`
}

// TokenContract is a fungible token. An account belongs to an enrolled identity
// and is named after it, "<MSP ID>/<common name>"; it outlives the identity's
// certificates.
type TokenContract struct {
	contractapi.Contract
}

// Account returns the caller's account.
func (c *TokenContract) Account(ctx contractapi.TransactionContextInterface) (string, error) {
	return caller(ctx)
}

// Mint makes tokens on the caller's account. It takes the attribute
// token.minter=true in the caller's certificate.
func (c *TokenContract) Mint(ctx contractapi.TransactionContextInterface, amount int64) (*Movement, error) {
	to, err := callerFor(ctx, amount)
	if err != nil {
		return nil, err
	}
	if err := ctx.GetClientIdentity().AssertAttributeValue("token.minter", "true"); err != nil {
		return nil, fmt.Errorf("%s may not mint: its certificate lacks the attribute token.minter=true", to)
	}
	supply, err := read(ctx, supplyKey)
	if err != nil {
		return nil, err
	}
	if amount > most-supply {
		return nil, fmt.Errorf("there are %d tokens: %d more would exceed %d", supply, amount, int64(most))
	}
	if err := errors.Join(write(ctx, supplyKey, supply+amount), add(ctx, to, amount)); err != nil {
		return nil, err
	}
	return moved(ctx, "", to, amount)
}

// Burn destroys tokens of the caller.
func (c *TokenContract) Burn(ctx contractapi.TransactionContextInterface, amount int64) (*Movement, error) {
	from, err := callerFor(ctx, amount)
	if err != nil {
		return nil, err
	}
	if err := take(ctx, from, amount); err != nil {
		return nil, err
	}
	supply, err := read(ctx, supplyKey)
	if err != nil {
		return nil, err
	}
	if err := write(ctx, supplyKey, supply-amount); err != nil {
		return nil, err
	}
	return moved(ctx, from, "", amount)
}

// Transfer moves tokens of the caller.
func (c *TokenContract) Transfer(ctx contractapi.TransactionContextInterface, to string, amount int64) (*Movement, error) {
	from, err := callerFor(ctx, amount)
	if err != nil {
		return nil, err
	}
	return move(ctx, from, to, amount)
}

// Approve lets spender move up to amount of the caller's tokens. The caller says
// what the allowance is so far: one that was partly spent meanwhile is not renewed
// by accident.
func (c *TokenContract) Approve(ctx contractapi.TransactionContextInterface, spender string, current, amount int64) (*Approval, error) {
	owner, err := caller(ctx)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(account("spender", spender), whole("current", current, 0), whole("amount", amount, 0)); err != nil {
		return nil, err
	}
	key, err := allowanceKey(ctx, owner, spender)
	if err != nil {
		return nil, err
	}
	is, err := read(ctx, key)
	if err != nil {
		return nil, err
	}
	if is != current {
		return nil, fmt.Errorf("allowance of %s is %d and not %d", spender, is, current)
	}
	if err := write(ctx, key, amount); err != nil {
		return nil, err
	}
	approval := &Approval{Owner: owner, Spender: spender, Amount: amount}
	return approval, emit(ctx, "Approval", approval)
}

// TransferFrom moves tokens of an account that has approved the caller.
func (c *TokenContract) TransferFrom(ctx contractapi.TransactionContextInterface, from, to string, amount int64) (*Movement, error) {
	spender, err := callerFor(ctx, amount)
	if err != nil {
		return nil, err
	}
	if err := account("from", from); err != nil {
		return nil, err
	}
	key, err := allowanceKey(ctx, from, spender)
	if err != nil {
		return nil, err
	}
	allowed, err := read(ctx, key)
	if err != nil {
		return nil, err
	}
	if amount > allowed {
		return nil, fmt.Errorf("%s may move %d tokens of %s, not %d", spender, allowed, from, amount)
	}
	if err := write(ctx, key, allowed-amount); err != nil {
		return nil, err
	}
	return move(ctx, from, to, amount)
}

// BalanceOf returns what an account has.
func (c *TokenContract) BalanceOf(ctx contractapi.TransactionContextInterface, name string) (int64, error) {
	if err := account("account", name); err != nil {
		return 0, err
	}
	key, err := balanceKey(ctx, name)
	if err != nil {
		return 0, err
	}
	return read(ctx, key)
}

// Allowance returns what spender may still move of owner's tokens.
func (c *TokenContract) Allowance(ctx contractapi.TransactionContextInterface, owner, spender string) (int64, error) {
	if err := errors.Join(account("owner", owner), account("spender", spender)); err != nil {
		return 0, err
	}
	key, err := allowanceKey(ctx, owner, spender)
	if err != nil {
		return 0, err
	}
	return read(ctx, key)
}

// TotalSupply returns how many tokens there are.
func (c *TokenContract) TotalSupply(ctx contractapi.TransactionContextInterface) (int64, error) {
	return read(ctx, supplyKey)
}

// GetEvaluateTransactions names the transactions that only read.
func (c *TokenContract) GetEvaluateTransactions() []string {
	return []string{"Account", "BalanceOf", "Allowance", "TotalSupply"}
}

func move(ctx contractapi.TransactionContextInterface, from, to string, amount int64) (*Movement, error) {
	if err := account("to", to); err != nil {
		return nil, err
	}
	// A contract does not see its own writes: of two to one account the first would be lost.
	if from == to {
		return nil, fmt.Errorf("%s cannot transfer to itself", from)
	}
	if err := take(ctx, from, amount); err != nil {
		return nil, err
	}
	if err := add(ctx, to, amount); err != nil {
		return nil, err
	}
	return moved(ctx, from, to, amount)
}

func moved(ctx contractapi.TransactionContextInterface, from, to string, amount int64) (*Movement, error) {
	movement := &Movement{From: from, To: to, Amount: amount}
	return movement, emit(ctx, "Transfer", movement)
}

func emit(ctx contractapi.TransactionContextInterface, event string, payload any) error {
	encoded, err := json.Marshal(payload)
	if err != nil {
		return fmt.Errorf("encode event %q: %w", event, err)
	}
	return ctx.GetStub().SetEvent(event, encoded)
}
