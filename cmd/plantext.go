package cmd

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"

	"github.com/sonde-cli/sonde/check"
	"github.com/sonde-cli/sonde/plan"
)

// How many rows a plan shows unless all are asked for.
const (
	planChecks       = 20
	planDestinations = 10
)

// writePlan writes a plan for people.
func writePlan(out io.Writer, p *plan.Plan, off int, all bool) error {
	table := func(rows func(row func(...string))) string {
		return columnsOf(func(w io.Writer) {
			rows(func(cells ...string) {
				for _, cell := range cells {
					_, _ = fmt.Fprint(w, inRow(cell), "\t")
				}
				_, _ = fmt.Fprintln(w)
			})
		}) + "\n"
	}
	var b strings.Builder
	b.WriteString(table(func(row func(...string)) { planCheckRows(p, all, row) }))
	fmt.Fprintf(&b, "%s%s: %s\n\n", plural(len(p.Checks), "check"), disabled(off), kindCounts(p.Kinds))
	b.WriteString("a loop (serve, watch)\n" + table(func(row func(...string)) { planLoopRows(p, row) }))
	b.WriteString("one run (run)\n" + table(func(row func(...string)) { planRunRows(p, row) }))
	b.WriteString(strings.TrimSuffix(table(func(row func(...string)) { planDestinationRows(p, all, row) }), "\n"))
	_, err := io.WriteString(out, b.String())
	return err
}

func planCheckRows(p *plan.Plan, all bool, row func(...string)) {
	row("CHECK", "KIND", "TARGET", "EVERY", "TIMEOUT", "PROBES")
	for i := range p.Checks {
		if i == planChecks && !all {
			row(fmt.Sprintf("and %d more, which --all lists", len(p.Checks)-planChecks))
			break
		}
		c := &p.Checks[i]
		every := check.FormatDuration(c.Interval)
		if c.IntervalFailing != c.Interval {
			every += ", failing " + check.FormatDuration(c.IntervalFailing)
		}
		row(c.Mask.String(c.ID), c.Kind, c.Mask.String(c.Target), every, check.FormatDuration(c.Timeout), probeWords(c))
	}
}

// probeWords tells what a run makes at most: probes, one after another failed, or
// samples.
func probeWords(c *plan.Check) string {
	words := "1"
	switch {
	case c.Samples.Many():
		words = plural(c.Samples.Count, "sample") + ", " + check.FormatDuration(c.Samples.Spacing) + " apart"
	case c.Attempts() > 1:
		words = "1 to " + strconv.Itoa(c.Attempts())
	}
	if c.Parts() > 1 {
		words += ", each up to " + strconv.Itoa(c.Parts())
	}
	return words
}

func kindCounts(kinds []plan.Kind) string {
	var parts []string
	for _, k := range kinds {
		parts = append(parts, fmt.Sprintf("%d %s", k.Checks, k.Name))
	}
	return strings.Join(parts, ", ")
}

func planLoopRows(p *plan.Plan, row func(...string)) {
	l := &p.Loop
	row("  probes a second", rateWords(l.Steady))
	row("  when all fail", rateWords(l.Failing))
	row("  when all hang", fmt.Sprintf("%s under way, %d may be", atMostWords(l.InFlight, l.InFlightExact), p.Limits.InFlight))
	row("  open files", withLimit(l.Descriptors, p.Machine.Descriptors))
	row("  ports in TIME_WAIT", withLimit(l.Ports, p.Machine.Ports)+" to one port of a host")
	if limits := limitWords(p); limits != "" {
		row("  limits", limits)
	}
	if l.Scheduled > 0 {
		row("  windows", plural(l.Scheduled, "check")+" with a schedule, taken to be open")
	}
}

func planRunRows(p *plan.Plan, row func(...string)) {
	row("  probes", fmt.Sprintf("%d, with all retries %d", p.Run.Usual, p.Run.Probes))
	row("  when all hang", fmt.Sprintf("it takes %s, with %d at once", check.FormatDuration(p.Run.Longest), p.Run.Concurrency))
	row("  open files", withLimit(p.Run.Descriptors, p.Machine.Descriptors))
}

func planDestinationRows(p *plan.Plan, all bool, row func(...string)) {
	row("DESTINATION", "CHECKS", "PROBES/S", "WHEN ALL FAIL", "PEAK", "PORTS")
	for i := range p.Destinations {
		if i == planDestinations && !all {
			row(fmt.Sprintf("and %d more, which --all lists", len(p.Destinations)-planDestinations))
			break
		}
		d := &p.Destinations[i]
		row(d.Host, strconv.Itoa(d.Checks), plan.Number(d.Steady.Average), plan.Number(d.Failing.Average), strconv.Itoa(d.Peak()), strconv.Itoa(d.Ports))
	}
}

func rateWords(r plan.Rate) string {
	return plan.Number(r.Average) + ", " + atMostWords(r.Peak, r.Exact) + " at the peak"
}

func atMostWords(n int, exact bool) string {
	if exact {
		return strconv.Itoa(n)
	}
	return "at most " + strconv.Itoa(n)
}

func withLimit(n, limit int) string {
	if limit == 0 {
		return strconv.Itoa(n)
	}
	return fmt.Sprintf("%d of %d", n, limit)
}

func limitWords(p *plan.Plan) string {
	var parts []string
	if n := p.Limits.PerHost; n > 0 {
		parts = append(parts, fmt.Sprintf("per_host %d", n))
	}
	if r := p.Limits.PerHostRate; r > 0 {
		parts = append(parts, "per_host_rate "+plan.Number(r)+"/s")
	}
	for _, k := range p.Kinds {
		if n := p.Limits.Kinds[k.Name]; n > 0 {
			parts = append(parts, fmt.Sprintf("%s %d", k.Name, n))
		}
	}
	return strings.Join(parts, ", ")
}

// faultLine tells a line of a file and its part in what exceeds a cap.
func faultLine(l plan.Line) string {
	name := l.ID
	if l.Checks > 1 {
		name += " and " + strconv.Itoa(l.Checks-1) + " more"
	}
	return inRow(fmt.Sprintf("%s:%d: %s: %s", l.File, l.Number, name, l.Text))
}

// The plan in JSON, in the manner of the JSON report.
type (
	wirePlan struct {
		Schema   int              `json:"schema"`
		Total    int              `json:"total"`
		Disabled int              `json:"disabled"`
		Kinds    []wirePlanKind   `json:"kinds"`
		Loop     wirePlanLoop     `json:"loop"`
		Run      wirePlanRun      `json:"run"`
		Limits   wirePlanLimits   `json:"limits"`
		Machine  wirePlanMachine  `json:"machine"`
		Warnings []*wireProblem   `json:"warnings"`
		Exceeded []wirePlanExcess `json:"exceeded"`
	}
	wirePlanKind struct {
		Kind      string  `json:"kind"`
		Checks    int     `json:"checks"`
		PerSecond float64 `json:"per_second"`
	}
	wirePlanRate struct {
		PerSecond float64 `json:"per_second"`
		Peak      int     `json:"peak_per_second"`
		Exact     bool    `json:"peak_exact"`
	}
	wirePlanLoop struct {
		Steady      wirePlanRate `json:"steady"`
		Failing     wirePlanRate `json:"failing"`
		Scheduled   int          `json:"scheduled"`
		InFlight    int          `json:"in_flight"`
		Exact       bool         `json:"in_flight_exact"`
		Descriptors int          `json:"descriptors"`
		Ports       int          `json:"ports"`
	}
	wirePlanRun struct {
		Concurrency int     `json:"concurrency"`
		Probes      int     `json:"probes"`
		Longest     float64 `json:"longest_seconds"`
		Descriptors int     `json:"descriptors"`
	}
	wirePlanLimits struct {
		InFlight    int            `json:"in_flight"`
		PerHost     int            `json:"per_host,omitempty"`
		PerHostRate float64        `json:"per_host_rate,omitempty"`
		Kinds       map[string]int `json:"kinds,omitempty"`
	}
	wirePlanMachine struct {
		Descriptors int `json:"descriptors,omitempty"`
		Ports       int `json:"ports"`
	}
	wirePlanExcess struct {
		Cap     string         `json:"cap"`
		Message string         `json:"message"`
		Hint    string         `json:"hint"`
		Lines   []wirePlanLine `json:"lines"`
		More    int            `json:"more_lines,omitempty"`
	}
	wirePlanLine struct {
		File   string `json:"file,omitempty"`
		Line   int    `json:"line,omitempty"`
		ID     string `json:"id"`
		Checks int    `json:"checks"`
		Text   string `json:"text"`
	}
	wirePlanDestination struct {
		Host    string       `json:"host"`
		Checks  int          `json:"checks"`
		Steady  wirePlanRate `json:"steady"`
		Failing wirePlanRate `json:"failing"`
		Ports   int          `json:"ports"`
	}
	wirePlanCheck struct {
		ID       string  `json:"id"`
		Kind     string  `json:"kind"`
		Target   string  `json:"target"`
		Interval float64 `json:"interval_seconds"`
		Failing  float64 `json:"interval_failing_seconds"`
		Timeout  float64 `json:"timeout_seconds"`
		Attempts int     `json:"attempts"`
		Samples  int     `json:"samples,omitempty"`
		Spacing  float64 `json:"spacing_seconds,omitempty"`
		Parts    int     `json:"parts,omitempty"` // probes that each of them is at most, where that is not 1
		Longest  float64 `json:"longest_seconds"`
		File     string  `json:"file"`
		Line     int     `json:"line"`
	}
)

// writePlanJSON writes a plan, its destinations and checks a line each: there
// can be a million.
func writePlanJSON(out io.Writer, p *plan.Plan, off int) error {
	head, err := json.Marshal(planHead(p, off))
	if err != nil {
		return err
	}
	w := bufio.NewWriter(out)
	_, _ = w.Write(head[:len(head)-1]) // Flush returns the error
	err = jsonList(w, "destinations", len(p.Destinations), func(i int) any {
		d := &p.Destinations[i]
		return wirePlanDestination{d.Host, d.Checks, asWireRate(d.Steady), asWireRate(d.Failing), d.Ports}
	})
	if err != nil {
		return err
	}
	err = jsonList(w, "checks", len(p.Checks), func(i int) any {
		c := &p.Checks[i]
		w := wirePlanCheck{
			ID: c.Mask.String(c.ID), Kind: c.Kind, Target: c.Mask.String(c.Target), Interval: c.Interval.Seconds(),
			Failing: c.IntervalFailing.Seconds(), Timeout: c.Timeout.Seconds(), Attempts: c.Attempts(),
			Longest: c.Longest.Seconds(), File: c.File, Line: c.Line,
		}
		if c.Samples.Many() {
			w.Samples, w.Spacing = c.Samples.Count, c.Samples.Spacing.Seconds()
		}
		if c.Parts() > 1 {
			w.Parts = c.Parts()
		}
		return w
	})
	if err != nil {
		return err
	}
	_, _ = w.WriteString("}\n")
	return w.Flush()
}

func planHead(p *plan.Plan, off int) wirePlan {
	head := wirePlan{
		Schema: check.Schema, Total: len(p.Checks), Disabled: off, Warnings: []*wireProblem{}, Exceeded: []wirePlanExcess{},
		Loop: wirePlanLoop{
			asWireRate(p.Loop.Steady), asWireRate(p.Loop.Failing), p.Loop.Scheduled,
			p.Loop.InFlight, p.Loop.InFlightExact, p.Loop.Descriptors, p.Loop.Ports,
		},
		Run:     wirePlanRun{p.Run.Concurrency, p.Run.Probes, p.Run.Longest.Seconds(), p.Run.Descriptors},
		Limits:  wirePlanLimits{p.Limits.InFlight, p.Limits.PerHost, p.Limits.PerHostRate, p.Limits.Kinds},
		Machine: wirePlanMachine{p.Machine.Descriptors, p.Machine.Ports},
	}
	for _, k := range p.Kinds {
		head.Kinds = append(head.Kinds, wirePlanKind{k.Name, k.Checks, micro(k.PerSecond)})
	}
	for _, w := range p.Warnings {
		head.Warnings = append(head.Warnings, &wireProblem{Message: w.Message, Hint: w.Hint})
	}
	for _, e := range p.Exceeded {
		excess := wirePlanExcess{Cap: e.Cap, Message: e.Message, Hint: e.Hint, More: e.More}
		for _, l := range e.Lines {
			excess.Lines = append(excess.Lines, wirePlanLine{l.File, l.Number, l.ID, l.Checks, l.Text})
		}
		head.Exceeded = append(head.Exceeded, excess)
	}
	return head
}

func asWireRate(r plan.Rate) wirePlanRate { return wirePlanRate{micro(r.Average), r.Peak, r.Exact} }

// micro rounds to six decimals: what lies behind them comes from adding up.
func micro(f float64) float64 { return math.Round(f*1e6) / 1e6 }

// jsonList writes a member of an object, a list with a line for each item.
func jsonList(w *bufio.Writer, name string, n int, item func(int) any) error {
	_, _ = w.WriteString(",\n\"" + name + "\":[")
	for i := range n {
		line, err := json.Marshal(item(i))
		if err != nil {
			return err
		}
		if i > 0 {
			_ = w.WriteByte(',')
		}
		_ = w.WriteByte('\n')
		if _, err := w.Write(line); err != nil {
			return err
		}
	}
	_, err := w.WriteString("]")
	return err
}
