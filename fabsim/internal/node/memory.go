package node

import (
	"context"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

const (
	// restCheck is how often a node looks whether it rests.
	restCheck = 500 * time.Millisecond
	// restAllocs is the most that a node at rest allocates between two looks,
	// restFree how much has to be in vain for giving it back to be worth it.
	restAllocs = 1 << 20
	restFree   = 1 << 20
)

// GiveBack gives memory that is not needed back to the system whenever the
// node rests, until ctx ends. The runtime keeps what was needed once for a long
// time: after the start that is a third of all, for libraries build tables.
// Under load it does nothing.
func GiveBack(ctx context.Context) error { return giveBack(ctx, restCheck) }

func giveBack(ctx context.Context, every time.Duration) error {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	before, _ := heap()
	collected := uint64(0)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		allocated, free := heap()
		resting := allocated-before < restAllocs
		before = allocated
		// What was allocated since the last time may be garbage by now.
		if resting && free+allocated-collected > restFree {
			debug.FreeOSMemory()
			collected, _ = heap()
		}
	}
}

// heap is how many bytes were allocated ever, and how many are held and free.
func heap() (allocated, free uint64) {
	samples := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}, {Name: "/memory/classes/heap/free:bytes"}}
	metrics.Read(samples)
	return samples[0].Value.Uint64(), samples[1].Value.Uint64()
}
