package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strconv"
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
	unpaced  bool                    // it goes as fast as it can
	goal     float64                 // most that sonde may cost, as a part of this; 0: none
	profile  string                  // name of sonde's CPU profile
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
	var paced, unpaced *side
	for _, s := range c.sides {
		switch {
		case s.name != "sonde" || s.missing != "":
		case s.unpaced:
			unpaced = s
		default:
			paced = s
		}
	}
	t := new(table)
	t.row("program", "rate", "CPU per probe", "min-max", "probes/s", "failed", "sonde at its rate / this", "sonde unpaced / this", "goal")
	for _, s := range c.sides {
		if s.missing != "" {
			t.row(s.name, "", "-", "-", "-", "-", "-", "-", s.missing)
			continue
		}
		rate := "kept"
		if s.unpaced {
			rate = "unpaced"
		}
		low, high := s.bounds()
		t.row(s.name, rate, micros(s.median()), fmt.Sprintf("%s-%s", strings.TrimSuffix(micros(low), " us"), micros(high)),
			fmt.Sprint(s.pace()), fmt.Sprint(s.failures()), ratio(paced, s), ratio(unpaced, s), s.judge(paced, unpaced))
	}
	fmt.Fprintf(b.out, "### %s\n\n%s\n", c.title, t)
	if c.note != "" {
		fmt.Fprintf(b.out, "%s\n\n", c.note)
	}
	for _, s := range c.sides {
		if s.missing == "" {
			command := strings.NewReplacer(b.dir, "DIR", b.self, "engine").Replace(s.command)
			fmt.Fprintf(b.out, "- %s (%s): `%s`\n", s.name, cmp.Or(s.version, "of this checkout"), command)
		}
	}
	fmt.Fprintln(b.out)
	for _, s := range c.sides {
		if s.profile != "" && s.missing == "" {
			b.showProfile(s.profile)
		}
	}
}

// ratio is what sonde costs as a part of a peer; nothing when there is no such
// measurement.
func ratio(sonde, peer *side) string {
	if sonde == nil || peer.name == "sonde" {
		return ""
	}
	return fmt.Sprintf("%.2f", part(sonde, peer))
}

func part(sonde, peer *side) float64 { return float64(sonde.median()) / float64(max(peer.median(), 1)) }

// judge words whether sonde meets the goal at its rate, and, next to a peer
// that keeps no rate, without one.
func (s *side) judge(paced, unpaced *side) string {
	if s.goal == 0 || paced == nil {
		return ""
	}
	text := fmt.Sprintf("at most %.2f: %s", s.goal, verdict(part(paced, s) <= s.goal))
	if s.unpaced && unpaced != nil {
		text += fmt.Sprintf(", both unpaced: %s", verdict(part(unpaced, s) <= s.goal))
	}
	return text
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

// workers is how many probes are at once in programs that go as fast as they
// can.
const workers = 8

// mostReused is the most checks that reuse their connection, one for each: there
// must be descriptors for them.
const mostReused = 9_000

// sondeSides are sonde with one kind of probe: each check once a second, and,
// to be compared with programs that keep no rate, up to ten times as many checks
// in eight places, which are hardly ever idle.
func (b *bench) sondeSides(name, probe string, block, rate int) []*side {
	paced := b.sondeSide(name, probe, block, rate, 0)
	count := 10 * rate
	if strings.Contains(probe, "reuse") {
		count = min(count, mostReused)
	}
	unpaced := b.sondeSide(name+"-unpaced", probe, block, count, workers)
	unpaced.unpaced = true
	return []*side{paced, unpaced}
}

func (b *bench) sondeSide(name, probe string, block, count, places int) *side {
	s := &side{name: "sonde", profile: "cpu-" + name, command: fmt.Sprintf("%d checks, interval 1s, %s", count, probe)}
	if places > 0 {
		s.command += fmt.Sprintf(", %d places", places)
	}
	file, err := b.checks(name, group{name: name, count: count, block: block, interval: time.Second, probe: probe})
	if err != nil {
		s.missing = err.Error()
	}
	s.measure = func() (measure, error) {
		r, err := b.sonde(childOptions{config: file, warmup: 5 * time.Second, span: b.span, inFlight: places, profile: s.profile}, nil, nil)
		if err != nil {
			return measure{}, err
		}
		if places == 0 {
			b.remark(r)
		}
		if share := percent(r.Groups[""].Reused, r.Groups[""].Results); share != "" {
			b.progress("over connections that were kept: %s", share)
		}
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
	argv := []string{b.self, "baseline", "-kind", kind, "-address", address, "-span", b.span.String(), "-workers", strconv.Itoa(workers)}
	if ca != "" {
		argv = append(argv, "-ca", ca)
	}
	s := &side{name: name, goal: goal, unpaced: true, command: strings.Join(argv, " ")}
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
