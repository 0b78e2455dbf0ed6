package modproxy

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

func put(t *testing.T, c *cache, key, body string) {
	t.Helper()
	if err := c.put(key, func(w io.Writer) error { _, err := io.WriteString(w, body); return err }); err != nil {
		t.Fatal(err)
	}
}

func has(t *testing.T, c *cache, key string) bool {
	t.Helper()
	f, _, err := c.open(key)
	if errors.Is(err, fs.ErrNotExist) {
		return false
	}
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	return true
}

func TestCacheIsBounded(t *testing.T) {
	dir := t.TempDir()
	c, err := openCache(dir, 100)
	if err != nil {
		t.Fatal(err)
	}
	body := strings.Repeat("x", 30)
	for i := range 3 {
		put(t, c, strconv.Itoa(i), body)
	}
	if !has(t, c, "0") { // using it makes it the latest
		t.Fatal("0 is not there")
	}
	put(t, c, "3", body)
	for key, want := range map[string]bool{"0": true, "1": false, "2": true, "3": true} {
		if got := has(t, c, key); got != want {
			t.Errorf("%s is there: %v, want %v", key, got, want)
		}
	}
	put(t, c, "3", strings.Repeat("y", 31)) // replaced, not counted twice
	if c.size != 91 {
		t.Errorf("size %d, want 91", c.size)
	}
	if err := c.root.Close(); err != nil {
		t.Fatal(err)
	}
	// A new process counts what is there, and obeys a smaller bound.
	c, err = openCache(dir, 40)
	if err != nil {
		t.Fatal(err)
	}
	defer c.root.Close()
	if c.size > 40 {
		t.Errorf("size %d after a restart with a bound of 40", c.size)
	}
	left, err := filepath.Glob(filepath.Join(dir, objectsDir, "*", "*"))
	if err != nil || len(left) != 1 {
		t.Errorf("files %v, %v, want one", left, err)
	}
}

func TestCacheKeepsNothingHalf(t *testing.T) {
	dir := t.TempDir()
	c, err := openCache(dir, 100)
	if err != nil {
		t.Fatal(err)
	}
	defer c.root.Close()
	put(t, c, "a", "old")
	broken := errors.New("broken")
	err = c.put("a", func(w io.Writer) error {
		if _, err := io.WriteString(w, "half"); err != nil {
			return err
		}
		return broken
	})
	if !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
	if err := c.put("b", func(w io.Writer) error { _, err := io.WriteString(w, strings.Repeat("x", 101)); return err }); err == nil {
		t.Error("an object larger than the cache was taken")
	}
	f, _, err := c.open("a")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if got, _ := io.ReadAll(f); string(got) != "old" {
		t.Errorf("a failed fetch left %q", got)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, tempDir, "*")); len(left) > 0 {
		t.Errorf("left over: %v", left)
	}
	// What a killed process left is removed by a later one, and what another one is writing is not.
	for name, at := range map[string]time.Time{"killed": time.Now().Add(-2 * fetchTimeout), "alive": time.Now()} {
		file := filepath.Join(dir, tempDir, name)
		if err := errors.Join(os.WriteFile(file, nil, 0o600), os.Chtimes(file, at, at)); err != nil {
			t.Fatal(err)
		}
	}
	c2, err := openCache(dir, 100)
	if err != nil {
		t.Fatal(err)
	}
	defer c2.root.Close()
	left, err := filepath.Glob(filepath.Join(dir, tempDir, "*"))
	if err != nil || len(left) != 1 || filepath.Base(left[0]) != "alive" {
		t.Errorf("left over after a restart: %v, %v", left, err)
	}
}

func TestWaitingEnds(t *testing.T) {
	c, err := openCache(t.TempDir(), 100)
	if err != nil {
		t.Fatal(err)
	}
	defer c.root.Close()
	unlock, err := c.lock(t.Context(), "k")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := c.lock(ctx, "k"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("second in line got %v", err)
	}
	unlock()
	unlock, err = c.lock(t.Context(), "k")
	if err != nil {
		t.Fatal(err)
	}
	unlock()
	if len(c.locks) != 0 {
		t.Errorf("%d locks are kept", len(c.locks))
	}
}
