package builder

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
)

const (
	fileMode = 0o644
	dirMode  = 0o755
)

// readFile reads a regular file of at most limit bytes.
func readFile(root *os.Root, name string, limit int64) ([]byte, error) {
	info, err := root.Lstat(name)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("read %s: it is not a regular file", name)
	}
	file, err := root.Open(name)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	defer func() { _ = file.Close() }()
	content, err := io.ReadAll(io.LimitReader(file, limit+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	if int64(len(content)) > limit {
		return nil, fmt.Errorf("read %s: it has more than %d bytes", name, limit)
	}
	return content, nil
}

func writeFile(root *os.Root, name string, content []byte, mode fs.FileMode) error {
	if err := root.MkdirAll(path.Dir(name), dirMode); err != nil {
		return fmt.Errorf("make folder of %s: %w", name, err)
	}
	if err := root.WriteFile(name, content, mode); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return nil
}

func copyFile(from, to *os.Root, name string, limit int64) error {
	content, err := readFile(from, name, limit)
	if err != nil {
		return err
	}
	return writeFile(to, name, content, fileMode)
}

// walkFiles calls visit for each regular file below folder. A folder that does
// not exist has none; anything but files and folders is refused.
func walkFiles(root *os.Root, folder string, visit func(name string) error) error {
	_, err := root.Lstat(folder)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look up %s: %w", folder, err)
	}
	return fs.WalkDir(root.FS(), folder, func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return fmt.Errorf("list %s: %w", name, err)
		case entry.IsDir():
			return nil
		case !entry.Type().IsRegular():
			return fmt.Errorf("list %s: it is neither a file nor a folder", name)
		}
		return visit(name)
	})
}
