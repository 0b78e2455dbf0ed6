package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"

	"github.com/hyperledger/fabric-chaincode-go/v2/pkg/statebased"
	"github.com/hyperledger/fabric-contract-api-go/v2/contractapi"
)

var wordPattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

// Title says which organization owns a vehicle. OfferedTo is empty unless the
// owner has offered it to another one.
type Title struct {
	ID        string `json:"id"`
	Plate     string `json:"plate"`
	Owner     string `json:"owner"`
	OfferedTo string `json:"offeredTo"`
}

// TitleContract has the titles of vehicles, each owned by an organization. Every
// title carries an endorsement policy of its own: a change is valid only if the
// owner's peers endorsed it, whatever the policy of the contract says.
type TitleContract struct {
	contractapi.Contract
}

// Register makes a title of the caller's organization. The contract's policy says
// who endorses: there is no key yet.
func (c *TitleContract) Register(ctx contractapi.TransactionContextInterface, id, plate string) (*Title, error) {
	if err := errors.Join(word("id", id), word("plate", plate)); err != nil {
		return nil, err
	}
	owner, err := caller(ctx)
	if err != nil {
		return nil, err
	}
	stored, err := ctx.GetStub().GetState(id)
	if err != nil {
		return nil, fmt.Errorf("look up title %q: %w", id, err)
	}
	if stored != nil {
		return nil, fmt.Errorf("title %q exists already", id)
	}
	title := &Title{ID: id, Plate: plate, Owner: owner}
	if err := bind(ctx, title); err != nil {
		return nil, err
	}
	return title, put(ctx, "TitleRegistered", title)
}

// Read returns a title.
func (c *TitleContract) Read(ctx contractapi.TransactionContextInterface, id string) (*Title, error) {
	if err := word("id", id); err != nil {
		return nil, err
	}
	stored, err := ctx.GetStub().GetState(id)
	if err != nil {
		return nil, fmt.Errorf("read title %q: %w", id, err)
	}
	if stored == nil {
		return nil, fmt.Errorf("there is no title %q", id)
	}
	title := new(Title)
	if err := json.Unmarshal(stored, title); err != nil {
		return nil, fmt.Errorf("decode title %q: %w", id, err)
	}
	return title, nil
}

// Endorsers returns the organizations whose peers have to endorse a change of the
// title.
func (c *TitleContract) Endorsers(ctx contractapi.TransactionContextInterface, id string) ([]string, error) {
	if _, err := c.Read(ctx, id); err != nil {
		return nil, err
	}
	stored, err := ctx.GetStub().GetStateValidationParameter(id)
	if err != nil {
		return nil, fmt.Errorf("read policy of title %q: %w", id, err)
	}
	policy, err := statebased.NewStateEP(stored)
	if err != nil {
		return nil, fmt.Errorf("decode policy of title %q: %w", id, err)
	}
	organizations := policy.ListOrgs()
	slices.Sort(organizations)
	return organizations, nil
}

// SetPlate gives the vehicle another plate.
func (c *TitleContract) SetPlate(ctx contractapi.TransactionContextInterface, id, plate string) (*Title, error) {
	title, err := c.owned(ctx, id)
	if err != nil {
		return nil, err
	}
	if err := word("plate", plate); err != nil {
		return nil, err
	}
	title.Plate = plate
	return title, put(ctx, "PlateChanged", title)
}

// Offer names the organization that may become the owner.
func (c *TitleContract) Offer(ctx contractapi.TransactionContextInterface, id, mspID string) (*Title, error) {
	title, err := c.owned(ctx, id)
	if err != nil {
		return nil, err
	}
	if err := word("mspID", mspID); err != nil {
		return nil, err
	}
	title.OfferedTo = mspID
	return title, put(ctx, "TitleOffered", title)
}

// Accept makes the caller's organization the owner of a title that was offered to
// it. The old owner's peers endorse this last change. That the new owner has to
// call keeps a title from going to an organization that does not exist: nobody
// could ever change it again.
func (c *TitleContract) Accept(ctx contractapi.TransactionContextInterface, id string) (*Title, error) {
	title, err := c.Read(ctx, id)
	if err != nil {
		return nil, err
	}
	owner, err := caller(ctx)
	if err != nil {
		return nil, err
	}
	if title.OfferedTo != owner {
		return nil, fmt.Errorf("title %q is not offered to %s", id, owner)
	}
	title.Owner, title.OfferedTo = owner, ""
	if err := bind(ctx, title); err != nil {
		return nil, err
	}
	return title, put(ctx, "TitleAccepted", title)
}

// GetEvaluateTransactions names the transactions that only read.
func (c *TitleContract) GetEvaluateTransactions() []string {
	return []string{"Read", "Endorsers"}
}

// owned reads a title for a client of its owner: the policy says whose peers
// agree, not who may ask them.
func (c *TitleContract) owned(ctx contractapi.TransactionContextInterface, id string) (*Title, error) {
	title, err := c.Read(ctx, id)
	if err != nil {
		return nil, err
	}
	mspID, err := caller(ctx)
	if err != nil {
		return nil, err
	}
	if title.Owner != mspID {
		return nil, fmt.Errorf("title %q is owned by %s, which alone can change it", id, title.Owner)
	}
	return title, nil
}

// bind makes the owner's peers the ones that have to endorse from the next
// transaction on.
func bind(ctx contractapi.TransactionContextInterface, title *Title) error {
	policy, err := statebased.NewStateEP(nil)
	if err != nil {
		return fmt.Errorf("make policy of title %q: %w", title.ID, err)
	}
	if err := policy.AddOrgs(statebased.RoleTypePeer, title.Owner); err != nil {
		return fmt.Errorf("make policy of title %q: %w", title.ID, err)
	}
	encoded, err := policy.Policy()
	if err != nil {
		return fmt.Errorf("encode policy of title %q: %w", title.ID, err)
	}
	return ctx.GetStub().SetStateValidationParameter(title.ID, encoded)
}

func put(ctx contractapi.TransactionContextInterface, event string, title *Title) error {
	encoded, err := json.Marshal(title)
	if err != nil {
		return fmt.Errorf("encode title %q: %w", title.ID, err)
	}
	if err := ctx.GetStub().PutState(title.ID, encoded); err != nil {
		return fmt.Errorf("store title %q: %w", title.ID, err)
	}
	return ctx.GetStub().SetEvent(event, encoded)
}

func caller(ctx contractapi.TransactionContextInterface) (string, error) {
	mspID, err := ctx.GetClientIdentity().GetMSPID()
	if err != nil {
		return "", fmt.Errorf("identify caller: %w", err)
	}
	return mspID, nil
}

func word(name, text string) error {
	if !wordPattern.MatchString(text) {
		return fmt.Errorf("%s %q is not 1 to 64 letters, digits, dots, dashes and underscores", name, text)
	}
	return nil
}
