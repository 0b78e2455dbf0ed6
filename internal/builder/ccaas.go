package builder

import (
	"fmt"
	"os"

	"heddle.dev/heddle/internal/specs/launch"
)

const (
	connectionFile    = "connection.json"
	connectionRelease = "chaincode/server/connection.json"
	connectionLimit   = 256 << 10
	// A connection may hold a private key.
	connectionMode = 0o600
)

// ccaas is a contract that runs as a service of its own: the package holds where
// it listens, and the peer dials it. There is nothing to run.
type ccaas struct{}

func (ccaas) label() string { return "ccaas" }

func (ccaas) build(source, output *os.Root) error {
	content, err := readFile(source, connectionFile, connectionLimit)
	if err != nil {
		return err
	}
	c, err := parseConnection(content, os.Getenv(launch.EnvNode))
	if err != nil {
		return fmt.Errorf("check %s: %w", connectionFile, err)
	}
	encoded, err := c.encode()
	if err != nil {
		return err
	}
	return writeFile(output, connectionFile, encoded, connectionMode)
}

// release hands the peer the connection, and with it the pair that the peer shows
// to the contract, if that asks for the peer's own.
func (ccaas) release(output, release *os.Root) error {
	content, err := readFile(output, connectionFile, connectionLimit)
	if err != nil {
		return err
	}
	c, err := parseConnection(content, os.Getenv(launch.EnvNode))
	if err != nil {
		return fmt.Errorf("check %s: %w", connectionFile, err)
	}
	if c.ownPair() {
		if err := c.fill(os.Getenv(launch.EnvTLSCert), os.Getenv(launch.EnvTLSKey)); err != nil {
			return err
		}
		if content, err = c.encode(); err != nil {
			return err
		}
	}
	return writeFile(release, connectionRelease, content, connectionMode)
}
