package probes

import (
	"io"
	"os"
	"os/exec"
	"unsafe"

	"golang.org/x/sys/windows"
)

// family is a program with all that it starts: a job object. What it starts
// before it is put there, in its first instants, is not in it.
type family struct {
	cmd *exec.Cmd
	job windows.Handle // 0: there is none, and the program alone is killed
}

func newFamily(cmd *exec.Cmd) *family {
	f := &family{cmd: cmd}
	job, err := windows.CreateJobObject(nil, nil)
	if err != nil {
		return f
	}
	limits := windows.JOBOBJECT_EXTENDED_LIMIT_INFORMATION{}
	limits.BasicLimitInformation.LimitFlags = windows.JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE
	if _, err := windows.SetInformationJobObject(job, windows.JobObjectExtendedLimitInformation,
		uintptr(unsafe.Pointer(&limits)), uint32(unsafe.Sizeof(limits))); err != nil {
		_ = windows.CloseHandle(job) // it is empty
		return f
	}
	f.job = job
	return f
}

// started puts the program into the job.
func (f *family) started() {
	if f.job == 0 {
		return
	}
	process, err := windows.OpenProcess(windows.PROCESS_SET_QUOTA|windows.PROCESS_TERMINATE, false, uint32(f.cmd.Process.Pid))
	if err != nil {
		return // it has ended
	}
	_ = windows.AssignProcessToJobObject(f.job, process) // failing that, kill ends the program alone
	_ = windows.CloseHandle(process)                     // ours, not the program
}

// kill ends all of the job.
func (f *family) kill() error {
	if f.job != 0 {
		_ = windows.TerminateJobObject(f.job, 1) // the program itself is killed in any case
	}
	return f.cmd.Process.Kill()
}

func (f *family) close() {
	if f.job != 0 {
		_ = windows.CloseHandle(f.job) // kills what is left in it
	}
}

// exitOf returns the exit code. There are no signals.
func exitOf(state *os.ProcessState) (code int, signal string) { return state.ExitCode(), "" }

// readRest reads nothing: there is no way that does not wait.
func readRest(*os.File, io.Writer) {}
