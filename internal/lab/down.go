package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// Down takes a lab away: processes, control groups, mounts, files. It goes by
// what it finds on the machine, so it also cleans up after any kill.
func Down(ctx context.Context, name string) error {
	dir, err := labDir(defaultName(name))
	if err != nil {
		return err
	}
	if os.Geteuid() != 0 {
		return fmt.Errorf("%w: taking a lab down needs root: use sudo", ErrNeeds)
	}
	p := &Plan{Name: defaultName(name), ID: labID(dir), Dir: dir}
	if !exists(filepath.Dir(dir)) {
		return nil
	}
	unlock, err := lock(ctx, p, func(string) {})
	if err != nil {
		return err
	}
	defer unlock()
	if err := clean(ctx, p); err != nil {
		return err
	}
	return os.Remove(p.lockFile())
}

// Down takes this lab away.
func (l *Lab) Down(ctx context.Context) error { return Down(ctx, l.plan.Name) }

// clean stops a lab and removes its folder.
func clean(ctx context.Context, p *Plan) error {
	if err := stop(ctx, p); err != nil {
		return err
	}
	if err := unmountBelow(p.Dir); err != nil {
		return err
	}
	if err := os.RemoveAll(p.Dir); err != nil {
		return fmt.Errorf("remove lab %q: %w", p.Name, err)
	}
	return nil
}

// stop ends all processes of a lab and removes its control groups.
func stop(ctx context.Context, p *Plan) error {
	hs, err := hierarchies()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, stopTime)
	defer cancel()
	var last error
	err = poll(ctx, 20*time.Millisecond, func() (bool, error) {
		pids, err := remains(hs, p.ID)
		if err != nil {
			return false, err
		}
		if len(pids) > 0 {
			last = fmt.Errorf("processes %v do not end", pids[:min(len(pids), 5)])
			return false, killAll(pids)
		}
		last = removeCgroup(hs, p.cgroup())
		return last == nil, nil
	})
	if err != nil {
		return fmt.Errorf("stop lab %q: %w", p.Name, errors.Join(err, last))
	}
	return nil
}

// lock keeps other calls for the same lab out.
func lock(ctx context.Context, p *Plan, progress func(string)) (unlock func(), err error) {
	told := false
	var f *os.File
	err = poll(ctx, 100*time.Millisecond, func() (bool, error) {
		var err error
		if f, err = os.OpenFile(p.lockFile(), os.O_CREATE|os.O_RDWR, 0o600); err != nil {
			return false, err
		}
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil && sameFile(f, p.lockFile()) {
			return true, nil
		}
		f.Close()
		if err != nil && !errors.Is(err, unix.EWOULDBLOCK) {
			return false, err
		}
		if !told {
			progress(fmt.Sprintf("lab %q: waiting for another call to finish", p.Name))
			told = true
		}
		return false, nil
	})
	if err != nil {
		return nil, fmt.Errorf("lock lab %q: %w", p.Name, err)
	}
	return func() { f.Close() }, nil
}

// sameFile says whether f is still the file at path: a "down" removes it.
func sameFile(f *os.File, path string) bool {
	a, errA := f.Stat()
	b, errB := os.Stat(path)
	return errA == nil && errB == nil && os.SameFile(a, b)
}
