package modproxy

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	objectsDir = "objects"
	tempDir    = "temp"
)

// cache keeps bodies in files that are named by a hash of their key and appear whole
// or not at all. The time of a file is when its body was fetched. When the cache is
// full, what was not used for longest goes.
type cache struct {
	root *os.Root
	max  int64

	mu    sync.Mutex
	size  int64
	clock uint64 // counts uses
	byID  map[string]*entry
	locks map[string]*keyLock
}

type entry struct {
	size int64
	used uint64 // the clock at the last use
}

// keyLock lets one request fetch what several want.
type keyLock struct {
	ch      chan struct{}
	waiting int
}

func openCache(dir string, maxBytes int64) (*cache, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("make the module cache: %w", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("open the module cache: %w", err)
	}
	c := &cache{root: root, max: maxBytes, byID: map[string]*entry{}, locks: map[string]*keyLock{}}
	if err := c.load(); err != nil {
		root.Close()
		return nil, fmt.Errorf("read the module cache %q: %w", dir, err)
	}
	return c, nil
}

// load forgets half-written files and finds whole ones.
func (c *cache) load() error {
	for _, d := range []string{tempDir, objectsDir} {
		if err := c.root.MkdirAll(d, 0o755); err != nil {
			return err
		}
	}
	if err := c.sweep(); err != nil {
		return err
	}
	type found struct {
		id   string
		size int64
		at   time.Time
	}
	var all []found
	err := fs.WalkDir(c.root.FS(), objectsDir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		all = append(all, found{strings.TrimPrefix(path, objectsDir+"/"), info.Size(), info.ModTime()})
		return nil
	})
	if err != nil {
		return err
	}
	slices.SortFunc(all, func(a, b found) int { return a.at.Compare(b.at) })
	for _, f := range all {
		c.note(f.id, f.size)
	}
	return nil
}

// sweep removes what a killed process left half-written. Another lab's proxy may be writing in the same folder: what can
// still be fetched stays.
func (c *cache) sweep() error {
	files, err := fs.ReadDir(c.root.FS(), tempDir)
	if err != nil {
		return err
	}
	for _, f := range files {
		info, err := f.Info()
		if err != nil || time.Since(info.ModTime()) < fetchTimeout {
			continue // one that is gone by now is no longer in the way
		}
		if err := c.root.Remove(tempDir + "/" + f.Name()); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

func id(key string) string {
	sum := sha256.Sum256([]byte(key))
	h := hex.EncodeToString(sum[:])
	return h[:2] + "/" + h[2:]
}

// open returns a body and when it was fetched, or fs.ErrNotExist.
func (c *cache) open(key string) (*os.File, time.Time, error) {
	name := id(key)
	f, err := c.root.Open(objectsDir + "/" + name)
	if err != nil {
		return nil, time.Time{}, err
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, time.Time{}, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if e, ok := c.byID[name]; ok {
		c.clock++
		e.used = c.clock
	}
	return f, info.ModTime(), nil
}

// put stores what fill writes. If fill fails, nothing changes.
func (c *cache) put(key string, fill func(io.Writer) error) error {
	name := id(key)
	temp := fmt.Sprintf("%s/%s-%d", tempDir, strings.ReplaceAll(name, "/", ""), time.Now().UnixNano())
	f, err := c.root.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return fmt.Errorf("write to the module cache: %w", err)
	}
	limited := &limitedWriter{w: f, left: min(maxObject, c.max)}
	err = fill(limited)
	err = errors.Join(err, f.Close())
	if err == nil {
		err = c.keep(temp, name, min(maxObject, c.max)-limited.left)
	}
	if err != nil {
		return errors.Join(err, c.root.Remove(temp))
	}
	return nil
}

func (c *cache) keep(temp, name string, size int64) error {
	if err := c.root.MkdirAll(objectsDir+"/"+name[:2], 0o755); err != nil {
		return fmt.Errorf("write to the module cache: %w", err)
	}
	if err := c.root.Rename(temp, objectsDir+"/"+name); err != nil {
		return fmt.Errorf("write to the module cache: %w", err)
	}
	c.note(name, size)
	return nil
}

// note counts an object as just used and makes room for it. Files that are being read
// stay readable after their removal.
func (c *cache) note(name string, size int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e, ok := c.byID[name]; ok {
		c.size -= e.size
	}
	c.clock++
	c.byID[name] = &entry{size, c.clock}
	c.size += size
	for c.size > c.max && len(c.byID) > 1 {
		last := c.leastUsed()
		c.size -= c.byID[last].size
		delete(c.byID, last)
		// A file that cannot be removed is found again by the next start.
		_ = c.root.Remove(objectsDir + "/" + last)
	}
}

// leastUsed looks at all of them: there are some thousands, and evictions are rare.
func (c *cache) leastUsed() string {
	out, oldest := "", c.clock+1
	for name, e := range c.byID {
		if e.used < oldest {
			out, oldest = name, e.used
		}
	}
	return out
}

// lock waits for its turn with key.
func (c *cache) lock(ctx context.Context, key string) (unlock func(), err error) {
	c.mu.Lock()
	l := c.locks[key]
	if l == nil {
		l = &keyLock{ch: make(chan struct{}, 1)}
		c.locks[key] = l
	}
	l.waiting++
	c.mu.Unlock()
	leave := func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if l.waiting--; l.waiting == 0 {
			delete(c.locks, key)
		}
	}
	select {
	case l.ch <- struct{}{}:
		return func() { <-l.ch; leave() }, nil
	case <-ctx.Done():
		leave()
		return nil, ctx.Err()
	}
}

// limitedWriter refuses more than an object may have.
type limitedWriter struct {
	w    io.Writer
	left int64
}

func (l *limitedWriter) Write(p []byte) (int, error) {
	if int64(len(p)) > l.left {
		return 0, errors.New("object is too large for the module cache")
	}
	n, err := l.w.Write(p)
	l.left -= int64(n)
	return n, err
}

// object is one thing to serve.
type object struct {
	key string
	// mutable objects are asked for again when they are no longer fresh, unless an old copy will do.
	mutable, oldWillDo bool

	fetch func(ctx context.Context, w io.Writer) error
}

// get opens an object, fetching it if need be. An old copy is better than none when
// upstream cannot be reached, but not when upstream says that there is none.
func (c *cache) get(ctx context.Context, o object) (*os.File, error) {
	unlock, err := c.lock(ctx, o.key)
	if err != nil {
		return nil, err
	}
	defer unlock()
	old, at, err := c.open(o.key)
	if err == nil && (!o.mutable || o.oldWillDo || time.Since(at) < fresh) {
		return old, nil
	}
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	err = c.put(o.key, func(w io.Writer) error { return o.fetch(ctx, w) })
	if err != nil {
		if old != nil && !errors.Is(err, errNotFound) {
			return old, nil
		}
		if old != nil {
			old.Close()
		}
		return nil, err
	}
	if old != nil {
		old.Close()
	}
	f, _, err := c.open(o.key)
	return f, err
}
