//go:build !windows

package probes

import (
	"io"
	"os"
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"
)

// family is a program with all that it starts: a process group of its own.
type family struct{ cmd *exec.Cmd }

func newFamily(cmd *exec.Cmd) *family {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return &family{cmd: cmd}
}

func (f *family) started() {}

// kill ends the whole group. The number of a group is not given to another
// process while one of its members lives.
func (f *family) kill() error { return syscall.Kill(-f.cmd.Process.Pid, syscall.SIGKILL) }

func (f *family) close() {}

// exitOf returns the exit code as a shell has it, and the signal's name.
func exitOf(state *os.ProcessState) (code int, signal string) {
	status, ok := state.Sys().(syscall.WaitStatus)
	if !ok || !status.Signaled() {
		return state.ExitCode(), ""
	}
	name := unix.SignalName(status.Signal())
	if name == "" {
		name = status.Signal().String()
	}
	return 128 + int(status.Signal()), name
}

// readRest reads what is in a pipe, and waits for nothing. It is bounded by the
// largest pipe of Linux, for a process that is left may write on.
func readRest(pipe *os.File, into io.Writer) {
	const largestPipe = 1 << 20
	raw, err := pipe.SyscallConn()
	if err != nil {
		return
	}
	buffer := make([]byte, 32<<10)
	for rest := largestPipe; rest > 0; {
		var n int
		var failed error
		closed := raw.Read(func(fd uintptr) bool {
			n, failed = syscall.Read(int(fd), buffer)
			return true
		})
		switch {
		case closed == nil && failed == syscall.EINTR:
		case closed != nil || failed != nil || n <= 0:
			return
		default:
			_, _ = into.Write(buffer[:n])
			rest -= n
		}
	}
}
