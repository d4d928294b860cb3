package probes

import (
	"io"
	"os"
	"time"
)

// execPipe is one of the pipes that a program writes to, and what is kept of it. It
// is ours and not that of os/exec, which closes pipes after a time with what is still
// in them: on a busy machine, a program that has ended would have said nothing.
type execPipe struct {
	*boundedBuffer
	read, write *os.File
	ended       chan struct{} // nothing is read in the background any more
}

func newExecPipe(limit int) (*execPipe, error) {
	read, write, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	return &execPipe{boundedBuffer: &boundedBuffer{max: limit}, read: read, write: write, ended: make(chan struct{})}, nil
}

// follow reads in the background, once the program has the other end.
func (p *execPipe) follow() {
	p.write.Close()
	go func() {
		defer close(p.ended)
		_, _ = io.Copy(p, p.read)
	}()
}

// drain returns when all is read, the program having ended. When another process
// still holds the pipe, that is what comes until the deadline and what is in the pipe
// by then.
func (p *execPipe) drain(deadline time.Time) {
	defer p.read.Close()
	if err := p.read.SetReadDeadline(deadline); err != nil { // Windows has none
		late := time.NewTimer(time.Until(deadline))
		defer late.Stop()
		select {
		case <-p.ended:
		case <-late.C:
		}
		return
	}
	<-p.ended
	_ = p.read.SetReadDeadline(time.Time{})
	readRest(p.read, p)
}

// drop closes a pipe that no program got.
func (p *execPipe) drop() {
	p.read.Close()
	p.write.Close()
}
