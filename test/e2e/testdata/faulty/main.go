// Command faulty is a contract that misbehaves as it is told: the end-to-end tests see what becomes of it and of its neighbours.
package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/hyperledger/fabric-chaincode-go/v2/shim"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
)

// dialTime is how long Dial tries.
const dialTime = 2 * time.Second

func main() {
	// As a program that does not care for signals: where it is the first of its pod, it lasts until it is killed.
	signal.Ignore(syscall.SIGTERM)
	if err := shim.Start(faulty{}); err != nil {
		fmt.Fprintf(os.Stderr, "faulty: %v\n", err)
		os.Exit(1)
	}
}

type faulty struct{}

func (faulty) Init(shim.ChaincodeStubInterface) *peer.Response { return shim.Success(nil) }

func (faulty) Invoke(stub shim.ChaincodeStubInterface) *peer.Response {
	name, args := stub.GetFunctionAndParameters()
	argument := ""
	if len(args) > 0 {
		argument = args[0]
	}
	answer, err := call(stub, name, argument)
	if err != nil {
		return shim.Error(err.Error())
	}
	return shim.Success([]byte(answer))
}

func call(stub shim.ChaincodeStubInterface, name, argument string) (string, error) {
	switch name {
	case "Ping":
		return "pong", nil
	case "Put":
		return "", stub.PutState(argument, []byte(argument))
	case "Panic":
		panic("faulty panics as it was told")
	case "Exit":
		fmt.Fprintln(os.Stderr, "faulty exits as it was told")
		os.Exit(7)
	case "Eat":
		return eat(), nil
	case "Deep":
		return strconv.Itoa(deep(nil)), nil
	case "Spin":
		spin()
	case "Slow":
		d, err := time.ParseDuration(argument)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(os.Stderr, "faulty takes %s as it was told\n", d)
		time.Sleep(d)
		return "done", nil
	case "Dial":
		return dial(argument)
	case "Listen":
		return "", listen(argument)
	}
	return "", fmt.Errorf("there is no transaction %q", name)
}

// eat takes memory, and touches it, until there is none left.
func eat() string {
	var all [][]byte
	for {
		piece := make([]byte, 8<<20)
		for i := 0; i < len(piece); i += 4096 {
			piece[i] = 1
		}
		all = append(all, piece)
		if len(all) > 1<<20 {
			return "full"
		}
	}
}

// deep calls itself until the stack ends.
func deep(above *[1024]byte) int {
	var here [1024]byte
	if above != nil {
		here[0] = above[0] + 1
	}
	return deep(&here) + int(here[0])
}

func spin() {
	for n := 0; ; n++ {
		if n < 0 {
			n = 0
		}
	}
}

// dial tells whether something listens at an address, "udp:" before it for a question to a name server.
func dial(address string) (string, error) {
	network, rest, ok := strings.Cut(address, ":")
	if ok && network == "udp" {
		return ask(rest)
	}
	conn, err := net.DialTimeout("tcp", address, dialTime)
	if err != nil {
		return fmt.Sprintf("closed: %v", err), nil
	}
	return "open", conn.Close()
}

// listen takes connections at an address from now on.
func listen(address string) error {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_ = conn.Close()
		}
	}()
	return nil
}

// ask sends a question of DNS; only an answer shows that it arrived.
func ask(address string) (string, error) {
	conn, err := net.DialTimeout("udp", address, dialTime)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(dialTime)); err != nil {
		return "", err
	}
	question := []byte("\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x0akubernetes\x07default\x03svc\x07cluster\x05local\x00\x00\x01\x00\x01")
	if _, err := conn.Write(question); err != nil {
		return fmt.Sprintf("closed: %v", err), nil
	}
	_, err = conn.Read(make([]byte, 512))
	if timeout := net.Error(nil); errors.As(err, &timeout) {
		return fmt.Sprintf("closed: %v", err), nil
	}
	return "open", err
}
