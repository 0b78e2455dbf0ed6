package build

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
)

// unpack writes a tar.gz of plain files below root.
func unpack(ctx context.Context, r io.Reader, root *os.Root) error {
	unzipped, err := gzip.NewReader(r)
	if err != nil {
		return err
	}
	for archive, left := tar.NewReader(unzipped), int64(2*sourceLimit); ; {
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err = errors.Join(err, ctx.Err()); err != nil {
			return err
		}
		if h.Typeflag == tar.TypeDir {
			continue
		}
		if left -= h.Size; h.Typeflag != tar.TypeReg || !filepath.IsLocal(h.Name) || left < 0 {
			return fmt.Errorf("file %q cannot be taken", h.Name)
		}
		if err := root.MkdirAll(path.Dir(h.Name), 0o755); err != nil {
			return err
		}
		file, err := root.OpenFile(h.Name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644|os.FileMode(h.Mode&0o111))
		if err != nil {
			return err
		}
		_, err = io.CopyN(file, archive, h.Size)
		if err = errors.Join(err, file.Close()); err != nil {
			return err
		}
	}
}
