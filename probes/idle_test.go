package probes

import (
	"context"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"
)

// idleOne makes a link over a pipe. The channel closes when the link does.
func idleOne(ctx context.Context) (*link, <-chan struct{}) {
	ours, theirs := net.Pipe()
	closed := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, theirs)
		close(closed)
	}()
	return &link{conn: guard(ctx, ours)}, closed
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

func TestIdlePoolIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pool := newIdlePool(time.Minute, func() int { return 2 })
		var keepers [3]keeper
		var closed [3]<-chan struct{}
		for i := range keepers {
			var l *link
			l, closed[i] = idleOne(t.Context())
			pool.put(&keepers[i], l)
			<-time.After(10 * time.Second)
		}
		synctest.Wait()
		if !isClosed(closed[0]) || isClosed(closed[1]) || isClosed(closed[2]) {
			t.Error("not the oldest was closed")
		}
		if pool.take(&keepers[0]) != nil {
			t.Error("a closed connection was given out")
		}
		<-time.After(40*time.Second + time.Millisecond) // the second is 60 s old, the third 50 s
		synctest.Wait()
		if !isClosed(closed[1]) || isClosed(closed[2]) {
			t.Error("the time limit is not kept")
		}
		second, secondClosed := idleOne(t.Context())
		pool.put(&keepers[2], second) // its place is taken
		synctest.Wait()
		if !isClosed(secondClosed) {
			t.Error("two connections for one check")
		}
		last, lastClosed := idleOne(t.Context())
		pool.put(&keepers[0], last)
		pool.shed()
		synctest.Wait()
		if !isClosed(lastClosed) || !isClosed(closed[2]) || pool.idle.Len() != 0 {
			t.Error("shed, but kept")
		}
		last, lastClosed = idleOne(t.Context())
		pool.put(&keepers[2], last)
		pool.retire(&keepers[2])
		synctest.Wait()
		if !isClosed(lastClosed) || pool.idle.Len() != 0 {
			t.Error("retired, but kept")
		}
		<-time.After(2 * time.Minute) // the timer runs out
	})
}
