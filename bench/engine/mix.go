package main

import (
	"fmt"
	"maps"
	"runtime"
	"slices"
	"time"
)

// The mix: percent of the runs.
const (
	mixReused = 40
	mixFresh  = 10
	mixTCP    = 20
	mixDNS    = 20
	mixICMP   = 10
)

// mix returns the groups of the mix at a rate, each check once a second.
func (b *bench) mix(l *lab) []group {
	of := func(percent int) int { return b.rate * percent / 100 }
	groups := []group{
		{name: "http reused", count: of(mixReused), block: 16, probe: l.reused()},
		{name: "http fresh", count: of(mixFresh), block: 17, probe: l.fresh()},
		{name: "tcp", count: of(mixTCP), block: 18, probe: l.tcp()},
		{name: "dns", count: of(mixDNS), block: 19, probe: l.dns()},
		{name: "icmp", count: of(mixICMP), block: 20, probe: icmp},
	}
	if !b.reuses() {
		fmt.Fprintf(b.out, "http reused: %s; only the other %d %% of the mix is measured, so the goal is open.\n\n", reuseMissing, 100-mixReused)
		groups = groups[1:]
	}
	for i := range groups {
		groups[i].interval = time.Second
	}
	return groups
}

// runMix is the scenarios peak and steady.
func runMix(b *bench) error {
	l, err := b.newLab()
	if err != nil {
		return err
	}
	defer l.close()
	fmt.Fprintf(b.out, "%sEach check runs once a second; the targets share the cores. Scrapes of the metrics: %s.\n\n", b.versions(), every(b.scrape))
	groups := b.mix(l)
	file, err := b.checks(b.name, groups...)
	if err != nil {
		return err
	}
	b.progress("measuring for %v", b.span)
	var before time.Duration
	r, err := b.sonde(childOptions{config: file, warmup: 5 * time.Second, span: b.span, settle: true, scrape: b.scrape, profile: b.name}, nil, func() (err error) {
		before, err = l.cpu()
		return err
	})
	if err != nil {
		return err
	}
	after, err := l.cpu()
	if err != nil {
		return err
	}
	cores := func(d time.Duration) float64 { return d.Seconds() / r.Window.Seconds() }
	fmt.Fprintf(b.out, "%s\n", r.groups())
	all := r.Groups[""]
	fmt.Fprintf(b.out, "%d checks, %.0f runs/s, %s of CPU per probe: %.2f cores for sonde, %.2f for the targets, %.2f for whatever else ran. Missed by the engine's count: %d. Stalls: %d.\n\n",
		r.Checks, float64(all.Results)/r.Window.Seconds(), micros(r.perProbe()), cores(r.CPU), cores(after-before), cores(r.Busy-r.CPU-(after-before)), r.Missed, r.Stalls)
	defer b.showProfile(b.name)
	if b.name == "peak" {
		each := (after - before).Seconds() / float64(max(all.Results, 1))
		fmt.Fprintf(b.out, "At %d runs/s the targets alone would take %.2f of the machine's %d cores.\n\n", b.rate, each*float64(b.rate), runtime.NumCPU())
		fmt.Fprintf(b.out, "Goal: none missed: %s.\n\n", verdict(r.Missed == 0))
		return nil
	}
	fmt.Fprintf(b.out, "Goal: p99 of lateness under 10 ms: %s.\n\n%s\n%s\n", verdict(all.LateP99 < 10*time.Millisecond), r.course(), r.drift())
	return nil
}

func every(d time.Duration) string {
	if d <= 0 {
		return "none"
	}
	return "every " + d.String()
}

// groups shows a row for each group of checks and one for all.
func (r *Report) groups() *table {
	t := new(table)
	t.row("checks", "runs", "up", "missed", "late p50", "late p99", "late max", "latency p50", "latency p99", "reused", "not up")
	names := slices.Sorted(maps.Keys(r.Groups))
	for _, name := range append(names[1:], "") { // all, which is "", is the first
		g := r.Groups[name]
		if name == "" {
			name = "all"
		}
		t.row(name, fmt.Sprint(g.Results), fmt.Sprint(g.Up), fmt.Sprint(g.Missed), millis(g.LateP50), millis(g.LateP99), millis(g.LateMax),
			millis(g.LatencyP50), millis(g.LatencyP99), percent(g.Reused, g.Results), reasons(g.Reasons))
	}
	return t
}

func percent(part, of uint64) string {
	if part == 0 {
		return ""
	}
	return fmt.Sprintf("%.1f %%", 100*float64(part)/float64(of))
}

func reasons(all map[string]uint64) string {
	text := ""
	for i, code := range slices.Sorted(maps.Keys(all)) {
		if i > 0 {
			text += ", "
		}
		text += fmt.Sprintf("%s %d", code, all[code])
	}
	return text
}

// drift compares the first third of the window with the last, and the process
// before the first run with itself after the last.
func (r *Report) drift() *table {
	t := new(table)
	t.row("", "CPU", "RSS", "heap", "goroutines", "descriptors")
	if third := (len(r.Samples) - 1) / 3; third > 0 {
		first, last := r.Samples[:third+1], r.Samples[len(r.Samples)-third-1:]
		t.row(append([]string{"mean of the first third"}, mean(first)...)...)
		t.row(append([]string{"mean of the last third"}, mean(last)...)...)
	}
	t.row(r.Before.row("before the first run")...)
	t.row(r.After.row("after the last run")...)
	return t
}

func (s Sample) row(name string) []string {
	return []string{name, "", mebibytes(s.RSS), mebibytes(s.Heap), fmt.Sprint(s.Goroutines), fmt.Sprint(s.FDs)}
}

// mean returns the cells of some samples in a row.
func mean(samples []Sample) []string {
	first, last := samples[0], samples[len(samples)-1]
	var rss, heap, goroutines, fds int64
	for _, s := range samples[1:] {
		rss, heap, goroutines, fds = rss+s.RSS, heap+s.Heap, goroutines+int64(s.Goroutines), fds+int64(s.FDs)
	}
	n := int64(len(samples) - 1)
	cores := (last.CPU - first.CPU).Seconds() / (last.At - first.At).Seconds()
	return []string{fmt.Sprintf("%.2f cores", cores), mebibytes(rss / n), mebibytes(heap / n), fmt.Sprint(goroutines / n), fmt.Sprint(fds / n)}
}

// course shows how the process fared over time.
func (r *Report) course() *table {
	t := new(table)
	t.row("after", "CPU since the row before", "RSS", "heap", "goroutines", "descriptors")
	var cpu, at time.Duration
	for i, s := range r.Samples {
		cores := ""
		if i > 0 {
			cores = fmt.Sprintf("%.2f cores", (s.CPU-cpu).Seconds()/(s.At-at).Seconds())
		}
		t.row(s.At.Round(time.Second).String(), cores, mebibytes(s.RSS), mebibytes(s.Heap), fmt.Sprint(s.Goroutines), fmt.Sprint(s.FDs))
		cpu, at = s.CPU, s.At
	}
	return t
}
