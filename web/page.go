package web

import (
	"fmt"
	"html"
	"net/http"
	"strings"
	"time"

	"github.com/sonde-cli/sonde/check"
)

// maxRows bounds the table of the start page.
const maxRows = 200

const pageHead = `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>sonde</title>
<style>body{font:1rem/1.5 system-ui,sans-serif;margin:2rem auto;max-width:60rem;padding:0 1rem}table{border-collapse:collapse;width:100%}
td,th{text-align:left;padding:.25rem .5rem;border-bottom:1px solid #ccc;vertical-align:top}:root{color-scheme:light dark}</style></head><body>
`

// start shows how many checks have which verdict, those that are not up, and
// where everything else is.
func (s *Server) start(w http.ResponseWriter, _ *http.Request) {
	var b strings.Builder
	b.WriteString(pageHead)
	fmt.Fprintf(&b, "<h1>sonde %s</h1>\n", html.EscapeString(s.o.Version))
	s.summary(&b)
	b.WriteString("<h2>More</h2>\n<ul>\n")
	for _, link := range [][2]string{
		{"metrics", "metrics for Prometheus"}, {"api/v1/checks", "the checks, JSON"}, {"api/v1/results", "their latest results, JSON"},
		{"api/v1/results?stream", "results as they come, server-sent events"}, {"-/healthy", "whether sonde runs"}, {"-/ready", "whether it measures"},
	} {
		fmt.Fprintf(&b, "<li><a href=\"%s\">/%s</a>: %s</li>\n", link[0], link[0], link[1])
	}
	if s.o.Probe != nil {
		b.WriteString("<li>/probe?module=MODULE&amp;target=TARGET: a probe on demand, as of blackbox_exporter</li>\n")
	}
	b.WriteString("</ul>\n</body></html>\n")
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = w.Write([]byte(b.String())) // whoever went away misses it
}

func (s *Server) summary(b *strings.Builder) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var counts [4]int
	waiting := 0
	var rows []*state
	for _, st := range s.order {
		if !st.seen {
			waiting++
			continue
		}
		counts[st.verdict]++
		if st.verdict != check.Up && len(rows) < maxRows {
			rows = append(rows, st)
		}
	}
	fmt.Fprintf(b, "<p>%d checks: %d up, %d degraded, %d down, %d unknown, %d not run yet</p>\n", len(s.order),
		counts[check.Up], counts[check.Degraded], counts[check.Down], counts[check.Unknown], waiting)
	if len(rows) == 0 {
		return
	}
	b.WriteString("<table><tr><th>check</th><th>verdict</th><th>since</th><th>reason</th></tr>\n")
	for _, st := range rows {
		reason := ""
		if st.latest != nil {
			reason = string(st.latest.Reason.Code) + ": " + st.latest.Reason.Message
		}
		fmt.Fprintf(b, "<tr><td>%s</td><td>%s</td><td>%s</td><td>%s</td></tr>\n", html.EscapeString(st.id), st.verdict,
			st.since.UTC().Format(time.RFC3339), html.EscapeString(reason))
	}
	b.WriteString("</table>\n")
}
