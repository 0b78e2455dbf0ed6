package node

import (
	"time"

	"google.golang.org/grpc/backoff"
)

// dialBackoff tries again soon: nodes of a small network start together and
// find one another within a second.
func dialBackoff() backoff.Config {
	return backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 2 * time.Second}
}
