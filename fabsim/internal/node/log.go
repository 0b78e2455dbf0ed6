package node

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/hyperledger/fabric-lib-go/common/flogging"
)

// Logger is what nodes log with: levels by name of the part, as Fabric's.
type Logger = flogging.FabricLogger

// InitLogging lets the whole process log to w, with the levels of
// FABRIC_LOGGING_SPEC and the format of FABRIC_LOGGING_FORMAT. gRPC says
// nothing below errors unless it is asked to.
func InitLogging(w io.Writer, environ []string) error {
	spec := variable(environ, "FABRIC_LOGGING_SPEC")
	if spec == "" {
		spec = "info"
	}
	if !strings.Contains(spec, "grpc") {
		spec += ":grpc=error"
	}
	err := flogging.Global.Apply(flogging.Config{Writer: w, LogSpec: spec, Format: variable(environ, "FABRIC_LOGGING_FORMAT")})
	if err != nil {
		return fmt.Errorf("set up logging (FABRIC_LOGGING_SPEC, FABRIC_LOGGING_FORMAT): %w", err)
	}
	return nil
}

// NewLogger makes the logger of a part, named as Fabric names it:
// "orderer.consensus.etcdraft".
func NewLogger(part string) *Logger { return flogging.MustGetLogger(part) }

// LogStart writes the line that every simulated node starts with.
func LogStart(log *Logger, kind string) {
	log.Infof("Starting %s %s, a SIMULATED %s for trying and testing (fabsim): not Hyperledger Fabric's own program", kind, Version, kind)
}

func variable(environ []string, name string) string {
	i := slices.IndexFunc(environ, func(entry string) bool { return strings.HasPrefix(entry, name+"=") })
	if i < 0 {
		return ""
	}
	return strings.TrimPrefix(environ[i], name+"=")
}
