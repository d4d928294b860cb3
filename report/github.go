package report

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/sonde-cli/sonde/check"
)

// githubLimit is how many annotations of one kind GitHub shows for a step.
const githubLimit = 10

// githubLevels are the kinds of annotation.
var githubLevels = [...]string{"error", "warning", "notice"}

// writeGitHub writes workflow commands that annotate the line of the check's
// file. Where there are more than GitHub shows, the last one says how many are
// left.
func writeGitHub(b *bytes.Buffer, r run) {
	byLevel := make(map[string][]check.Result)
	for _, res := range r.results {
		if level := githubLevel(r.o, res); level != "" {
			byLevel[level] = append(byLevel[level], res)
		}
	}
	for _, level := range githubLevels {
		shown := byLevel[level]
		var more []check.Result
		if len(shown) > githubLimit {
			shown, more = shown[:githubLimit-1], shown[githubLimit-1:]
		}
		for _, res := range shown {
			b.WriteString(annotation(r.o, level, res))
		}
		if len(more) > 0 {
			fmt.Fprintf(b, "::%s title=%s::%s\n", level, githubProperty(plural(len(more), "more check")), githubData(more))
		}
	}
	b.WriteString(plainSummary(r) + "\n")
}

// githubLevel returns the kind of annotation that a result deserves, "" for
// none.
func githubLevel(o Options, r check.Result) string {
	switch {
	case r.Verdict == check.Up && !r.Flaky:
		return ""
	case r.Optional, o.counts(r) == check.Up:
		return "notice"
	case o.fails(r):
		return "error"
	default:
		return "warning"
	}
}

func annotation(o Options, level string, r check.Result) string {
	file, line := r.File, r.Line
	for _, f := range r.Findings {
		if !f.OK && f.File != "" {
			file, line = f.File, f.Line
			break
		}
	}
	if file != "" {
		file = o.Repository(file)
	}
	title := clean(r.ID) + " is " + r.Verdict.String()
	if r.Flaky {
		title += ", flaky"
	}
	lines := append([]string{clean(r.Target)}, plainDetail(r)...)
	return GitHubCommand{level, file, line, 0, title, strings.Join(lines, "\n")}.String()
}

// GitHubCommand is a workflow command that annotates a line of a file:
// https://docs.github.com/actions/reference/workflows-and-actions/workflow-commands.
type GitHubCommand struct {
	Level          string // error, warning or notice
	File           string // empty for none
	Line, Column   int    // from 1; 0 for the whole file or line
	Title, Message string // the message may have several lines
}

// String returns the command as a line of output, whatever its texts hold.
func (c GitHubCommand) String() string {
	var props []string
	if c.File != "" {
		props = append(props, "file="+githubProperty(clean(c.File)))
		if c.Line > 0 {
			props = append(props, fmt.Sprintf("line=%d", c.Line))
		}
		if c.Line > 0 && c.Column > 0 {
			props = append(props, fmt.Sprintf("col=%d", c.Column))
		}
	}
	props = append(props, "title="+githubProperty(c.Title))
	return "::" + c.Level + " " + strings.Join(props, ",") + "::" + githubEscape(c.Message) + "\n"
}

// githubData lists results in one message.
func githubData(results []check.Result) string {
	const most = 50
	var lines []string
	for i, r := range results {
		if i == most {
			lines = append(lines, fmt.Sprintf("and %d more", len(results)-most))
			break
		}
		lines = append(lines, r.Verdict.String()+" "+short(clean(r.ID), 100)+" "+short(clean(remarks(r)), 200))
	}
	return githubEscape(strings.Join(lines, "\n"))
}

// githubEscape escapes the message of a workflow command.
func githubEscape(s string) string {
	return strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A").Replace(s)
}

// githubProperty escapes a property of a workflow command.
func githubProperty(s string) string {
	return strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A", ":", "%3A", ",", "%2C").Replace(s)
}
