package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// tick is the unit of the times in /proc: Linux shows them in hundredths of a
// second on every platform that Go knows.
const tick = time.Second / 100

// cpuOf returns the CPU time, user and system, of a process with all of its
// threads, those that ended included. pid is a number or "self".
func cpuOf(pid string) (time.Duration, error) {
	stat, err := os.ReadFile("/proc/" + pid + "/stat")
	if err != nil {
		return 0, err
	}
	// The name in the second field may hold anything, parentheses too.
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) < 13 {
		return 0, fmt.Errorf("/proc/%s/stat has %d fields", pid, len(fields))
	}
	user, err := strconv.ParseInt(fields[11], 10, 64)
	if err != nil {
		return 0, err
	}
	system, err := strconv.ParseInt(fields[12], 10, 64)
	return time.Duration(user+system) * tick, err
}

// busy returns the CPU time that the whole machine has spent on anything.
func busy() (time.Duration, error) {
	stat, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, err
	}
	line, _, _ := strings.Cut(string(stat), "\n")
	var sum int64
	for i, f := range strings.Fields(line)[1:] {
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return 0, err
		}
		if i < 8 && i != 3 && i != 4 { // user to steal, without idle and iowait
			sum += n
		}
	}
	return time.Duration(sum) * tick, nil
}

// resident returns a line of /proc/self/status, such as VmRSS, in bytes.
func resident(key string) int64 {
	n, _ := strconv.ParseInt(strings.TrimSuffix(field("/proc/self/status", key), " kB"), 10, 64)
	return n << 10
}

// process is a program that runs until it is stopped.
type process struct {
	cmd    *exec.Cmd
	output safeBuffer
	done   chan struct{}
	err    error // of Wait, once done
}

// safeBuffer may be read while it is written.
type safeBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buf.Write(p)
}

// tail returns the last lines.
func (s *safeBuffer) tail() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	text := strings.TrimSpace(s.buf.String())
	return text[max(0, len(text)-1000):]
}

// launch starts a program. It is killed when the bench is interrupted.
func (b *bench) launch(env []string, argv ...string) (*process, error) {
	p := &process{cmd: exec.CommandContext(b.ctx, argv[0], argv[1:]...), done: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.Stdout, p.cmd.Stderr = &p.output, &p.output
	p.cmd.Cancel = func() error { return p.cmd.Process.Signal(syscall.SIGTERM) }
	p.cmd.WaitDelay = 5 * time.Second
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

func (p *process) pid() string { return strconv.Itoa(p.cmd.Process.Pid) }

// alive returns an error with the program's last words when it has ended.
func (p *process) alive() error {
	select {
	case <-p.done:
		return fmt.Errorf("%s ended: %w\n%s", p.cmd.Args[0], p.err, p.output.tail())
	default:
		return nil
	}
}

// stop ends the program and waits for it.
func (p *process) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may have ended by itself
	select {
	case <-p.done:
	case <-time.After(5 * time.Second):
		_ = p.cmd.Process.Kill()
		<-p.done
	}
}

// window measures the CPU of the process while f runs.
func (p *process) window(f func() error) (time.Duration, error) {
	before, err := cpuOf(p.pid())
	if err != nil {
		return 0, errors.Join(p.alive(), err)
	}
	if err := f(); err != nil {
		return 0, errors.Join(p.alive(), err)
	}
	after, err := cpuOf(p.pid())
	return after - before, errors.Join(p.alive(), err)
}

// complete runs a program to its end and returns what it printed, and its CPU
// time.
func (b *bench) complete(argv ...string) (out string, cpu time.Duration, err error) {
	cmd := exec.CommandContext(b.ctx, argv[0], argv[1:]...)
	text, err := cmd.CombinedOutput()
	if cmd.ProcessState != nil {
		cpu = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	}
	if err != nil {
		err = fmt.Errorf("%s: %w\n%s", strings.Join(argv, " "), err, text[max(0, len(text)-1000):])
	}
	return string(text), cpu, err
}

// pause waits, or returns the reason for which it must not.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
