package probes

import (
	"context"
	"errors"
	"net"
	"os"
	"sync"
	"time"
)

// guarded is a connection that lives no longer than its context: it carries
// the deadline, every blocked call returns when the context is cancelled, and
// then fails with context.Canceled and not with a timeout.
type guarded struct {
	net.Conn
	ctx     context.Context
	bound   sync.Once
	release func() bool // ends the watch for cancellation
}

// past interrupts blocked calls.
var past = time.Unix(1, 0)

// guard binds the connection to ctx. Closing it ends the watch. A connection
// that is closed without being used, as a plain connect check does, costs no
// timer and no watch: they begin with the first use.
func guard(ctx context.Context, conn net.Conn) *guarded {
	return &guarded{Conn: conn, ctx: ctx}
}

func (g *guarded) bind() {
	if deadline, ok := g.ctx.Deadline(); ok {
		g.Conn.SetDeadline(deadline)
	}
	g.release = afterEnd(g.ctx, func() { g.Conn.SetDeadline(past) })
}

// afterEnd calls f when ctx ends, as context.AfterFunc does. A context that can
// do so itself spares the allocations of one below it.
func afterEnd(ctx context.Context, f func()) (stop func() bool) {
	if own, ok := ctx.(interface{ AfterFunc(func()) func() bool }); ok {
		return own.AfterFunc(f)
	}
	return context.AfterFunc(ctx, f)
}

// detach ends the binding to the context, so that the connection can be kept
// for another. It reports false when the context has interrupted it, which
// leaves it unusable. Until attach, nothing on the connection can block.
func (g *guarded) detach() bool {
	if g.release != nil && !g.release() {
		return false
	}
	g.ctx, g.release = endedContext, nil
	return true
}

// attach binds a detached connection to the next context.
func (g *guarded) attach(ctx context.Context) {
	g.ctx, g.bound = ctx, sync.Once{}
}

// endedContext is a context that has ended.
var endedContext = func() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}()

// Read reads as [net.Conn] does.
func (g *guarded) Read(b []byte) (int, error) {
	g.bound.Do(g.bind)
	n, err := g.Conn.Read(b)
	return n, g.explain(err)
}

// Write writes as [net.Conn] does.
func (g *guarded) Write(b []byte) (int, error) {
	g.bound.Do(g.bind)
	n, err := g.Conn.Write(b)
	return n, g.explain(err)
}

func (g *guarded) explain(err error) error {
	if err != nil && errors.Is(err, os.ErrDeadlineExceeded) && errors.Is(g.ctx.Err(), context.Canceled) {
		return context.Canceled
	}
	return err
}

// Close closes the connection and ends the watch for cancellation.
func (g *guarded) Close() error {
	g.bound.Do(func() {}) // from now on it is too late
	if g.release != nil {
		g.release()
	}
	return g.Conn.Close()
}

// SetDeadline sets a deadline that is not after the context's own.
func (g *guarded) SetDeadline(t time.Time) error { return g.set(g.Conn.SetDeadline, t) }

// SetReadDeadline sets a deadline that is not after the context's own.
func (g *guarded) SetReadDeadline(t time.Time) error { return g.set(g.Conn.SetReadDeadline, t) }

// SetWriteDeadline sets a deadline that is not after the context's own.
func (g *guarded) SetWriteDeadline(t time.Time) error { return g.set(g.Conn.SetWriteDeadline, t) }

func (g *guarded) set(set func(time.Time) error, t time.Time) error {
	g.bound.Do(g.bind)
	if deadline, ok := g.ctx.Deadline(); ok && (t.IsZero() || t.After(deadline)) {
		t = deadline
	}
	err := set(t)
	if g.ctx.Err() != nil { // the cancellation came first and was overwritten
		err = set(past)
	}
	return err
}
