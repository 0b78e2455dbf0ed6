package build

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
)

// Names in the folder that compile leaves for push.
const (
	resultFile  = "result.json"
	logFile     = "build.log"
	layerFolder = "layers"
	metaFolder  = "META-INF"
)

// resultLimit bounds result.json, which code of the source's author may have written.
const resultLimit = 64 << 10

// Compiled is what compile says of a build: how its result is started, or why there is none.
type Compiled struct {
	// Failure is a sentence, and below it the last lines that the tools printed.
	Failure string `json:"failure,omitempty"`
	// Recipe and Toolchain say what compiled.
	Recipe    string `json:"recipe,omitempty"`
	Toolchain string `json:"toolchain,omitempty"`
	// Base is the name of the layer that the result stands on; empty for a static program.
	Base string `json:"base,omitempty"`
	// Entrypoint starts the contract, in WorkingDir.
	Entrypoint []string `json:"entrypoint,omitempty"`
	WorkingDir string   `json:"workingDir,omitempty"`
}

// sourceError is a fault of the source: its author can mend it, trying again does not.
type sourceError struct{ sentence string }

// Error is the sentence.
func (e *sourceError) Error() string { return e.sentence }

func faulty(format string, args ...any) error { return &sourceError{fmt.Sprintf(format, args...)} }

func writeResult(out *os.Root, c *Compiled) error {
	encoded, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return fmt.Errorf("encode result: %w", err)
	}
	if err := out.WriteFile(resultFile, encoded, 0o644); err != nil {
		return fmt.Errorf("write result: %w", err)
	}
	return nil
}

func readResult(out *os.Root) (*Compiled, error) {
	content, err := readFile(out, resultFile, resultLimit)
	if err != nil {
		return nil, fmt.Errorf("read result of compile: %w", err)
	}
	c := &Compiled{}
	if err := json.Unmarshal(content, c); err != nil {
		return nil, fmt.Errorf("decode result of compile: %w", err)
	}
	if c.Failure == "" && len(c.Entrypoint) == 0 {
		return nil, errors.New("read result of compile: it names neither a program nor a failure")
	}
	return c, nil
}

// readFile reads a regular file of at most limit bytes.
func readFile(root *os.Root, name string, limit int64) ([]byte, error) {
	info, err := root.Lstat(name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", name)
	}
	file, err := root.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	content, err := io.ReadAll(io.LimitReader(file, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(content)) > limit {
		return nil, fmt.Errorf("%s has more than %d bytes", name, limit)
	}
	return content, nil
}

// isFile says whether there is a regular file of that name.
func isFile(root *os.Root, name string) bool {
	info, err := root.Stat(name)
	return err == nil && info.Mode().IsRegular()
}
