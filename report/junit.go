package report

import (
	"bytes"
	"encoding/xml"
	"strconv"
	"strings"
	"time"

	"github.com/sonde-cli/sonde/check"
)

// The elements of a JUnit report as the Jenkins xUnit schema (junit-10.xsd)
// orders them. That schema allows properties and a file only on a test suite,
// so each check is a suite of one case.
type junitSuites struct {
	XMLName  xml.Name     `xml:"testsuites"`
	Name     string       `xml:"name,attr"`
	Time     string       `xml:"time,attr"`
	Tests    int          `xml:"tests,attr"`
	Failures int          `xml:"failures,attr"`
	Errors   int          `xml:"errors,attr"`
	Suites   []junitSuite `xml:"testsuite"`
}

type junitSuite struct {
	Name       string          `xml:"name,attr"`
	Tests      int             `xml:"tests,attr"`
	Failures   int             `xml:"failures,attr"`
	Errors     int             `xml:"errors,attr"`
	Skipped    int             `xml:"skipped,attr"`
	Time       string          `xml:"time,attr"`
	Timestamp  string          `xml:"timestamp,attr,omitempty"`
	File       string          `xml:"file,attr,omitempty"`
	Properties []junitProperty `xml:"properties>property"`
	Case       junitCase       `xml:"testcase"`
}

type junitProperty struct {
	Name  string `xml:"name,attr"`
	Value string `xml:"value,attr"`
}

type junitCase struct {
	Name          string       `xml:"name,attr"`
	Class         string       `xml:"classname,attr"`
	Time          string       `xml:"time,attr"`
	Skipped       *junitText   `xml:"skipped"`
	Error         *junitText   `xml:"error"`
	Failure       *junitText   `xml:"failure"`
	RerunFailures []junitRerun `xml:"rerunFailure"`
	RerunErrors   []junitRerun `xml:"rerunError"`
	FlakyFailures []junitRerun `xml:"flakyFailure"`
	FlakyErrors   []junitRerun `xml:"flakyError"`
	Out           *junitBlock  `xml:"system-out"`
}

type junitText struct {
	Message string `xml:"message,attr"`
	Type    string `xml:"type,attr"`
	Text    string `xml:",cdata"`
}

type junitBlock struct {
	Text string `xml:",cdata"`
}

type junitRerun struct {
	Message string `xml:"message,attr"`
	Type    string `xml:"type,attr"`
	Trace   string `xml:"stackTrace"`
}

// writeJUnit writes down as a failure and unknown as an error. A check that did
// not begin is skipped, and so is an optional one that is not up, since neither
// says that something is wrong with the target.
func writeJUnit(b *bytes.Buffer, r run) {
	doc := junitSuites{Name: "sonde", Time: junitTime(r.o.elapsed())}
	for _, res := range r.results {
		s := junitSuiteOf(r.o, res)
		doc.Tests++
		doc.Failures += s.Failures
		doc.Errors += s.Errors
		doc.Suites = append(doc.Suites, s)
	}
	b.WriteString(xml.Header)
	e := xml.NewEncoder(b)
	e.Indent("", "  ")
	_ = e.Encode(doc) // into memory, and of strings and numbers: it cannot fail
	b.WriteByte('\n')
}

func junitSuiteOf(o Options, r check.Result) junitSuite {
	id, took := clean(r.ID), junitTime(r.Latency)
	s := junitSuite{
		Name: id, Tests: 1, Time: took, File: clean(o.Repository(r.File)), Properties: junitProperties(r),
		Case: junitCase{Name: id, Class: "sonde." + clean(r.Kind), Time: took},
	}
	if !r.Started.IsZero() {
		s.Timestamp = r.Started.UTC().Format("2006-01-02T15:04:05")
	}
	body := strings.Join(plainDetail(r), "\n")
	text := &junitText{Message: clean(reason(r.Reason)), Type: clean(string(r.Reason.Code)), Text: "\n" + body + "\n"}
	switch {
	case r.Flaky && o.fails(r):
		text.Message, text.Type = clean(remarks(r)), "flaky"
	case r.Optional:
		text.Message = "optional, " + r.Verdict.String() + ": " + text.Message
	}
	switch {
	case r.Optional && o.fails(r), unbegun(r):
		s.Skipped, s.Case.Skipped = 1, text
	case o.counts(r) == check.Down:
		s.Failures, s.Case.Failure = 1, text
	case r.Verdict == check.Degraded || r.Flaky:
		s.Case.Out = &junitBlock{"\n" + body + "\n"}
	case r.Verdict == check.Up:
	default:
		s.Errors, s.Case.Error = 1, text
	}
	junitAttempts(&s.Case, r)
	return s
}

// junitAttempts adds the attempts before as Maven Surefire does: flaky ones
// when the case passed in the end, else rerun ones.
func junitAttempts(c *junitCase, r check.Result) {
	passed := c.Failure == nil && c.Error == nil && c.Skipped == nil
	for i, line := range attempts(r) {
		code := r.Failed[i].Code
		rerun := junitRerun{Message: clean(reason(r.Failed[i].Reason)), Type: clean(string(code)), Trace: line}
		switch {
		case passed && code.Local():
			c.FlakyErrors = append(c.FlakyErrors, rerun)
		case passed:
			c.FlakyFailures = append(c.FlakyFailures, rerun)
		case code.Local():
			c.RerunErrors = append(c.RerunErrors, rerun)
		default:
			c.RerunFailures = append(c.RerunFailures, rerun)
		}
	}
}

func junitProperties(r check.Result) []junitProperty {
	props := []junitProperty{
		{"verdict", r.Verdict.String()}, {"kind", clean(r.Kind)}, {"target", clean(r.Target)},
		{"attempts", strconv.Itoa(r.Attempts)}, {"flaky", strconv.FormatBool(r.Flaky)}, {"optional", strconv.FormatBool(r.Optional)},
	}
	if r.Line > 0 {
		props = append(props, junitProperty{"line", strconv.Itoa(r.Line)})
	}
	for _, p := range r.Phases {
		props = append(props, junitProperty{"phase." + clean(p.Name), check.FormatDuration(p.Duration)})
	}
	for _, f := range factLines(r, true) {
		props = append(props, junitProperty{"fact." + f.name, f.value})
	}
	for _, p := range r.Parts {
		props = append(props, junitProperty{"part." + clean(p.Name), partOutcome(p)})
	}
	return props
}

// junitTime writes seconds as the schema's SUREFIRE_TIME, which knows no sign,
// no exponent and at most three decimals.
func junitTime(d time.Duration) string {
	return strconv.FormatFloat(max(0, d.Seconds()), 'f', 3, 64)
}
