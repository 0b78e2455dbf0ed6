// Package reload tells nginx of changed configurations and keys. It runs beside nginx in the same pod, sees its
// process, and watches the folders that nginx reads: when a file there changes, nginx's master gets SIGHUP, checks the
// configuration, and starts new workers, while the old ones go on with the connections that they have. Those that have one
// to a node which is not exported any more are ended.
//
// What stands in the folders is decided by controllers; nginx itself refuses what it cannot use and goes on with what it
// had. Nothing is started here.
package reload

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// maxFile and maxFiles bound what is read of a folder: configurations and certificates are far smaller.
	maxFile  = 1 << 20
	maxFiles = 64
)

// Options say what is watched.
type Options struct {
	// Folders that nginx reads. One that is not there is empty.
	Folders []string
	// Config is a link's configuration among them: connections to nodes that it does not export any more are ended. Empty:
	// there is none.
	Config string
	// PIDFile is where nginx's master writes its number, which has to be one of this process's own namespace.
	PIDFile string
	// Every is the time between two looks.
	Every time.Duration
	// Pause is the least time between two reloads: each leaves the workers before it behind, as long as they have
	// connections.
	Pause time.Duration
	// Log is told of each reload and of what goes wrong.
	Log *slog.Logger
}

// Run looks until ctx ends. Its first reload is at the start: what changed before it looked is not known.
func Run(ctx context.Context, o Options) {
	var loaded, last string
	var at time.Time
	taken := newTakenBack(o)
	tick := time.NewTicker(o.Every)
	defer tick.Stop()
	for {
		wanted, err := fingerprint(o.Folders)
		if err == nil && wanted != loaded && time.Since(at) >= o.Pause {
			if err = reload(o.PIDFile); err == nil {
				loaded, at = wanted, time.Now()
				o.Log.Info("nginx reloads", "files", wanted[:12])
				taken.look(at)
			}
		}
		taken.cut(ctx, time.Now())
		// The same trouble is told once.
		if now := fmt.Sprint(err); now != last {
			if last = now; err != nil {
				o.Log.Error("nginx was not told", "error", err)
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// fingerprint identifies the files of the folders.
func fingerprint(folders []string) (string, error) {
	sum := sha256.New()
	for _, folder := range folders {
		entries, err := os.ReadDir(folder)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", fmt.Errorf("read folder: %w", err)
		}
		if len(entries) > maxFiles {
			return "", fmt.Errorf("read folder %q: it has more than %d files", folder, maxFiles)
		}
		for _, e := range entries {
			// The kubelet keeps the files in folders of such names, and links to them.
			if strings.HasPrefix(e.Name(), "..") {
				continue
			}
			content, err := read(filepath.Join(folder, e.Name()))
			if err != nil {
				return "", err
			}
			_, _ = fmt.Fprintf(sum, "%s %d\n", e.Name(), len(content)) // a hash takes everything
			_, _ = sum.Write(content)
		}
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

func read(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	content, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("read file: %w", err)
	}
	if len(content) > maxFile {
		return nil, fmt.Errorf("read file %q: it is larger than %d bytes", path, maxFile)
	}
	return content, nil
}

// reload signals nginx's master, after a look whether the number is still its own.
func reload(pidFile string) error {
	pid, err := master(pidFile)
	if err != nil {
		return fmt.Errorf("find nginx: %w", err)
	}
	if err := unix.Kill(pid, unix.SIGHUP); err != nil {
		return fmt.Errorf("signal nginx: %w", err)
	}
	return nil
}

// master is the number of nginx's master.
func master(pidFile string) (int, error) {
	raw, err := read(pidFile)
	if err != nil {
		return 0, err
	}
	pid, err := strconv.Atoi(string(bytes.TrimSpace(raw)))
	if err != nil || pid < 2 {
		return 0, fmt.Errorf("%q is no process", pidFile)
	}
	name, err := read(fmt.Sprintf("/proc/%d/comm", pid))
	if err != nil {
		return 0, err
	}
	if string(bytes.TrimSpace(name)) != "nginx" {
		return 0, fmt.Errorf("process %d is %q", pid, bytes.TrimSpace(name))
	}
	return pid, nil
}
