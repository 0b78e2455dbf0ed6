package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/client-go/tools/clientcmd"
)

// Exit codes. They are part of the command's contract: docs/cli.md lists them.
const (
	ExitOK          = 0
	ExitFailed      = 1
	ExitUsage       = 2
	ExitNotReady    = 3
	ExitNotFound    = 4
	ExitNoAccess    = 5
	ExitInterrupted = 130
)

// codedError is an error that knows its exit code.
type codedError struct {
	code int
	err  error
}

func (e *codedError) Error() string { return e.err.Error() }
func (e *codedError) Unwrap() error { return e.err }

func withCode(code int, err error) error {
	if err == nil {
		return nil
	}
	return &codedError{code: code, err: err}
}

func usageErrorf(format string, args ...any) error {
	return withCode(ExitUsage, fmt.Errorf(format, args...))
}

func notReadyErrorf(format string, args ...any) error {
	return withCode(ExitNotReady, fmt.Errorf(format, args...))
}

func notFoundErrorf(format string, args ...any) error {
	return withCode(ExitNotFound, fmt.Errorf(format, args...))
}

// errSilent ends a command that has printed its findings already.
var errSilent = errors.New("")

// exitCode maps an error to the process's exit code.
func exitCode(ctx context.Context, err error) int {
	var coded *codedError
	switch {
	case err == nil:
		return ExitOK
	case ctx.Err() != nil && !errors.As(err, &coded):
		return ExitInterrupted
	case errors.As(err, &coded):
		return coded.code
	case apierrors.IsForbidden(err), apierrors.IsUnauthorized(err), clientcmd.IsEmptyConfig(err), isUnreachable(err):
		return ExitNoAccess
	case errors.Is(err, context.DeadlineExceeded), apierrors.IsTimeout(err), apierrors.IsServerTimeout(err):
		return ExitNotReady
	case apierrors.IsNotFound(err):
		return ExitNotFound
	}
	return ExitFailed
}

// isUnreachable says that the API server could not be spoken to at all.
func isUnreachable(err error) bool {
	var op *net.OpError
	var dns *net.DNSError
	var u *url.Error
	return errors.As(err, &op) || errors.As(err, &dns) || (errors.As(err, &u) && !errors.Is(err, context.DeadlineExceeded))
}

// explain turns errors of libraries that users meet often into a sentence with a remedy.
func explain(err error, program string) string {
	switch {
	case clientcmd.IsEmptyConfig(err):
		return fmt.Sprintf("no cluster is configured: set KUBECONFIG or --kubeconfig, or run '%s up' for one on this machine", program)
	case apierrors.IsUnauthorized(err):
		return fmt.Sprintf("%v: the cluster does not accept these credentials: check --context and log in again", err)
	case apierrors.IsForbidden(err):
		return fmt.Sprintf("%v: ask the cluster's administrator for this right, or choose another --context", err)
	case meta.IsNoMatchError(err):
		return fmt.Sprintf("%v: Heddle is not installed in this cluster: run '%s install'", err, program)
	case isUnreachable(err):
		return fmt.Sprintf("%v: the cluster does not answer: check that it runs and that --context is right", err)
	}
	return err.Error()
}
