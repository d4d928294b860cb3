package report

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"slices"
	"time"

	"github.com/sonde-cli/sonde/check"
)

//go:embed html.tmpl html.css
var htmlFiles embed.FS

// htmlLimit bounds, in bytes, the table's rows and, again, the details. What
// does not fit is counted: the worst come first, so it is what is up.
const htmlLimit = 4_000_000

// htmlOpen is how many details of what is down are open when the page is.
const htmlOpen = 50

// The most columns that a text takes in the page, and one that has to stay in
// a row.
const (
	htmlText = 1000
	htmlName = 250
)

// htmlPage is what the template makes the page of. Every text is clean; the
// template escapes it for where it stands.
type htmlPage struct {
	Policy  string       // content security policy: this page's own style, nothing else
	Style   template.CSS // of html.css
	Class   string       // of the worst result
	Symbol  string
	Heading string
	Started time.Time
	Took    string
	Exit    int

	Counts  []htmlCount
	Latency *htmlPlot // over all checks; nil when nothing was measured
	Groups  []htmlGroup
	Details []template.HTML

	Comparison *htmlComparison // with a baseline; nil when there is none

	RowsLeftOut, DetailsLeftOut string // "3 checks", or nothing
}

// htmlCount is the number of results of one class.
type htmlCount struct {
	Class, Symbol, Label string
	N                    int
	Link                 bool   // a group of that name is in the table
	X, W                 string // its part of the bar over all checks
}

// htmlGroup holds the table's rows of one class.
type htmlGroup struct {
	Class string
	Rows  []template.HTML
}

// htmlClasses are the sorts of results, worst first, as the page orders them.
func htmlClasses() []string { return []string{"down", "unknown", "degraded", "flaky", "up"} }

// htmlClass returns the sort of a result.
func htmlClass(r check.Result) string {
	switch {
	case r.Verdict == check.Up && r.Flaky:
		return "flaky"
	case r.Verdict > check.Down:
		return check.Unknown.String()
	}
	return r.Verdict.String()
}

// htmlSymbol returns the sign of a class, as [symbol] does of a result.
func htmlSymbol(class string) string {
	return map[string]string{"down": "✗", "unknown": "?", "degraded": "!", "flaky": "~", "up": "✓"}[class]
}

// htmlLabel returns how a class is written: as the verdict with its remark.
func htmlLabel(class string) string {
	if class == "flaky" {
		return "up, flaky"
	}
	return class
}

// writeHTML writes one page that needs nothing else: no script, no font, no
// picture, no network.
func writeHTML(b *bytes.Buffer, r run) {
	t := template.Must(template.ParseFS(htmlFiles, "html.tmpl"))
	style, _ := htmlFiles.ReadFile("html.css") // it is embedded
	hash := sha256.Sum256(style)
	p := htmlPage{
		Style: template.CSS(style),
		Policy: "default-src 'none'; base-uri 'none'; form-action 'none'; style-src 'sha256-" +
			base64.StdEncoding.EncodeToString(hash[:]) + "'",
		Started: r.o.Started.UTC(), Took: check.FormatDuration(r.o.elapsed()), Exit: r.o.ExitCode(r.sum),
		Latency:    distribution(overall(r.results)),
		Comparison: htmlComparisonOf(t, r.o),
	}
	p.Heading, p.Class = htmlHeading(r)
	p.Symbol = htmlSymbol(p.Class)
	p.fill(t, r.results)
	p.count(r.results)
	_ = t.ExecuteTemplate(b, "page", p) // into memory, of strings and numbers: it cannot fail
}

// fill renders the rows and the details, worst first and else in file order,
// until they are too many.
func (p *htmlPage) fill(t *template.Template, results []check.Result) {
	classes := htmlClasses()
	sorted := slices.Clone(results)
	slices.SortStableFunc(sorted, func(a, b check.Result) int {
		return slices.Index(classes, htmlClass(a)) - slices.Index(classes, htmlClass(b))
	})
	var rows, details bytes.Buffer
	noRow, noDetail := 0, 0
	for i, r := range sorted {
		if noRow > 0 { // nor is there room for details, which are longer
			noRow++
			noDetail++
			continue
		}
		d := htmlDetailOf(r)
		d.ID, d.Open = fmt.Sprintf("c%d", i+1), r.Verdict == check.Down && i < htmlOpen
		if noDetail > 0 {
			d.ID, noDetail = "", noDetail+1
		} else if text, ok := render(t, "detail", d, &details); ok {
			p.Details = append(p.Details, text)
		} else {
			d.ID, noDetail = "", 1
		}
		text, ok := render(t, "row", d, &rows)
		if !ok {
			noRow++
			continue
		}
		if len(p.Groups) == 0 || p.Groups[len(p.Groups)-1].Class != d.Class {
			p.Groups = append(p.Groups, htmlGroup{Class: d.Class})
		}
		g := &p.Groups[len(p.Groups)-1]
		g.Rows = append(g.Rows, text)
	}
	if noRow > 0 {
		p.RowsLeftOut = plural(noRow, "check")
	}
	if noDetail > 0 {
		p.DetailsLeftOut = plural(noDetail, "check")
	}
}

// render returns the named template of v, unless it takes all, which holds
// what was rendered before, beyond the limit.
func render(t *template.Template, name string, v any, all *bytes.Buffer) (template.HTML, bool) {
	before := all.Len()
	_ = t.ExecuteTemplate(all, name, v) // as in writeHTML
	if all.Len() > htmlLimit {
		all.Truncate(before)
		return "", false
	}
	return template.HTML(all.Bytes()[before:]), true
}

// count fills in the counts and their parts of the bar.
func (p *htmlPage) count(results []check.Result) {
	n := make(map[string]int)
	for _, r := range results {
		n[htmlClass(r)]++
	}
	at := 0.0
	for _, class := range htmlClasses() {
		if n[class] == 0 && class != check.Up.String() {
			continue
		}
		part := 100 * float64(n[class]) / float64(max(1, len(results)))
		p.Counts = append(p.Counts, htmlCount{
			Class: class, Symbol: htmlSymbol(class), Label: htmlLabel(class), N: n[class],
			Link: slices.ContainsFunc(p.Groups, func(g htmlGroup) bool { return g.Class == class }),
			X:    percent(at), W: percent(part),
		})
		at += part
	}
}

// htmlHeading says in a sentence what became of the run, and of what class
// that is.
func htmlHeading(r run) (text, class string) {
	n, optional := make(map[string]int), make(map[string]int)
	for _, res := range r.results {
		n[htmlClass(res)]++
		optional[htmlClass(res)] += int(truth(res.Optional))
	}
	i := slices.IndexFunc(htmlClasses(), func(class string) bool { return n[class] > 0 })
	if i < 0 {
		return "No checks ran", check.Unknown.String()
	}
	class = htmlClasses()[i]
	all, some := n[class] == r.sum.Total, howMany(n[class], r.sum.Total)
	switch {
	case class == "flaky" && all:
		return some + " up, but flaky", class
	case class == "flaky":
		return "All is up, but " + some + " flaky", class
	case class == check.Down.String() && optional[class] == n[class]:
		return some + " down, but optional", class
	}
	return some + " " + class, class
}

// howMany begins a sentence: "2 of 6 checks are".
func howMany(n, total int) string {
	switch {
	case total == 1:
		return "The check is"
	case n == total:
		return fmt.Sprintf("All %d checks are", total)
	case n == 1:
		return fmt.Sprintf("1 of %d checks is", total)
	}
	return fmt.Sprintf("%d of %d checks are", n, total)
}
