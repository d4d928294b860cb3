//go:build !windows

package probes

import (
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
