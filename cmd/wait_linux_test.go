package cmd

import (
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestWaitLeavesNoTrace compares what a command finds with and without sonde
// before it: signals that are ignored or blocked, limits, descriptors.
func TestWaitLeavesNoTrace(t *testing.T) {
	const look = `grep -E '^Sig(Blk|Ign)' /proc/self/status; cat /proc/self/limits; ls /proc/self/fd`
	state := func(c *exec.Cmd) string {
		t.Helper()
		out, err := c.Output()
		if err != nil {
			t.Fatal(err)
		}
		return string(out)
	}
	alone := state(exec.Command("sh", "-c", look))
	if diff := cmp.Diff(alone, state(waitFor(t, "sh", "-c", look))); diff != "" {
		t.Error(diff)
	}
	if !regexp.MustCompile(`SigIgn:\s+\w+`).MatchString(alone) || !strings.Contains(alone, "Max open files") {
		t.Errorf("the command found %q", alone)
	}
}

// TestWaitKeepsWhatIsIgnored has signals ignored from the start, as by nohup
// and for a job in the background.
func TestWaitKeepsWhatIsIgnored(t *testing.T) {
	look := []string{"grep", "SigIgn", "/proc/self/status"}
	ignoring := func(command ...string) string {
		out, err := exec.Command("sh", append([]string{"-c", `trap '' HUP INT; exec "$0" "$@"`}, command...)...).Output()
		if err != nil {
			t.Fatal(err)
		}
		return string(out)
	}
	c := waitFor(t, look...)
	got, want := ignoring(append([]string{c.Path}, c.Args[1:]...)...), ignoring(look...)
	if got != want || !regexp.MustCompile(`^SigIgn:\t[0-9a-f]*[37bf]\n$`).MatchString(want) {
		t.Errorf("%q, without sonde %q", got, want)
	}
}
