package builder

import (
	"fmt"
	"os"
	"path"
	"strings"

	"heddle.dev/heddle/internal/fabric/ccpackage"
)

// A package carries the indexes of its state database below META-INF/statedb; the
// peer reads them from statedb of the release.
const (
	metaInf    = "META-INF"
	stateDB    = "statedb"
	indexLimit = 1 << 20
	indexCount = 1000
)

// copyIndexes checks the indexes of a package. The peer itself looks at them only
// when the contract's definition is committed, where a broken one is a line in
// the log of every peer; here it fails the installation.
func copyIndexes(source, output *os.Root) error {
	count := 0
	return walkFiles(source, path.Join(metaInf, stateDB), func(name string) error {
		if count++; count > indexCount {
			return fmt.Errorf("copy indexes: there are more than %d", indexCount)
		}
		content, err := readFile(source, name, indexLimit)
		if err != nil {
			return err
		}
		if err := ccpackage.CheckIndex(content); err != nil {
			return fmt.Errorf("check index %s: %w", name, err)
		}
		return writeFile(output, name, content, fileMode)
	})
}

func releaseIndexes(output, release *os.Root) error {
	return walkFiles(output, path.Join(metaInf, stateDB), func(name string) error {
		content, err := readFile(output, name, indexLimit)
		if err != nil {
			return err
		}
		return writeFile(release, strings.TrimPrefix(name, metaInf+"/"), content, fileMode)
	})
}
