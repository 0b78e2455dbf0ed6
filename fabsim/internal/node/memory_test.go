package node

import (
	"context"
	"runtime"
	"runtime/metrics"
	"testing"
	"time"
)

func released() uint64 {
	samples := []metrics.Sample{{Name: "/memory/classes/heap/released:bytes"}}
	metrics.Read(samples)
	return samples[0].Value.Uint64()
}

// use touches memory: pages that nobody touched are not there.
func use(size int) {
	needed := make([]byte, size)
	for i := range needed {
		needed[i] = 1
	}
	runtime.KeepAlive(needed)
}

// TestMemoryIsGivenBack: what was needed once does not stay with a node that
// rests.
func TestMemoryIsGivenBack(t *testing.T) {
	const size = 64 << 20
	use(size)
	before := released()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	done := make(chan error, 1)
	go func() { done <- giveBack(ctx, 10*time.Millisecond) }()
	for released() < before+size/2 && ctx.Err() == nil {
		runtime.Gosched()
	}
	if ctx.Err() != nil {
		t.Errorf("%d MiB were given back", (released()-before)>>20)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
