package build

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"time"

	"heddle.dev/heddle/internal/archive"
)

// FetchOptions say which source is fetched.
type FetchOptions struct {
	Registry
	// Repository holds sources.
	Repository string
	// Digest and Size of the source.
	Digest string
	Size   int64
	// Into is the folder that it is unpacked into; it is made.
	Into string
	// Wait is how long the upload may take to come.
	Wait time.Duration
	// Output is told what is waited for.
	Output io.Writer
}

// sourceLimit bounds a source, as the ChaincodeBuild does.
const sourceLimit = 100 << 20

// errNotYet says that asking again may help.
var errNotYet = errors.New("not there yet")

// Fetch waits until the source is in the registry, checks that it is the one, and unpacks it.
func Fetch(ctx context.Context, o FetchOptions) error {
	if !regexp.MustCompile(`^sha256:[0-9a-f]{64}$`).MatchString(o.Digest) || o.Size < 1 || o.Size > sourceLimit {
		return fmt.Errorf("fetch source: digest %q or size %d is none", o.Digest, o.Size)
	}
	host, err := o.host()
	if err != nil {
		return err
	}
	transport, err := o.transport()
	if err != nil {
		return err
	}
	defer transport.CloseIdleConnections()
	file, err := os.CreateTemp("", "source-*")
	if err != nil {
		return fmt.Errorf("make temporary file: %w", err)
	}
	defer func() { _ = errors.Join(file.Close(), os.Remove(file.Name())) }()
	address := "https://" + host + "/v2/" + o.Repository + "/blobs/" + o.Digest
	if err := o.poll(ctx, &http.Client{Transport: transport}, address, file); err != nil {
		return fmt.Errorf("fetch source: %w", err)
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("read source: %w", err)
	}
	if err := os.MkdirAll(o.Into, 0o755); err != nil {
		return fmt.Errorf("make folder of source: %w", err)
	}
	into, err := os.OpenRoot(o.Into)
	if err != nil {
		return fmt.Errorf("open folder of source: %w", err)
	}
	defer into.Close()
	if _, err := archive.Unpack(ctx, file, into, archive.DefaultLimits()); err != nil {
		return fmt.Errorf("unpack source: %w", err)
	}
	fmt.Fprintf(o.Output, "source %s is unpacked\n", o.Digest)
	return nil
}

// poll asks more and more slowly: an upload comes within seconds of the build, or takes a person's time.
func (o FetchOptions) poll(ctx context.Context, client *http.Client, address string, file *os.File) error {
	const first, last = 250 * time.Millisecond, 2 * time.Second
	deadline, pause, told := time.Now().Add(o.Wait), first, false
	for {
		err := o.download(ctx, client, address, file)
		if !errors.Is(err, errNotYet) {
			return err
		}
		if !told {
			fmt.Fprintf(o.Output, "waiting for the upload of %s\n", o.Digest)
			told = true
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("the source was not uploaded within %s: %w", o.Wait, err)
		}
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case <-timer.C:
		}
		pause = min(pause*3/2, last)
	}
}

// download gets the source once.
func (o FetchOptions) download(ctx context.Context, client *http.Client, address string, file *os.File) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, http.NoBody)
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		return fmt.Errorf("%w: %w", errNotYet, err)
	}
	defer response.Body.Close()
	switch status := response.StatusCode; {
	case status == http.StatusNotFound, status == http.StatusTooManyRequests, status >= 500:
		return fmt.Errorf("%w: the registry answers %s", errNotYet, response.Status)
	case status != http.StatusOK:
		return fmt.Errorf("the registry answers %s", response.Status)
	}
	if err := restart(file); err != nil {
		return err
	}
	sum := sha256.New()
	size, err := io.Copy(io.MultiWriter(file, sum), io.LimitReader(response.Body, o.Size+1))
	var broken *os.PathError
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.As(err, &broken):
		return fmt.Errorf("write source: %w", err)
	case err != nil:
		return fmt.Errorf("%w: %w", errNotYet, err)
	case size != o.Size:
		return fmt.Errorf("the source has another size than the %d bytes that the build names", o.Size)
	case "sha256:"+hex.EncodeToString(sum.Sum(nil)) != o.Digest:
		return fmt.Errorf("the source is not %s: its digest is another", o.Digest)
	}
	return nil
}

func restart(file *os.File) error {
	if err := file.Truncate(0); err != nil {
		return fmt.Errorf("write source: %w", err)
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("write source: %w", err)
	}
	return nil
}
