package probes

import (
	"os"
	"runtime"
	"testing"
	"time"
)

// TestExecKeepsWhatIsWritten ends the time for reading before anything is read, as a
// busy machine does: what the program wrote is kept all the same, also when another
// process holds the pipe.
func TestExecKeepsWhatIsWritten(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		return // its pipes cannot be read without waiting
	}
	p, err := newExecPipe(1 << 10)
	if err != nil {
		t.Fatal(err)
	}
	past := time.Now().Add(-time.Second)
	if err := p.read.SetReadDeadline(past); err != nil {
		t.Fatal(err)
	}
	if _, err := p.write.WriteString("written"); err != nil {
		t.Fatal(err)
	}
	program := p.write
	defer program.Close()
	if _, p.write, err = os.Pipe(); err != nil { // what follow closes
		t.Fatal(err)
	}
	p.follow()
	p.drain(past)
	if got := string(p.take()); got != "written" {
		t.Errorf("kept %q", got)
	}
}
