package watch

import (
	"cmp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sonde-cli/sonde/check"
	"github.com/sonde-cli/sonde/report"
)

// How much of the past a row keeps.
const (
	pastRuns   = 40 // for the sparkline and the share that failed
	pastEvents = 8  // changes of the verdict or its reason, for the detail pane
)

// board is what is known of each check. A loop's sink writes it, the screen
// reads it; its lock is held for one result or one picture.
type board struct {
	mu   sync.Mutex
	rows []*row
	byID map[string]*row // by the id that results carry
	wide int             // columns of the longest id
	sum  check.Summary   // of the last results
	runs uint64
}

// row is one check.
type row struct {
	index      int
	id, target string // clean
	search     string // what the filter looks at, in lower case

	seen   bool
	last   check.Result
	since  time.Time // when it got its verdict
	runs   uint64
	downs  uint64
	missed uint64
	past   [pastRuns]run // a ring
	events []event       // the latest last
}

// run is what a row keeps of a past run.
type run struct {
	latency time.Duration
	loss    float32 // share of what was sent that is lost; 1 when the check was down
	verdict check.Verdict
}

// event is a change of the verdict or of its reason.
type event struct {
	at      time.Time
	verdict check.Verdict
	why     string // clean
	count   int    // results that said the same in a row
}

func newBoard(checks []*check.Check) *board {
	b := &board{byID: make(map[string]*row, len(checks))}
	for i, c := range checks {
		id := c.Mask.String(c.ID)
		r := &row{index: i, id: report.Clean(id), target: report.Clean(c.Mask.String(c.Target))}
		tags := c.Mask.String(strings.Join(c.Tags, " "))
		r.search = strings.ToLower(strings.Join([]string{r.id, r.target, report.Clean(tags), c.Kind}, "\n"))
		b.rows = append(b.rows, r)
		b.wide = max(b.wide, report.Width(r.id))
		if b.byID[id] == nil { // masking can make two ids equal; they share a row then
			b.byID[id] = r
		}
	}
	return b
}

// put takes note of a result.
func (b *board) put(r check.Result) {
	b.mu.Lock()
	defer b.mu.Unlock()
	w := b.byID[r.ID]
	if w == nil {
		return
	}
	b.runs++
	if w.seen {
		b.sum = subtract(b.sum, w.last)
	}
	b.sum.Add(r)
	w.put(r)
}

// subtract takes a result out of a summary.
func subtract(s check.Summary, r check.Result) check.Summary {
	var one check.Summary
	one.Add(r)
	s.Total -= one.Total
	s.Up -= one.Up
	s.Degraded -= one.Degraded
	s.Down -= one.Down
	s.Unknown -= one.Unknown
	s.Flaky -= one.Flaky
	return s
}

func (w *row) put(r check.Result) {
	if !w.seen || w.last.Verdict != r.Verdict {
		w.since = r.Started
	}
	w.past[w.runs%pastRuns] = run{latency: r.Latency, loss: loss(r), verdict: r.Verdict}
	w.runs++
	w.missed += uint64(max(r.Missed, 0))
	if r.Verdict == check.Down {
		w.downs++
	}
	w.note(r)
	w.last, w.seen = r, true
}

// note keeps what changed.
func (w *row) note(r check.Result) {
	same := len(w.events) > 0 && w.last.Verdict == r.Verdict && w.last.Reason.Code == r.Reason.Code && w.last.Flaky == r.Flaky
	if same {
		w.events[len(w.events)-1].count++
		return
	}
	if len(w.events) == pastEvents {
		w.events = slices.Delete(w.events, 0, 1)
	}
	w.events = append(w.events, event{at: r.Started, verdict: r.Verdict, why: report.Why(r), count: 1})
}

// loss returns the share of a run that was lost.
func loss(r check.Result) float32 {
	if f, ok := r.Facts.Get("loss").(float64); ok {
		return float32(f)
	}
	if r.Verdict == check.Down {
		return 1
	}
	return 0
}

// latest returns the last n runs, the oldest first.
func (w *row) latest(n int) []run {
	n = min(n, pastRuns, int(min(w.runs, pastRuns)))
	list := make([]run, n)
	for i := range list {
		list[i] = w.past[(w.runs-uint64(n)+uint64(i))%pastRuns]
	}
	return list
}

// lost returns the share that was lost of the runs that are kept. Unknown ones
// say nothing about the target; it is not ok when there are no others.
func (w *row) lost() (share float64, ok bool) {
	n := 0
	for _, r := range w.latest(pastRuns) {
		if r.verdict != check.Unknown {
			share += float64(r.loss)
			n++
		}
	}
	if n == 0 {
		return 0, false
	}
	return share / float64(n), true
}

// order is what rows are sorted by.
type order int

const (
	byFile order = iota
	byVerdict
	byLatency
	byName
	orders
)

func (o order) String() string { return [...]string{"file", "verdict", "latency", "name"}[o] }

// pick returns the rows that match the filter, in order.
func (b *board) pick(filter string, o order, reverse bool) []*row {
	words := strings.Fields(strings.ToLower(filter))
	var list []*row
	for _, w := range b.rows {
		if w.matches(words) {
			list = append(list, w)
		}
	}
	if o != byFile {
		slices.SortStableFunc(list, func(a, z *row) int { return compare(a, z, o) })
	}
	if reverse {
		slices.Reverse(list)
	}
	return list
}

// matches reports whether all words are in what is known of the row.
func (w *row) matches(words []string) bool {
	for _, word := range words {
		if !strings.Contains(w.search, word) && !strings.HasPrefix(w.verdict(), word) && !strings.HasPrefix(string(w.last.Reason.Code), word) {
			return false
		}
	}
	return true
}

// verdict names the row's verdict, "waiting" before the first result.
func (w *row) verdict() string {
	if !w.seen {
		return "waiting"
	}
	return w.last.Verdict.String()
}

// compare sorts the worst, or slowest, first. What was not seen yet comes last.
func compare(a, z *row, o order) int {
	if o == byName {
		return strings.Compare(a.id, z.id)
	}
	if a.seen != z.seen {
		if a.seen {
			return -1
		}
		return 1
	}
	if o == byLatency {
		return cmp.Compare(z.last.Latency, a.last.Latency)
	}
	switch {
	case a.last.Verdict.Worse(z.last.Verdict):
		return -1
	case z.last.Verdict.Worse(a.last.Verdict):
		return 1
	case a.last.Flaky != z.last.Flaky:
		if a.last.Flaky {
			return -1
		}
		return 1
	}
	return 0
}
