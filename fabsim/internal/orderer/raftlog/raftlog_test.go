package raftlog_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"

	"heddle.dev/heddle/fabsim/internal/node"
	"heddle.dev/heddle/fabsim/internal/orderer/raftlog"
)

func open(t *testing.T, dir string) *raftlog.Log {
	t.Helper()
	l, err := raftlog.Open(node.NewLogger("raftlog"), dir+"/wal", dir+"/snap")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func save(t *testing.T, l *raftlog.Log, from, to uint64) {
	t.Helper()
	ready := raft.Ready{HardState: raftpb.HardState{Term: 1, Commit: to}}
	for i := from; i <= to; i++ {
		ready.Entries = append(ready.Entries, raftpb.Entry{Term: 1, Index: i, Data: fmt.Appendf(nil, "entry %d", i)})
	}
	if err := l.Save(&ready); err != nil {
		t.Fatal(err)
	}
}

func bounds(t *testing.T, l *raftlog.Log) (first, last uint64) {
	t.Helper()
	first, err := l.FirstIndex()
	if err != nil {
		t.Fatal(err)
	}
	if last, err = l.LastIndex(); err != nil {
		t.Fatal(err)
	}
	return first, last
}

func TestLog(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir)
	if !l.Fresh() {
		t.Error("a new log is not fresh")
	}
	save(t, l, 1, 10)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = open(t, dir)
	if first, last := bounds(t, l); first != 1 || last != 10 || l.Fresh() {
		t.Errorf("entries %d to %d, fresh: %v", first, last, l.Fresh())
	}
	voters := raftpb.ConfState{Voters: []uint64{1, 2}}
	for at := uint64(8); at < 60; at += 10 {
		save(t, l, at+3, at+12)
		if err := l.Shorten(at, voters, []byte("block")); err != nil {
			t.Fatal(err)
		}
	}
	if first, _ := bounds(t, l); first != 58-4+1 {
		t.Errorf("memory begins at %d", first)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	snapshots, err := os.ReadDir(dir + "/snap")
	if err != nil || len(snapshots) != 4 {
		t.Errorf("%d snapshots stay: %v", len(snapshots), err)
	}
	l = open(t, dir)
	defer func() { _ = l.Close() }()
	snapshot, err := l.MemoryStorage.Snapshot()
	if err != nil || snapshot.Metadata.Index != 58 || string(snapshot.Data) != "block" || len(snapshot.Metadata.ConfState.Voters) != 2 {
		t.Errorf("snapshot %v: %v", snapshot, err)
	}
	if first, last := bounds(t, l); first != 59 || last != 70 {
		t.Errorf("entries %d to %d", first, last)
	}
}

// TestReceivedSnapshot takes one of a leader that is far ahead.
func TestReceivedSnapshot(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir)
	save(t, l, 1, 3)
	ready := raft.Ready{
		HardState: raftpb.HardState{Term: 2, Commit: 50},
		Snapshot: raftpb.Snapshot{
			Data: []byte("block"), Metadata: raftpb.SnapshotMetadata{Index: 50, Term: 2, ConfState: raftpb.ConfState{Voters: []uint64{1}}},
		},
	}
	if err := l.Save(&ready); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = open(t, dir)
	defer func() { _ = l.Close() }()
	if first, last := bounds(t, l); first != 51 || last != 50 {
		t.Errorf("entries %d to %d", first, last)
	}
}

// TestTornEnd cuts the log off in the middle of its last record.
func TestTornEnd(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir)
	save(t, l, 1, 5)
	save(t, l, 6, 6)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(dir + "/wal/*.wal")
	if err != nil || len(files) != 1 {
		t.Fatalf("files %v: %v", files, err)
	}
	content, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	end := len(content)
	for end > 0 && content[end-1] == 0 {
		end--
	}
	if err := os.Truncate(files[0], int64(end-20)); err != nil {
		t.Fatal(err)
	}
	l = open(t, dir)
	defer func() { _ = l.Close() }()
	if _, last := bounds(t, l); last < 5 {
		t.Errorf("the log ends at %d: more than the torn record is gone", last)
	}
	save(t, l, 6, 7)
}

func TestRemove(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir)
	save(t, l, 1, 1)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := raftlog.Remove(dir+"/wal", dir+"/snap"); err != nil {
		t.Fatal(err)
	}
	l = open(t, dir)
	defer func() { _ = l.Close() }()
	if !l.Fresh() {
		t.Error("something is left")
	}
}
