package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/hyperledger/fabric-chaincode-go/v2/shim"
)

// entry is one result of a query.
type entry struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

// sheet is one page of results.
type sheet struct {
	Entries  []entry `json:"entries"`
	Bookmark string  `json:"bookmark"`
	Fetched  int32   `json:"fetched"`
}

func put(stub shim.ChaincodeStubInterface, args []string) ([]byte, error) {
	return []byte(args[1]), stub.PutState(args[0], []byte(args[1]))
}

func get(stub shim.ChaincodeStubInterface, args []string) ([]byte, error) {
	value, err := stub.GetState(args[0])
	if err == nil && value == nil {
		err = fmt.Errorf("there is no %q", args[0])
	}
	return value, err
}

func del(stub shim.ChaincodeStubInterface, args []string) ([]byte, error) {
	return nil, stub.DelState(args[0])
}

// update reads before it writes.
func update(stub shim.ChaincodeStubInterface, args []string) ([]byte, error) {
	old, err := stub.GetState(args[0])
	if err != nil {
		return nil, err
	}
	return old, stub.PutState(args[0], []byte(args[1]))
}

// fill writes prefix0, prefix1 and so on, in descending order.
func fill(stub shim.ChaincodeStubInterface, args []string) ([]byte, error) {
	n, err := strconv.Atoi(args[1])
	if err != nil {
		return nil, err
	}
	for i := n - 1; i >= 0; i-- {
		if err := stub.PutState(args[0]+strconv.Itoa(i), []byte(strconv.Itoa(i*i))); err != nil {
			return nil, err
		}
	}
	return nil, nil
}

func big(stub shim.ChaincodeStubInterface, args []string) ([]byte, error) {
	n, err := strconv.Atoi(args[1])
	if err != nil {
		return nil, err
	}
	return nil, stub.PutState(args[0], bytes.Repeat([]byte("0123456789abcdef"), n/16))
}

func nothing(shim.ChaincodeStubInterface, []string) ([]byte, error) { return nil, nil }

// twice writes one key two times and deletes another after writing it.
func twice(stub shim.ChaincodeStubInterface, args []string) ([]byte, error) {
	return nil, errors.Join(
		stub.PutState(args[0], []byte("first")), stub.PutState(args[0], []byte("second")),
		stub.PutState(args[0]+"-gone", []byte("first")), stub.DelState(args[0]+"-gone"),
	)
}

// readAfterWrite returns what it reads of a key that it has just written.
func readAfterWrite(stub shim.ChaincodeStubInterface, args []string) ([]byte, error) {
	if err := stub.PutState(args[0], []byte(args[1])); err != nil {
		return nil, err
	}
	value, err := stub.GetState(args[0])
	return append([]byte("read: "), value...), err
}

func multi(stub shim.ChaincodeStubInterface, args []string) ([]byte, error) {
	values, err := stub.GetMultipleStates(args...)
	if err != nil {
		return nil, err
	}
	out := make([]*string, 0, len(values))
	for _, value := range values {
		if value == nil {
			out = append(out, nil)
			continue
		}
		text := string(value)
		out = append(out, &text)
	}
	return json.Marshal(out)
}

func batch(stub shim.ChaincodeStubInterface, args []string) ([]byte, error) {
	stub.StartWriteBatch()
	if _, err := fill(stub, args); err != nil {
		return nil, err
	}
	if err := stub.DelState(args[0] + "0"); err != nil {
		return nil, err
	}
	return nil, stub.FinishWriteBatch()
}

func byRange(stub shim.ChaincodeStubInterface, args []string) ([]byte, error) {
	found, err := stub.GetStateByRange(args[0], args[1])
	if err != nil {
		return nil, err
	}
	entries, err := collect(found)
	if err != nil {
		return nil, err
	}
	return json.Marshal(entries)
}

// first reads one result of a range only.
func first(stub shim.ChaincodeStubInterface, args []string) ([]byte, error) {
	found, err := stub.GetStateByRange(args[0], args[1])
	if err != nil {
		return nil, err
	}
	defer found.Close() //nolint:errcheck // the answer is complete
	result, err := found.Next()
	if err != nil {
		return nil, err
	}
	return result.GetValue(), stub.PutState(args[0]+"-first", result.GetValue())
}

func rangeThenPut(stub shim.ChaincodeStubInterface, args []string) ([]byte, error) {
	found, err := stub.GetStateByRange(args[0], args[1])
	if err != nil {
		return nil, err
	}
	entries, err := collect(found)
	if err != nil {
		return nil, err
	}
	count := []byte(strconv.Itoa(len(entries)))
	return count, stub.PutState(args[2], count)
}

func page(stub shim.ChaincodeStubInterface, args []string) ([]byte, error) {
	size, err := strconv.ParseInt(args[2], 10, 32)
	if err != nil {
		return nil, err
	}
	found, meta, err := stub.GetStateByRangeWithPagination(args[0], args[1], int32(size), args[3])
	if err != nil {
		return nil, err
	}
	entries, err := collect(found)
	if err != nil {
		return nil, err
	}
	return json.Marshal(sheet{entries, meta.GetBookmark(), meta.GetFetchedRecordsCount()})
}

// pageThenPut does what Fabric refuses.
func pageThenPut(stub shim.ChaincodeStubInterface, args []string) ([]byte, error) {
	if _, err := page(stub, []string{args[0], args[1], "1", ""}); err != nil {
		return nil, err
	}
	return nil, stub.PutState(args[0], []byte("page"))
}

func putComposite(stub shim.ChaincodeStubInterface, args []string) ([]byte, error) {
	key, err := stub.CreateCompositeKey(args[0], args[1:])
	if err != nil {
		return nil, err
	}
	return nil, stub.PutState(key, []byte("composite"))
}

func composite(stub shim.ChaincodeStubInterface, args []string) ([]byte, error) {
	found, err := stub.GetStateByPartialCompositeKey(args[0], args[1:])
	if err != nil {
		return nil, err
	}
	entries, err := collect(found)
	if err != nil {
		return nil, err
	}
	out := make([][]string, 0, len(entries))
	for _, e := range entries {
		kind, parts, err := stub.SplitCompositeKey(e.Key)
		if err != nil {
			return nil, err
		}
		out = append(out, append([]string{kind}, parts...))
	}
	return json.Marshal(out)
}

func pageComposite(stub shim.ChaincodeStubInterface, args []string) ([]byte, error) {
	size, err := strconv.ParseInt(args[1], 10, 32)
	if err != nil {
		return nil, err
	}
	found, meta, err := stub.GetStateByPartialCompositeKeyWithPagination(args[0], args[3:], int32(size), args[2])
	if err != nil {
		return nil, err
	}
	entries, err := collect(found)
	if err != nil {
		return nil, err
	}
	return json.Marshal(sheet{entries, meta.GetBookmark(), meta.GetFetchedRecordsCount()})
}

// change is one entry of a key's history.
type change struct {
	Value   string `json:"value"`
	Deleted bool   `json:"deleted"`
	TxID    string `json:"txID"`
	// Timed tells that the change has the time of its proposal.
	Timed bool `json:"timed"`
}

func history(stub shim.ChaincodeStubInterface, args []string) ([]byte, error) {
	found, err := stub.GetHistoryForKey(args[0])
	if err != nil {
		return nil, err
	}
	defer found.Close() //nolint:errcheck // the answer is complete
	out := []change{}
	for found.HasNext() {
		c, err := found.Next()
		if err != nil {
			return nil, err
		}
		timed := time.Since(c.GetTimestamp().AsTime()) < time.Hour
		out = append(out, change{string(c.GetValue()), c.GetIsDelete(), c.GetTxId(), timed})
	}
	return json.Marshal(out)
}

func query(stub shim.ChaincodeStubInterface, args []string) ([]byte, error) {
	found, err := stub.GetQueryResult(args[0])
	if err != nil {
		return nil, err
	}
	entries, err := collect(found)
	if err != nil {
		return nil, err
	}
	return json.Marshal(entries)
}

func pageQuery(stub shim.ChaincodeStubInterface, args []string) ([]byte, error) {
	size, err := strconv.ParseInt(args[1], 10, 32)
	if err != nil {
		return nil, err
	}
	found, meta, err := stub.GetQueryResultWithPagination(args[0], int32(size), args[2])
	if err != nil {
		return nil, err
	}
	entries, err := collect(found)
	if err != nil {
		return nil, err
	}
	return json.Marshal(sheet{entries, meta.GetBookmark(), meta.GetFetchedRecordsCount()})
}

func collect(found shim.StateQueryIteratorInterface) ([]entry, error) {
	defer found.Close() //nolint:errcheck // the answer is complete
	out := []entry{}
	for found.HasNext() {
		result, err := found.Next()
		if err != nil {
			return nil, err
		}
		out = append(out, entry{result.GetKey(), string(result.GetValue())})
	}
	return out, nil
}
