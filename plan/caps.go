package plan

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sonde-cli/sonde/check"
)

// Caps are what a plan must not exceed; 0 for no cap. They hold for the worst
// of the three cases.
type Caps struct {
	Rate        float64       // probes that begin in any one second
	HostRate    float64       // the same, to one host
	Duration    time.Duration // of one run
	Descriptors int           // of a run or a loop; without it, more than the machine has is a warning
}

// Excess is a cap that the plan exceeds.
type Excess struct {
	Cap     string // max-rate, max-host-rate, max-duration, max-descriptors
	Message string
	Hint    string
	Lines   []Line // at fault, those with the largest part first
	More    int    // lines that are left out
}

// Line is a line of a file that defines checks.
type Line struct {
	File   string // empty on the command line
	Number int
	ID     string // of its first check
	Checks int
	Part   float64 // in the unit of the cap
	Text   string  // the part in words
}

// Warning is something that does not fit, though no cap forbids it.
type Warning struct{ Message, Hint string }

const mostLines = 10 // at fault, that are shown

const descriptorHint = "raise the limit (ulimit -Hn; LimitNOFILE= of a systemd unit), or bound the loop with limits.in_flight"

// judge finds the caps that are exceeded.
func (p *Plan) judge(caps Caps) {
	if worst := max(p.Loop.Steady.Peak, p.Loop.Failing.Peak); caps.Rate > 0 && float64(worst) > caps.Rate {
		p.exceed("max-rate", "make intervals longer, or attempts fewer",
			fmt.Sprintf("%s a second at the peak%s, more than %s/s", count(worst, "probe"), p.when(), Number(caps.Rate)),
			p.Checks, probesOf)
	}
	if caps.HostRate > 0 {
		p.judgeHosts(caps.HostRate)
	}
	if caps.Duration > 0 && p.Run.Longest > caps.Duration {
		p.exceed("max-duration", "allow more at once with --concurrency, or make timeouts and retries shorter",
			fmt.Sprintf("a run may take %s, more than %s", check.FormatDuration(p.Run.Longest), check.FormatDuration(caps.Duration)),
			p.Checks, func(c *Check) float64 { return c.Longest.Seconds() })
	}
	if worst := p.descriptors(); caps.Descriptors > 0 && worst > caps.Descriptors {
		p.exceed("max-descriptors", descriptorHint,
			fmt.Sprintf("%s, more than %d", count(worst, "open file"), caps.Descriptors),
			p.Checks, func(c *Check) float64 {
				return float64(c.tries()*c.atOnce) * c.Timeout.Seconds() / every(c.IntervalFailing, c.Longest).Seconds()
			})
	}
}

// descriptors returns how many files are open at most, in a run or a loop.
func (p *Plan) descriptors() int { return max(p.Run.Descriptors, p.Loop.Descriptors) }

func probesOf(c *Check) float64 { return max(c.perSecond(false), c.perSecond(true)) }

// when says in which case the peak is, if it is not the usual one.
func (p *Plan) when() string {
	if p.Loop.Failing.Peak > p.Loop.Steady.Peak {
		return " when all fail"
	}
	return ""
}

// judgeHosts holds the hosts to their cap. A loop that limits the rate per host
// by itself keeps that limit.
func (p *Plan) judgeHosts(limit float64) {
	if own := p.Limits.PerHostRate; own > 0 && own <= limit {
		return
	}
	over := make(map[string]bool)
	var worst Destination
	for _, d := range p.Destinations {
		if float64(d.Peak()) > limit {
			over[d.Host] = true
			if d.Peak() > worst.Peak() {
				worst = d
			}
		}
	}
	if len(over) == 0 {
		return
	}
	var at []Check
	for _, c := range p.Checks {
		if over[c.host] {
			at = append(at, c)
		}
	}
	p.exceed("max-host-rate", "spread them in time with limits.per_host_rate, or make intervals longer",
		fmt.Sprintf("%s a second to %s at the peak, more than %s/s%s", count(worst.Peak(), "probe"), worst.Host, Number(limit), andMore(len(over)-1, "host")),
		at, probesOf)
}

// exceed notes an excess, with the lines of the checks by their parts in it.
func (p *Plan) exceed(name, hint, message string, checks []Check, part func(*Check) float64) {
	type place struct {
		file string
		line int
	}
	byPlace := make(map[place]*Line)
	var all []*Line
	for i := range checks {
		c := &checks[i]
		at := place{c.File, c.Line}
		l := byPlace[at]
		if l == nil {
			l = &Line{File: c.File, Number: c.Line, ID: c.Mask.String(c.ID)}
			byPlace[at], all = l, append(all, l)
		}
		l.Checks++
		if name == "max-duration" {
			l.Part = max(l.Part, part(c))
		} else {
			l.Part += part(c)
		}
	}
	slices.SortStableFunc(all, func(a, b *Line) int { return cmp.Compare(b.Part, a.Part) })
	e := Excess{Cap: name, Message: message, Hint: hint}
	for _, l := range all[:min(len(all), mostLines)] {
		l.Text = words(name, l.Part)
		e.Lines = append(e.Lines, *l)
	}
	e.More = len(all) - len(e.Lines)
	p.Exceeded = append(p.Exceeded, e)
}

// words tells a line's part in an excess.
func words(name string, part float64) string {
	switch name {
	case "max-duration":
		return "up to " + check.FormatDuration(time.Duration(min(part, 1e9)*1e9)) + " each"
	case "max-descriptors":
		return Number(part) + " under way when they hang"
	default:
		return Number(part) + " probes/s on average"
	}
}

// warn finds what does not fit the machine or the limits of the files.
func (p *Plan) warn(caps Caps) {
	if limit, most := p.Machine.Descriptors, p.descriptors(); caps.Descriptors == 0 && limit > 0 && most > limit {
		p.Warnings = append(p.Warnings, Warning{
			fmt.Sprintf("%s, and this process may have %d: fewer probes would be under way at once", count(most, "open file"), limit),
			descriptorHint,
		})
	}
	if ports := p.Machine.Ports; ports > 0 && p.Loop.Ports > ports {
		p.Warnings = append(p.Warnings, Warning{
			fmt.Sprintf("%d local ports wait for their end at once, of %d that there are for connections to one port of a host", p.Loop.Ports, ports),
			"close: reset and connection: reuse leave none behind; several source addresses have as many ports each",
		})
	}
	if limit := p.Limits.InFlight; limit > 0 && p.Loop.InFlight > limit {
		p.Warnings = append(p.Warnings, Warning{
			fmt.Sprintf("%d probes are under way at once when all hang, and %d may be: runs would wait or be missed", p.Loop.InFlight, limit),
			"raise limits.in_flight, or make timeouts shorter",
		})
	}
	if limit := p.Limits.PerHostRate; limit > 0 {
		slow := 0
		worst := Destination{}
		for _, d := range p.Destinations {
			if d.Steady.Average > limit {
				slow++
				if d.Steady.Average > worst.Steady.Average {
					worst = d
				}
			}
		}
		if slow > 0 {
			p.Warnings = append(p.Warnings, Warning{
				fmt.Sprintf("%s needs %s probes a second, and its limit is %s: runs would be missed%s",
					worst.Host, Number(worst.Steady.Average), Number(limit), andMore(slow-1, "host")),
				"raise limits.per_host_rate, or make intervals longer",
			})
		}
	}
}

func andMore(n int, noun string) string {
	if n <= 0 {
		return ""
	}
	return ", and " + count(n, "other "+noun)
}

func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return strconv.Itoa(n) + " " + noun + "s"
}

// Number writes three significant digits, or all before the point.
func Number(f float64) string {
	if f >= 1000 {
		return strconv.FormatFloat(f, 'f', 0, 64)
	}
	s := strconv.FormatFloat(f, 'g', 3, 64)
	if strings.Contains(s, "e") {
		return strconv.FormatFloat(f, 'f', 6, 64)
	}
	return s
}
