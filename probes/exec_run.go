package probes

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/sonde-cli/sonde/check"
)

const (
	// execDrain is how long a program's pipes are read after it has ended, when
	// another process still holds them.
	execDrain = 100 * time.Millisecond
	// execGrace is how long a killed program may take to be gone, with its pipes.
	// One that hangs in the kernel, as on a dead network file system, takes for
	// ever.
	execGrace = 2 * execDrain
)

// execDone is what became of a program.
type execDone struct {
	ended          bool // of itself, not killed by us
	code           int
	signal         string
	stdout, stderr []byte
	cut, truncated bool // stdout, any of the two was larger than what is kept
}

// run starts the program and waits for it. The reason tells why it did not run
// to its end.
func (p *execProbe) run(ctx context.Context) (*execDone, *check.Reason) {
	if ctx.Err() != nil {
		return nil, new(execCause(ctx.Err()))
	}
	stdout, err := newExecPipe(p.max)
	if err != nil {
		return nil, p.startCause(err)
	}
	stderr, err := newExecPipe(p.max)
	if err != nil {
		stdout.drop()
		return nil, p.startCause(err)
	}
	cmd := exec.CommandContext(ctx, p.command[0], p.command[1:]...)
	cmd.Env, cmd.Dir, cmd.WaitDelay = p.env, p.dir, execDrain
	cmd.Stdout, cmd.Stderr = stdout.write, stderr.write
	if p.stdin != "" {
		cmd.Stdin = strings.NewReader(p.stdin)
	}
	family := newFamily(cmd)
	defer family.close()
	var killed atomic.Bool
	cmd.Cancel = func() error {
		killed.Store(true)
		return family.kill()
	}
	if err := cmd.Start(); err != nil {
		stdout.drop()
		stderr.drop()
		if ctx.Err() != nil {
			return nil, new(execCause(ctx.Err()))
		}
		return nil, p.startCause(err)
	}
	family.started()
	stdout.follow()
	stderr.follow()
	reaped := p.wait(ctx, cmd, stdout, stderr)
	_ = family.kill() // what the program left behind; there may be nothing
	done := &execDone{cut: stdout.dropped(), truncated: stdout.dropped() || stderr.dropped()}
	done.stdout, done.stderr = stdout.take(), stderr.take()
	if !reaped || killed.Load() {
		return done, new(execCause(ctx.Err()))
	}
	done.ended = true
	done.code, done.signal = exitOf(cmd.ProcessState)
	return done, nil
}

// wait returns when the program has ended and all that it wrote is read, or when, killed, it
// does not go within the grace. It reports whether it has ended.
func (p *execProbe) wait(ctx context.Context, cmd *exec.Cmd, pipes ...*execPipe) bool {
	gone := make(chan struct{})
	p.stuck.Add(1)
	go func() {
		_ = cmd.Wait() // the error says what ProcessState and ctx do
		deadline := time.Now().Add(execDrain)
		for _, pipe := range pipes {
			pipe.drain(deadline)
		}
		p.stuck.Add(-1)
		close(gone)
	}()
	select {
	case <-gone:
		return true
	case <-ctx.Done():
	}
	grace := time.NewTimer(execGrace)
	defer grace.Stop()
	select {
	case <-gone:
		return true
	case <-grace.C:
		return false
	}
}

// execCause is that of a run which ctx ended.
func execCause(err error) check.Reason {
	reason := cause(err, check.ExecTimeout)
	if reason.Code == check.ExecTimeout {
		reason.Message = "the program did not end in time and was killed, with all that it had started"
	}
	return reason
}

// startCause tells why a program could not be started, which says nothing about
// what it would have measured.
func (p *execProbe) startCause(err error) *check.Reason {
	name := excerpt([]byte(p.command[0]))
	if p.dir != "" {
		if info, e := os.Stat(p.dir); e != nil || !info.IsDir() {
			return &check.Reason{Code: check.LocalProgram, Message: "there is no directory " + excerpt([]byte(p.dir)) + " to run " + name + " in"}
		}
	}
	reason := startReason(err)
	switch {
	case errors.Is(err, fs.ErrPermission):
		reason = check.Reason{Code: check.LocalPermission, Message: "may not be executed\nhint: chmod +x, and look at the user that sonde runs as"}
	case errors.Is(err, exec.ErrNotFound), errors.Is(err, fs.ErrNotExist):
		reason.Message = "is not there, or the interpreter of its first line is not\nhint: write the whole path"
	}
	return &check.Reason{Code: reason.Code, Message: "cannot run " + name + ": it " + reason.Message}
}

// startReason is that of a system error; one that is not known blames the program.
func startReason(err error) check.Reason {
	code := check.LocalProgram
	if errors.Is(err, syscall.EAGAIN) { // the limit of processes
		code = check.LocalOverload
	} else if known := cause(err, check.LocalProgram).Code; isErrno(err) && known.Local() && known != check.LocalRoute && known != check.LocalPorts {
		code = known
	}
	var path *fs.PathError
	if errors.As(err, &path) {
		err = path.Err
	}
	return check.Reason{Code: code, Message: "failed to start: " + err.Error()}
}

// boundedBuffer keeps the first bytes and drops the rest, so that the writer
// never waits. It is safe for concurrent use, because a program that cannot be
// killed writes on.
type boundedBuffer struct {
	max  int
	mu   sync.Mutex
	kept []byte
	more bool
}

// Write keeps what there is room for and takes it all.
func (b *boundedBuffer) Write(data []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	keep := data[:min(len(data), b.max-len(b.kept))]
	b.more = b.more || len(keep) < len(data)
	if len(keep) > 0 {
		b.kept = append(room(b.kept, len(keep), int64(b.max)), keep...)
	}
	return len(data), nil
}

// take returns what was kept. Nothing is kept from then on.
func (b *boundedBuffer) take() []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.max = len(b.kept)
	return b.kept
}

func (b *boundedBuffer) dropped() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.more
}
