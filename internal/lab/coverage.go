package lab

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime/coverage"
	"strings"
	"time"
)

// coverEnv names the folder in which a program built with -covermode=atomic
// notes what ran, for the project's own tests. The lab's processes are killed, so they
// cannot do it at their end, as others do.
const coverEnv = "HEDDLE_COVERDIR"

// noteCoverage notes what ran, again and again, until ctx ends.
func noteCoverage(ctx context.Context) {
	dir := os.Getenv(coverEnv)
	if dir == "" || coverage.WriteMetaDir(dir) != nil {
		return
	}
	tmp, err := os.MkdirTemp(dir, "part-")
	if err != nil {
		return
	}
	// Every node has a process 1: another number keeps their notes apart.
	id := rand.Uint32() //nolint:gosec // G404: it only has to differ
	for pause(ctx, time.Second) {
		if coverage.WriteCountersDir(tmp) != nil || replaceNotes(tmp, dir, id) != nil {
			return
		}
	}
}

// replaceNotes moves new notes to where this process's last ones are. Their
// names are covcounters.HASH.PROCESS.TIME.
func replaceNotes(from, to string, id uint32) error {
	files, err := filepath.Glob(filepath.Join(from, "covcounters.*"))
	if err != nil {
		return err
	}
	for _, f := range files {
		parts := strings.Split(filepath.Base(f), ".")
		if len(parts) != 4 {
			return fmt.Errorf("notes of coverage have the unknown name %q", f)
		}
		name := fmt.Sprintf("%s.%s.%d.1", parts[0], parts[1], id)
		if err := os.Rename(f, filepath.Join(to, name)); err != nil {
			return err
		}
	}
	return nil
}
