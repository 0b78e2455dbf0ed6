// Package raftlog keeps the Raft log of one channel on disk: etcd's
// write-ahead log and snapshots, with the newest entries in memory as well.
// A snapshot is not of a state: it is the block that the log had reached, and
// whoever receives it fetches the blocks before.
package raftlog

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"go.etcd.io/etcd/server/v3/etcdserver/api/snap"
	"go.etcd.io/etcd/server/v3/storage/wal"
	"go.etcd.io/etcd/server/v3/storage/wal/walpb"
	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"

	"heddle.dev/heddle/fabsim/internal/node"
)

const (
	// keepEntries stay in memory before a snapshot, for nodes that are only
	// a little behind.
	keepEntries = 4
	// keepSnapshots stay on disk.
	keepSnapshots = 4
)

// Log is a Raft log. It is not for concurrent use, but for what raft itself
// reads of it.
type Log struct {
	*raft.MemoryStorage

	log             *node.Logger
	walDir, snapDir string
	wal             *wal.WAL
	snaps           *snap.Snapshotter
	fresh           bool
}

// Open opens the log in the two folders, or makes an empty one. A torn end, as
// a crash leaves it, is cut off: nobody was told of what stood there.
func Open(log *node.Logger, walDir, snapDir string) (*Log, error) {
	l := &Log{log: log, MemoryStorage: raft.NewMemoryStorage(), walDir: walDir, snapDir: snapDir}
	if err := os.MkdirAll(snapDir, 0o750); err != nil {
		return nil, fmt.Errorf("open raft log: %w", err)
	}
	l.snaps = snap.New(log.Zap(), snapDir)
	if !wal.Exist(walDir) {
		created, err := wal.Create(log.Zap(), walDir, nil)
		if err != nil {
			return nil, fmt.Errorf("create raft log %s: %w", walDir, err)
		}
		if err := created.Close(); err != nil {
			return nil, fmt.Errorf("create raft log %s: %w", walDir, err)
		}
	}
	state, entries, err := l.read()
	if errors.Is(err, io.ErrUnexpectedEOF) && wal.Repair(log.Zap(), walDir) {
		state, entries, err = l.read()
	}
	if err != nil {
		return nil, fmt.Errorf("read raft log %s: %w", walDir, err)
	}
	if err := errors.Join(l.SetHardState(state), l.Append(entries)); err != nil {
		return nil, fmt.Errorf("read raft log %s: %w", walDir, err)
	}
	snapshot, err := l.MemoryStorage.Snapshot()
	if err != nil {
		return nil, fmt.Errorf("read raft log %s: %w", walDir, err)
	}
	l.fresh = raft.IsEmptyHardState(state) && len(entries) == 0 && raft.IsEmptySnap(snapshot)
	return l, nil
}

func (l *Log) read() (raftpb.HardState, []raftpb.Entry, error) {
	var none raftpb.HardState
	// Only a snapshot that the log knows of may be used: one whose writing
	// was interrupted is not.
	known, err := wal.ValidSnapshotEntries(l.log.Zap(), l.walDir)
	if err != nil {
		return none, nil, err
	}
	start := walpb.Snapshot{}
	snapshot, err := l.snaps.LoadNewestAvailable(known)
	if err != nil && !errors.Is(err, snap.ErrNoSnapshot) {
		return none, nil, err
	}
	if err == nil {
		start.Index, start.Term = snapshot.Metadata.Index, snapshot.Metadata.Term
		l.MemoryStorage = raft.NewMemoryStorage()
		if err := l.ApplySnapshot(*snapshot); err != nil {
			return none, nil, err
		}
	}
	if l.wal, err = wal.Open(l.log.Zap(), l.walDir, start); err != nil {
		return none, nil, err
	}
	_, state, entries, err := l.wal.ReadAll()
	if err != nil {
		return none, nil, errors.Join(err, l.wal.Close())
	}
	return state, entries, nil
}

// Fresh tells whether the log was empty when it was opened.
func (l *Log) Fresh() bool { return l.fresh }

// Save makes what raft is about to act on safe on disk.
func (l *Log) Save(ready *raft.Ready) error {
	if !raft.IsEmptySnap(ready.Snapshot) {
		if err := l.saveSnapshot(ready.Snapshot); err != nil {
			return err
		}
	}
	if err := l.wal.Save(ready.HardState, ready.Entries); err != nil {
		return fmt.Errorf("save raft log: %w", err)
	}
	if !raft.IsEmptySnap(ready.Snapshot) {
		if err := l.ApplySnapshot(ready.Snapshot); err != nil && !errors.Is(err, raft.ErrSnapOutOfDate) {
			return fmt.Errorf("save raft log: %w", err)
		}
	}
	if !raft.IsEmptyHardState(ready.HardState) {
		if err := l.SetHardState(ready.HardState); err != nil {
			return fmt.Errorf("save raft log: %w", err)
		}
	}
	if err := l.Append(ready.Entries); err != nil {
		return fmt.Errorf("save raft log: %w", err)
	}
	return nil
}

// saveSnapshot writes into the log first: a log is only opened at snapshots
// that it knows of.
func (l *Log) saveSnapshot(s raftpb.Snapshot) error {
	err := l.wal.SaveSnapshot(walpb.Snapshot{Index: s.Metadata.Index, Term: s.Metadata.Term, ConfState: &s.Metadata.ConfState})
	if err == nil {
		err = l.snaps.SaveSnap(s)
	}
	if err == nil {
		err = l.wal.ReleaseLockTo(s.Metadata.Index)
	}
	if err != nil {
		return fmt.Errorf("save raft snapshot: %w", err)
	}
	return nil
}

// Shorten takes a snapshot at an index that was applied and forgets what came
// before.
func (l *Log) Shorten(index uint64, voters raftpb.ConfState, block []byte) error {
	snapshot, err := l.CreateSnapshot(index, &voters, block)
	if err != nil {
		return fmt.Errorf("take raft snapshot: %w", err)
	}
	if err := l.saveSnapshot(snapshot); err != nil {
		return err
	}
	if index > keepEntries {
		if err := l.Compact(index - keepEntries); err != nil && !errors.Is(err, raft.ErrCompacted) {
			return fmt.Errorf("shorten raft log: %w", err)
		}
	}
	return l.purge()
}

// purge deletes old files: snapshots but the newest, and the log's files that
// lie wholly before the oldest snapshot that stays.
func (l *Log) purge() error {
	snapshots, err := names(l.snapDir, ".snap")
	if err != nil {
		return err
	}
	if len(snapshots) <= keepSnapshots {
		return nil
	}
	kept := snapshots[len(snapshots)-keepSnapshots]
	for _, name := range snapshots[:len(snapshots)-keepSnapshots] {
		if err := os.Remove(filepath.Join(l.snapDir, name)); err != nil {
			return fmt.Errorf("delete old snapshot: %w", err)
		}
	}
	var term, oldest uint64
	if _, err := fmt.Sscanf(kept, "%016x-%016x.snap", &term, &oldest); err != nil {
		return fmt.Errorf("read name of snapshot %s: %w", kept, err)
	}
	files, err := names(l.walDir, ".wal")
	if err != nil {
		return err
	}
	for i := 0; i+1 < len(files); i++ {
		var sequence, first uint64
		if _, err := fmt.Sscanf(files[i+1], "%016x-%016x.wal", &sequence, &first); err != nil {
			return fmt.Errorf("read name of raft log %s: %w", files[i+1], err)
		}
		if first > oldest {
			break
		}
		if err := os.Remove(filepath.Join(l.walDir, files[i])); err != nil {
			return fmt.Errorf("delete old raft log: %w", err)
		}
	}
	return nil
}

func names(dir, ending string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("list raft log: %w", err)
	}
	var out []string
	for _, entry := range entries {
		if strings.HasSuffix(entry.Name(), ending) {
			out = append(out, entry.Name())
		}
	}
	slices.Sort(out)
	return out, nil
}

// Close closes the log.
func (l *Log) Close() error {
	if err := l.wal.Close(); err != nil {
		return fmt.Errorf("close raft log: %w", err)
	}
	return nil
}

// Remove deletes a log that is closed.
func Remove(walDir, snapDir string) error {
	if err := errors.Join(os.RemoveAll(walDir), os.RemoveAll(snapDir)); err != nil {
		return fmt.Errorf("delete raft log: %w", err)
	}
	return nil
}
