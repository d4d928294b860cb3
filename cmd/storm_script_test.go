package cmd

import (
	"encoding/json"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// storm sends a daemon many SIGHUP in a short time and puts another file in
// place before each, in turn: storm NAME COUNT FILE VERSION...
func storm(ts *testscript.TestScript, _ bool, args []string) {
	count, err := strconv.Atoi(args[1])
	ts.Check(err)
	process, file, versions := daemonsOf(ts).running[args[0]].cmd.Process, ts.MkAbs(args[2]), args[3:]
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for i := range count {
		ts.Check(os.WriteFile(file+".new", []byte(ts.ReadFile(versions[i%len(versions)])), 0o600))
		ts.Check(os.Rename(file+".new", file))
		ts.Check(process.Signal(syscall.SIGHUP))
		<-tick.C
	}
}

// unbroken demands of the NDJSON results of checks that run each second that
// none is lost: they are numbered from 1 on, and each slot had a run or is
// counted as missed: unbroken FILE COUNT PREFIX, for COUNT checks whose id
// begins so.
func unbroken(ts *testscript.TestScript, _ bool, args []string) {
	type result struct {
		ID        string
		Seq       uint64
		Missed    int
		Scheduled time.Time
	}
	last := make(map[string]result)
	for line := range strings.Lines(ts.ReadFile(args[0])) {
		var r result
		ts.Check(json.Unmarshal([]byte(line), &r))
		if !strings.HasPrefix(r.ID, args[2]) {
			continue
		}
		before, known := last[r.ID]
		slots := int(r.Scheduled.Sub(before.Scheduled).Round(time.Second) / time.Second)
		if r.Seq != before.Seq+1 || known && slots != r.Missed+1 {
			ts.Fatalf("%d slots between two results\n%+v\n%+v", slots, before, r)
		}
		last[r.ID] = r
	}
	if strconv.Itoa(len(last)) != args[1] {
		ts.Fatalf("results of %d checks, want %s", len(last), args[1])
	}
}
