package main

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

const million = 1_000_000

// runResident loads a million checks and runs them. The window begins with the
// first run.
func runResident(b *bench) error {
	l, err := b.newLab()
	if err != nil {
		return err
	}
	defer l.close()
	const interval = 5 * time.Minute
	file, err := b.checks("resident", group{name: "resident", count: million, block: 64, interval: interval, probe: l.fresh()})
	if err != nil {
		return err
	}
	b.progress("loading %d checks and running them for %v", million, b.span)
	r, err := b.sonde(childOptions{config: file, span: b.span, profile: b.name}, nil, nil)
	if err != nil {
		return err
	}
	last := r.Samples[len(r.Samples)-1]
	t := new(table)
	t.row("", "measured", "goal")
	t.row("checks", fmt.Sprint(r.Checks), verdict(r.Checks == million))
	t.row("load", r.Load.Round(time.Millisecond).String(), "at most 60 s: "+verdict(r.Load <= time.Minute))
	t.row("CPU of the load", r.LoadCPU.String(), "")
	t.row("RSS after the load", mebibytes(r.LoadRSS), "")
	t.row("RSS at the end", mebibytes(last.RSS), "at most 1536 MiB: "+verdict(last.RSS <= 1536<<20))
	t.row("RSS at its highest", mebibytes(r.PeakRSS), "at most 1536 MiB: "+verdict(r.PeakRSS <= 1536<<20))
	t.row("heap at the end", mebibytes(last.Heap), "")
	t.row("runs in the window", fmt.Sprint(r.Groups[""].Results), fmt.Sprintf("%.0f when spread evenly", million*r.Window.Seconds()/interval.Seconds()))
	t.row("runs of each second, least to most", spread(r.Seconds), fmt.Sprintf("about %.0f", million/interval.Seconds()))
	t.row("CPU per probe", micros(r.perProbe()), "")
	fmt.Fprintf(b.out, "http checks over fresh connections at an interval of %v, all from one `each: {ip: {file: ...}}`.\n\n%s\n%s\n%s\n", interval, t, r.groups(), r.course())
	b.showProfile(b.name)
	return nil
}

// spread returns the least and the most of the whole seconds.
func spread(seconds []uint64) string {
	if len(seconds) < 2 {
		return "-"
	}
	whole := seconds[:len(seconds)-1]
	return fmt.Sprintf("%d to %d", slices.Min(whole), slices.Max(whole))
}

// runLinear measures the same rate of runs with more and more checks.
func runLinear(b *bench) error {
	l, err := b.newLab()
	if err != nil {
		return err
	}
	defer l.close()
	sizes := []int{1_000, 10_000, 100_000, million}
	sides, last := make([]*side, len(sizes)), make([]*Report, len(sizes))
	for i, n := range sizes {
		interval := time.Duration(n) * time.Second / time.Duration(b.rate)
		file, err := b.checks(fmt.Sprint("linear", n), group{name: "tcp", count: n, block: 64, interval: max(interval.Round(time.Millisecond), time.Second), timeout: time.Second, probe: l.tcp()})
		if err != nil {
			return err
		}
		sides[i] = &side{name: fmt.Sprint(n), measure: func() (measure, error) {
			r, err := b.sonde(childOptions{config: file, warmup: 3 * time.Second, span: b.span, profile: fmt.Sprint("linear-", n)}, nil, nil)
			if err != nil {
				return measure{}, err
			}
			last[i] = r
			return r.measure(), nil
		}}
	}
	for round := range b.rounds {
		for _, s := range sides {
			b.progress("round %d: %s checks", round+1, s.name)
			m, err := s.measure()
			if err != nil {
				return err
			}
			s.measured = append(s.measured, m)
		}
	}
	t := new(table)
	t.row("checks", "CPU per probe", "to 1,000 checks", "probes/s", "failed", "late p99", "load", "load per check", "RSS")
	for i, s := range sides {
		r := last[i]
		t.row(s.name, micros(s.median()), fmt.Sprintf("%.2f", float64(s.median())/float64(max(sides[0].median(), 1))),
			fmt.Sprint(s.pace()), fmt.Sprint(s.failures()), millis(r.Groups[""].LateP99),
			r.Load.Round(time.Millisecond).String(), micros(r.Load/time.Duration(r.Checks)), mebibytes(r.Samples[len(r.Samples)-1].RSS))
	}
	fmt.Fprintf(b.out, "tcp checks; the interval grows with their number, so that the rate stays.\n\n%s\n", strings.TrimRight(t.String(), "\n"))
	fmt.Fprintln(b.out)
	for _, n := range sizes {
		b.showProfile(fmt.Sprint("linear-", n))
	}
	return nil
}
