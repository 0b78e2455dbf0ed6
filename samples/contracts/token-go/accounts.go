package main

import (
	"fmt"
	"regexp"
	"strconv"

	"github.com/hyperledger/fabric-contract-api-go/v2/contractapi"
)

var accountPattern = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}/[A-Za-z0-9._@-]{1,64}$`)

// callerFor is the caller's account, for a transaction that moves tokens.
func callerFor(ctx contractapi.TransactionContextInterface, amount int64) (string, error) {
	if err := whole("amount", amount, 1); err != nil {
		return "", err
	}
	return caller(ctx)
}

func caller(ctx contractapi.TransactionContextInterface) (string, error) {
	mspID, err := ctx.GetClientIdentity().GetMSPID()
	if err != nil {
		return "", fmt.Errorf("identify caller: %w", err)
	}
	certificate, err := ctx.GetClientIdentity().GetX509Certificate()
	if err != nil {
		return "", fmt.Errorf("identify caller: %w", err)
	}
	name := mspID + "/" + certificate.Subject.CommonName
	return name, account("caller", name)
}

func add(ctx contractapi.TransactionContextInterface, to string, amount int64) error {
	key, err := balanceKey(ctx, to)
	if err != nil {
		return err
	}
	balance, err := read(ctx, key)
	if err != nil {
		return err
	}
	return write(ctx, key, balance+amount)
}

func take(ctx contractapi.TransactionContextInterface, from string, amount int64) error {
	key, err := balanceKey(ctx, from)
	if err != nil {
		return err
	}
	balance, err := read(ctx, key)
	if err != nil {
		return err
	}
	if amount > balance {
		return fmt.Errorf("%s has %d tokens, fewer than %d", from, balance, amount)
	}
	return write(ctx, key, balance-amount)
}

// read returns 0 for what was never written.
func read(ctx contractapi.TransactionContextInterface, key string) (int64, error) {
	stored, err := ctx.GetStub().GetState(key)
	if err != nil {
		return 0, fmt.Errorf("read state: %w", err)
	}
	if stored == nil {
		return 0, nil
	}
	number, err := strconv.ParseInt(string(stored), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("decode state: %w", err)
	}
	return number, nil
}

func write(ctx contractapi.TransactionContextInterface, key string, number int64) error {
	if number == 0 {
		return ctx.GetStub().DelState(key)
	}
	return ctx.GetStub().PutState(key, []byte(strconv.FormatInt(number, 10)))
}

func balanceKey(ctx contractapi.TransactionContextInterface, name string) (string, error) {
	return ctx.GetStub().CreateCompositeKey("balance", []string{name})
}

func allowanceKey(ctx contractapi.TransactionContextInterface, owner, spender string) (string, error) {
	return ctx.GetStub().CreateCompositeKey("allowance", []string{owner, spender})
}

func account(name, text string) error {
	if !accountPattern.MatchString(text) {
		return fmt.Errorf("%s %q is not an account: <MSP ID>/<common name>", name, text)
	}
	return nil
}

func whole(name string, number, least int64) error {
	if number < least || number > most {
		return fmt.Errorf("%s \"%d\" is not a whole number from %d to %d", name, number, least, int64(most))
	}
	return nil
}
