//go:build oracle && linux

package probes

import (
	"math"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/sonde-cli/sonde/check"
	"github.com/sonde-cli/sonde/internal/testnet"
)

// pluginDir is where Debian's monitoring-plugins-basic has its plugins.
const pluginDir = "/usr/lib/nagios/plugins/"

func observePlugin(t *testing.T, name string, args ...string) check.Observation {
	t.Helper()
	if _, err := os.Stat(pluginDir + name); err != nil {
		t.Fatal(err)
	}
	return observeExec(t, "", func(o *execOptions) {
		o.Command, o.Nagios = append([]string{pluginDir + name}, args...), true
	})
}

// datum is a member of what a plugin said of a label.
func datum(t *testing.T, o check.Observation, label, member string) float64 {
	t.Helper()
	all, _ := o.Facts.Get("perfdata").(map[string]any)
	of, _ := all[label].(map[string]any)
	value, ok := of[member].(float64)
	if !ok {
		t.Errorf("no %s of %s in %v; %v", member, label, all, o.Failure)
	}
	return value
}

func TestOraclePluginStates(t *testing.T) {
	for code, state := range pluginStates {
		o := observePlugin(t, "check_dummy", strconv.Itoa(code), "the text")
		want := check.Code("")
		if state == "unknown" {
			want = check.LocalProgram
		}
		wantFailure(t, o, want)
		wantFacts(t, o, check.FactsOf(map[string]any{"state": state, "exit_code": code}))
	}
}

func TestOraclePluginTCP(t *testing.T) {
	host, port := listen(t, testnet.Say("hello\r\n"))
	o := observePlugin(t, "check_tcp", "-H", host, "-p", port, "-w", "2", "-c", "3")
	wantFacts(t, o, check.FactsOf(map[string]any{"state": "ok"}))
	perf, _ := o.Facts.Get("perf").(map[string]any)
	took, ok := perf["time"].(float64)
	if !ok || took <= 0 || took > o.Latency.Seconds() {
		t.Errorf("the plugin says %v s, the run took %v", perf["time"], o.Latency)
	}
	wantFacts(t, observePlugin(t, "check_tcp", "-H", host, "-p", port, "-e", "other", "-M", "crit", "-t", "2"), check.FactsOf(map[string]any{"state": "critical"}))
	host, port = refused(t)
	wantFacts(t, observePlugin(t, "check_tcp", "-H", host, "-p", port), check.FactsOf(map[string]any{"state": "critical"}))
}

func TestOraclePluginLoad(t *testing.T) {
	o := observePlugin(t, "check_load", "-w", "1000,900,800", "-c", "2000,1900,1800")
	wantFacts(t, o, check.FactsOf(map[string]any{"state": "ok"}))
	all := o.Facts.Get("perfdata").(map[string]any)
	for label, want := range map[string][2]float64{"load1": {1000, 2000}, "load5": {900, 1900}, "load15": {800, 1800}} {
		of, _ := all[label].(map[string]any)
		for i, threshold := range []string{"warn", "crit"} {
			if r, _ := of[threshold].(map[string]any); r["start"] != 0.0 || r["end"] != want[i] || r["inside"] != false {
				t.Errorf("%s of %s is %v", threshold, label, r)
			}
		}
		if datum(t, o, label, "value") < 0 {
			t.Errorf("%s is negative", label)
		}
	}
}

// TestOraclePluginDisk compares bytes with those of the kernel.
func TestOraclePluginDisk(t *testing.T) {
	var fs syscall.Statfs_t
	if err := syscall.Statfs("/", &fs); err != nil {
		t.Fatal(err)
	}
	o := observePlugin(t, "check_disk", "-w", "0%", "-c", "0%", "-p", "/")
	total := float64(fs.Blocks) * float64(fs.Frsize) // older plugins round to whole MB
	if got := datum(t, o, "/", "max"); math.Abs(got-total) > 2<<20 {
		t.Errorf("the plugin says %.0f bytes, the kernel %.0f", got, total)
	}
}

// TestOracleExecLeavesNothing makes 10,000 runs, half of which are killed.
func TestOracleExecLeavesNothing(t *testing.T) {
	plans := []check.Plan{
		buildExec(t, "", func(o *execOptions) { o.Command = []string{"true"} }),
		buildExec(t, "", func(o *execOptions) { o.Command, o.Stdin = []string{"sleep", "60"}, "x" }),
		buildExec(t, "", func(o *execOptions) { o.Command = []string{"/no/such/program"} }),
		buildExec(t, "", func(o *execOptions) { o.Command = []string{"yes"} }),
	}
	run := func(n int) {
		var workers sync.WaitGroup
		for w := range 8 {
			workers.Go(func() {
				for i := w; i < n; i += 8 {
					plans[i/8%len(plans)].Probe.Observe(timeout(t, 5*time.Millisecond))
				}
			})
		}
		workers.Wait()
	}
	run(50)
	before := descriptors(t)
	run(10_000)
	if after := descriptors(t); after > before+8 {
		t.Errorf("%d descriptors before, %d after", before, after)
	}
	out, err := exec.Command("ps", "-o", "stat=,comm=", "--ppid", strconv.Itoa(os.Getpid())).Output()
	if left := strings.Count(string(out), "sleep") + strings.Count(string(out), "yes") + strings.Count(string(out), "defunct"); left > 0 {
		t.Errorf("%d programs are left: %s, %v", left, out, err)
	}
}
