package builder

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// installed are the verbs the peer looks for in the bin folder of a builder.
func installed() []string {
	return []string{"detect", "build", "release", "run"}
}

// install makes DIR a builder folder out of this very program. An init container
// of the peer's pod does it, so a second call over the first must work, and no
// reader may see half a program. FOLDER is made too if it is given: where a volume
// is to be mounted within another, the folder for it must be the peer's.
func install(_ context.Context, args []string, log io.Writer) error {
	if len(args) > 1 {
		if err := os.MkdirAll(args[1], 0o750); err != nil {
			return fmt.Errorf("make folder: %w", err)
		}
	}
	bin := filepath.Join(args[0], "bin")
	if err := os.MkdirAll(bin, dirMode); err != nil {
		return fmt.Errorf("make builder folder: %w", err)
	}
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find own program: %w", err)
	}
	names := installed()
	program := names[0]
	if err := copyProgram(self, bin, program); err != nil {
		return fmt.Errorf("install %s: %w", program, err)
	}
	for _, name := range names[1:] {
		if err := link(bin, program, name); err != nil {
			return fmt.Errorf("install %s: %w", name, err)
		}
	}
	_, err = fmt.Fprintf(log, "heddle-builder: installed in %s\n", args[0])
	return err
}

func copyProgram(self, bin, name string) (err error) {
	source, err := os.Open(self)
	if err != nil {
		return err
	}
	defer func() { _ = source.Close() }()
	target, err := os.CreateTemp(bin, ".install-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(target.Name()))
		}
	}()
	_, err = io.Copy(target, source)
	// The peer's user differs from the one that installs.
	err = errors.Join(err, target.Chmod(dirMode), target.Close())
	if err != nil {
		return err
	}
	return os.Rename(target.Name(), filepath.Join(bin, name))
}

func link(bin, program, name string) error {
	temporary := filepath.Join(bin, ".install-"+name)
	if err := os.Symlink(program, temporary); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	return os.Rename(temporary, filepath.Join(bin, name))
}
