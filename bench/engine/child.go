package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"slices"
	"syscall"
	"time"

	"github.com/sonde-cli/sonde/config"
	"github.com/sonde-cli/sonde/internal/memory"
	"github.com/sonde-cli/sonde/probes"
	"github.com/sonde-cli/sonde/scheduler"
)

// Report is what the child that runs the loop tells at its end, as JSON.
type Report struct {
	Checks   int
	Load     time.Duration // of the file
	LoadCPU  time.Duration
	LoadRSS  int64 // bytes, right after that
	PeakRSS  int64 // bytes, at the end
	Window   time.Duration
	CPU      time.Duration // of the whole process in the window
	Busy     time.Duration // of the whole machine in the window
	Missed   uint64        // slots, by the engine's own count
	Stalls   uint64
	Waiting  int    // runs that are due and have no place, at the end
	Width    int    // places, at the end
	Waits    uint64 // results that had to wait for the sink
	Groups   map[string]Group
	Seconds  []uint64 // results of each second of the window
	Samples  []Sample
	Before   Sample // with the checks loaded, before the first run; when settled
	After    Sample // after the last run; when settled
	Problems string // what ended the loop
}

// Sample is the state of the child at one time.
type Sample struct {
	At         time.Duration // since the window began
	CPU        time.Duration // of the process since it began
	RSS        int64         // bytes
	Heap       int64         // bytes that are reachable or not yet swept
	Goroutines int
	FDs        int
}

// perProbe is the CPU time of the whole process for one result.
func (r *Report) perProbe() time.Duration {
	return r.CPU / time.Duration(max(r.Groups[""].Results, 1))
}

// childOptions say what the child is to do.
type childOptions struct {
	config   string
	warmup   time.Duration // before the window
	span     time.Duration // the window
	every    time.Duration // between two samples; 0: a tenth of the span
	inFlight int           // 0: the loop's default
	scrape   time.Duration // between two scrapes of the metrics; 0: none
	settle   bool          // collect garbage before the first run and after the last
	profile  string        // file; empty: none
}

// sonde runs the loop in a process of its own. begun, when there is one, is
// called when the window begins.
func (b *bench) sonde(o childOptions, prefix []string, begun func() error) (*Report, error) {
	argv := slices.Concat(prefix, []string{b.self, "child", "-config", o.config, "-warmup", o.warmup.String(), "-span", o.span.String(),
		"-every", o.every.String(), "-in-flight", fmt.Sprint(o.inFlight), fmt.Sprintf("-settle=%v", o.settle), "-scrape", o.scrape.String()})
	if b.profile != "" && o.profile != "" {
		argv = append(argv, "-cpuprofile", filepath.Join(b.profile, o.profile+".pprof"))
	}
	cmd := exec.CommandContext(b.ctx, argv[0], argv[1:]...)
	var words safeBuffer
	cmd.Stderr = &words
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	lines := bufio.NewReader(out)
	if _, err = lines.ReadString('\n'); err == nil && begun != nil {
		err = begun()
	}
	var r Report
	err = errors.Join(err, json.NewDecoder(lines).Decode(&r), cmd.Wait())
	switch text := words.tail(); {
	case err != nil:
		err = fmt.Errorf("%w: %s", err, text)
	case r.Problems != "":
		err = errors.New(r.Problems)
	}
	return &r, err
}

// child runs the checks of a file in a scheduler.Loop and prints a line when
// the window begins, and a Report at its end.
func child(ctx context.Context, args []string, w io.Writer) error {
	var o childOptions
	flags := flag.NewFlagSet("child", flag.ContinueOnError)
	flags.StringVar(&o.config, "config", "", "file of checks")
	flags.DurationVar(&o.warmup, "warmup", 0, "time before the window")
	flags.DurationVar(&o.span, "span", time.Second, "length of the window")
	flags.DurationVar(&o.every, "every", 0, "time between two samples")
	flags.IntVar(&o.inFlight, "in-flight", 0, "runs at once")
	flags.DurationVar(&o.scrape, "scrape", 0, "time between two scrapes of the metrics")
	flags.BoolVar(&o.settle, "settle", false, "collect garbage before the first run and after the last, and sample")
	flags.StringVar(&o.profile, "cpuprofile", "", "file for a CPU profile of the window")
	if err := flags.Parse(args); err != nil {
		return err
	}
	began := time.Now()
	loader := config.Loader{Kinds: probes.Kinds(), LookupEnv: os.LookupEnv, Version: "bench"}
	set, err := loader.Load(ctx, o.config)
	if err != nil {
		return err
	}
	r := &Report{Checks: len(set.Checks), Load: time.Since(began), LoadRSS: resident("VmRSS")}
	if r.LoadCPU, err = cpuOf("self"); err != nil {
		return err
	}
	daemon := newDaemon(&o)
	loop, sink := daemon.loop, daemon.recorder
	if o.settle {
		runtime.GC()
		r.Before = sample(began)
	}
	daemon.web.SetChecks(set.Checks)
	loop.Replace(set.Checks)
	memory.Relax()
	ended := make(chan error, 1)
	go func() { ended <- loop.Run(ctx) }()
	if err := pause(ctx, o.warmup); err != nil {
		return err
	}
	if o.scrape > 0 {
		go daemon.scrape(ctx, o.scrape)
	}
	fmt.Fprintln(w, "begun")
	if err := r.watch(ctx, &o, loop, sink); err != nil {
		return err
	}
	loop.Stop()
	if err := <-ended; err != nil {
		r.Problems = err.Error()
	}
	if o.settle {
		runtime.GC()
		r.After = sample(began)
	}
	return json.NewEncoder(w).Encode(r)
}

// watch measures the window.
func (r *Report) watch(ctx context.Context, o *childOptions, loop *scheduler.Loop, sink *recorder) error {
	stop, err := profile(o.profile)
	if err != nil {
		return err
	}
	defer stop()
	every := o.every
	if every <= 0 {
		every = max(o.span/10, time.Second)
	}
	sink.reset()
	began, stats := time.Now(), loop.Stats()
	cpu, err := cpuOf("self")
	if err != nil {
		return err
	}
	machine, err := busy()
	if err != nil {
		return err
	}
	r.Samples = append(r.Samples, sample(began))
	for left := o.span; left > 0; left = o.span - time.Since(began) {
		if err := pause(ctx, min(every, left)); err != nil {
			return err
		}
		r.Samples = append(r.Samples, sample(began))
	}
	r.Window = time.Since(began)
	r.Groups, r.Seconds = sink.report()
	last := r.Samples[len(r.Samples)-1]
	end := loop.Stats()
	machineEnd, err := busy()
	r.CPU, r.Busy = last.CPU-cpu, machineEnd-machine
	r.Missed, r.Stalls, r.Waits = end.Missed-stats.Missed, end.Stalls-stats.Stalls, end.OutboxWaits-stats.OutboxWaits
	r.Waiting, r.Width, r.PeakRSS = end.Waiting, end.Width, resident("VmHWM")
	return err
}

func sample(began time.Time) Sample {
	s := Sample{At: time.Since(began), RSS: resident("VmRSS"), Goroutines: runtime.NumGoroutine()}
	s.CPU, _ = cpuOf("self") // it was readable when the window began
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	s.Heap = int64(m.HeapAlloc)
	open, _ := os.ReadDir("/proc/self/fd")
	s.FDs = len(open)
	return s
}

func profile(file string) (stop func(), err error) {
	if file == "" {
		return func() {}, nil
	}
	f, err := os.Create(file)
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return nil, err
	}
	return func() {
		pprof.StopCPUProfile()
		f.Close()
	}, nil
}
