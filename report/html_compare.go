package report

import (
	"bytes"
	"html/template"

	"github.com/sonde-cli/sonde/compare"
)

// htmlComparison is what the page tells of the comparison with a baseline.
type htmlComparison struct {
	Head, Sum string
	Titles    []string
	Rows      []template.HTML
	LeftOut   string // "3 comparisons", or nothing
	Notes     []string
}

// htmlCompared is the row of one check.
type htmlCompared struct {
	Class   string
	Outcome string
	Name    string
	Numbers []string
	Lines   []string // what changed
}

// htmlComparisonOf renders rows until they are too many; nil when there is
// nothing to compare with.
func htmlComparisonOf(t *template.Template, o Options) *htmlComparison {
	r := o.comparison()
	if r == nil {
		return nil
	}
	h := &htmlComparison{Head: tidy(comparisonHead(r, o), htmlText), Sum: tidy(comparisonSum(r), htmlText), Titles: comparisonTitles(r)}
	var rows bytes.Buffer
	for i := range r.Checks {
		text, ok := render(t, "compared", htmlComparedOf(r, &r.Checks[i]), &rows)
		if !ok {
			h.LeftOut = plural(len(r.Checks)-i, "comparison")
			break
		}
		h.Rows = append(h.Rows, text)
	}
	for _, l := range remainder(r) {
		h.Notes = append(h.Notes, tidy(l, htmlText))
	}
	return h
}

func htmlComparedOf(r *compare.Report, c *compare.Comparison) htmlCompared {
	cells := comparisonCells(c)
	row := htmlCompared{Class: htmlClass(likeOutcome(c.Outcome)), Outcome: cells[0], Name: tidy(c.ID, htmlName), Numbers: cells[2:]}
	for _, l := range comparisonDetail(r, c) {
		row.Lines = append(row.Lines, tidy(l, htmlText))
	}
	return row
}
