package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"time"
)

// measure is one measurement of one program.
type measure struct {
	probes, failed uint64
	cpu            time.Duration // of the whole process
	window         time.Duration
}

func (m measure) each() time.Duration { return m.cpu / time.Duration(max(m.probes, 1)) }

// side is one program of a contest.
type side struct {
	name     string
	version  string
	command  string
	missing  string                  // why it cannot be measured; empty when it can
	goal     float64                 // most that sonde may cost, as a part of this; 0: none
	measure  func() (measure, error) // one round
	measured []measure
}

// needs returns why a program cannot be run, or nothing.
func needs(program string) string {
	if _, err := exec.LookPath(program); err != nil {
		return "not on PATH"
	}
	return ""
}

// contest is sonde, its first side, next to others with the same kind of probe.
type contest struct {
	title string
	note  string
	sides []*side
}

// run measures all sides in interleaved rounds and shows the table.
func (b *bench) contest(c *contest) error {
	if !b.wants(c.title) {
		return nil
	}
	for round := range b.rounds {
		for _, s := range c.sides {
			if s.missing != "" {
				continue
			}
			b.progress("%s, round %d: %s", c.title, round+1, s.name)
			m, err := s.measure()
			if b.ctx.Err() != nil {
				return b.ctx.Err()
			}
			if err == nil && m.probes == 0 {
				err = errors.New("it made no probe")
			}
			if err != nil {
				s.missing = "failed: " + oneLine(err)
				continue
			}
			s.measured = append(s.measured, m)
		}
	}
	c.show(b)
	return nil
}

// show writes the table: CPU per probe and what part of it sonde costs.
func (c *contest) show(b *bench) {
	t := new(table)
	t.row("program", "CPU per probe", "min-max", "probes/s", "failed", "sonde / this", "goal")
	sonde := c.sides[0].median()
	for i, s := range c.sides {
		if s.missing != "" {
			t.row(s.name, "-", "-", "-", "-", "-", s.missing)
			continue
		}
		ratio, goal := "", ""
		if r := float64(sonde) / float64(max(s.median(), 1)); i > 0 && sonde > 0 {
			ratio = fmt.Sprintf("%.2f", r)
			if s.goal > 0 {
				goal = fmt.Sprintf("at most %.2f: %s", s.goal, verdict(r <= s.goal))
			}
		}
		low, high := s.bounds()
		t.row(s.name, micros(s.median()), fmt.Sprintf("%s-%s", strings.TrimSuffix(micros(low), " us"), micros(high)),
			fmt.Sprint(s.pace()), fmt.Sprint(s.failures()), ratio, goal)
	}
	fmt.Fprintf(b.out, "### %s\n\n%s\n", c.title, t)
	if c.note != "" {
		fmt.Fprintf(b.out, "%s\n\n", c.note)
	}
	for _, s := range c.sides {
		if s.missing == "" {
			fmt.Fprintf(b.out, "- %s (%s): `%s`\n", s.name, cmp.Or(s.version, "of this checkout"), strings.ReplaceAll(strings.ReplaceAll(s.command, b.dir, "DIR"), b.self, "engine"))
		}
	}
	fmt.Fprintln(b.out)
}

func (s *side) sorted() []time.Duration {
	var all []time.Duration
	for _, m := range s.measured {
		all = append(all, m.each())
	}
	slices.Sort(all)
	return all
}

func (s *side) median() time.Duration {
	all := s.sorted()
	if len(all) == 0 {
		return 0
	}
	return all[len(all)/2]
}

func (s *side) bounds() (low, high time.Duration) {
	all := s.sorted()
	return all[0], all[len(all)-1]
}

// pace is the mean rate of probes.
func (s *side) pace() int {
	var probes, seconds float64
	for _, m := range s.measured {
		probes, seconds = probes+float64(m.probes), seconds+m.window.Seconds()
	}
	return int(probes / max(seconds, 1e-9))
}

func (s *side) failures() (n uint64) {
	for _, m := range s.measured {
		n += m.failed
	}
	return n
}

// sondeSide is sonde with one kind of probe at a rate, each check once a second.
func (b *bench) sondeSide(name, probe string, block, rate int) *side {
	s := &side{name: "sonde", command: fmt.Sprintf("%d checks, interval 1s, %s", rate, probe)}
	file, err := b.checks(name, group{name: name, count: rate, block: block, interval: time.Second, probe: probe})
	if err != nil {
		s.missing = err.Error()
	}
	s.measure = func() (measure, error) {
		r, err := b.sonde(childOptions{config: file, warmup: 2 * time.Second, span: b.span, profile: "cpu-" + name}, nil, nil)
		if err != nil {
			return measure{}, err
		}
		b.remark(r)
		return r.measure(), nil
	}
	return s
}

// remark tells on standard error what was not up, or not done.
func (b *bench) remark(r *Report) {
	if all := r.Groups[""]; all.Up < all.Results || r.Missed > 0 {
		b.progress("not up: %d (%s), missed: %d", all.Results-all.Up, reasons(all.Reasons), r.Missed)
	}
}

func (r *Report) measure() measure {
	all := r.Groups[""]
	return measure{probes: all.Results, failed: all.Results - all.Up, cpu: r.CPU, window: r.Window}
}

// goSide is a bare loop in Go, in a process of its own.
func (b *bench) goSide(name, kind, address, ca string, goal float64) *side {
	argv := []string{b.self, "baseline", "-kind", kind, "-address", address, "-span", b.span.String(), "-ca", ca}
	s := &side{name: name, goal: goal, command: strings.Join(argv, " ") + " (8 goroutines, unpaced)"}
	s.measure = func() (measure, error) {
		out, _, err := b.complete(argv...)
		if err != nil {
			return measure{}, err
		}
		var r Baseline
		if err := json.Unmarshal([]byte(out), &r); err != nil {
			return measure{}, err
		}
		return measure{probes: r.Probes, failed: r.Failed, cpu: r.CPU, window: r.Window}, nil
	}
	return s
}
