package scheduler

import (
	"sync"

	"github.com/sonde-cli/sonde/check"
)

// outbox hands results to the sink in batches, from one goroutine. When the
// sink is behind by the outbox's size, the producer of a further result waits:
// nothing is lost, and the runs that this holds up are counted as missed.
type outbox struct {
	mu       sync.Mutex
	filled   *sync.Cond
	emptied  *sync.Cond
	pending  []check.Result
	size     int
	closed   bool
	blocked  uint64 // producers that had to wait
	failed   uint64 // results that the sink refused
	firstErr error
}

func newOutbox(size int) *outbox {
	b := &outbox{size: size}
	b.filled, b.emptied = sync.NewCond(&b.mu), sync.NewCond(&b.mu)
	return b
}

func (b *outbox) put(r *check.Result) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.pending) >= b.size {
		b.blocked++
		for len(b.pending) >= b.size {
			b.emptied.Wait()
		}
	}
	b.pending = append(b.pending, *r)
	if len(b.pending) == 1 {
		b.filled.Signal()
	}
}

// close ends drain once everything is out.
func (b *outbox) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	b.filled.Signal()
}

// drain passes the results on until the outbox is closed and empty.
func (b *outbox) drain(stages []check.Stage, sink check.Sink) {
	var batch []check.Result
	for {
		b.mu.Lock()
		for len(b.pending) == 0 && !b.closed {
			b.filled.Wait()
		}
		batch, b.pending = b.pending, batch[:0]
		b.emptied.Broadcast()
		b.mu.Unlock()
		if len(batch) == 0 {
			return
		}
		for i := range batch {
			for _, stage := range stages {
				batch[i] = stage(batch[i])
			}
			if err := sink.Put(batch[i]); err != nil {
				b.fail(err)
			}
		}
		clear(batch)
	}
}

func (b *outbox) fail(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.failed++
	if b.firstErr == nil {
		b.firstErr = err
	}
}
