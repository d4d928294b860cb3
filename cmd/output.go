package cmd

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/sonde-cli/sonde/check"
	"github.com/sonde-cli/sonde/report"
)

// destination is one --report: a format and where it goes.
type destination struct {
	format   report.Format
	path     string // empty for a stream
	stderr   bool   // the stream is standard error
	appended bool   // to a file that others write to as well
	unasked  bool   // chosen for a CI system: the run does not fail with it
}

// where names the destination for people.
func (d destination) where() string {
	switch {
	case d.appended && d.unasked:
		return "the step's summary"
	case d.path != "":
		return d.path
	case d.stderr:
		return "standard error"
	default:
		return "standard output"
	}
}

// parseReports reads the values of --report, FORMAT or FORMAT=PATH. What is
// not said to go to a file goes to standard output, which takes one document;
// when no report claims it, the fallback does, if there is one.
func parseReports(values []string, fallback report.Format) ([]destination, error) {
	return parseReportsOf(report.Formats(), values, fallback)
}

// parseReportsOf is parseReports for a choice of formats.
func parseReportsOf(formats []report.Format, values []string, fallback report.Format) ([]destination, error) {
	var all []destination
	seen := make(map[string]string)
	for _, value := range values {
		name, path, hasPath := strings.Cut(value, "=")
		format, err := formatNamed(formats, name)
		if err != nil {
			return nil, err
		}
		if hasPath && path == "" {
			return nil, usagef("for example: --report "+name+"=out.txt", "--report %s: the path is missing", value)
		}
		if path == "-" || path == "/dev/stdout" {
			path = ""
		}
		key := path
		if path != "" {
			key = resolved(path)
		}
		switch other, taken := seen[key]; {
		case taken && path == "":
			return nil, usagef("give one of them a file: --report "+name+"=PATH",
				"standard output holds one report, not both %s and %s", other, name)
		case taken:
			return nil, usagef("each report needs a file of its own", "two reports for %s: %s and %s", path, other, name)
		}
		seen[key] = name
		all = append(all, destination{format: format, path: path})
	}
	if _, taken := seen[""]; !taken && fallback.New != nil {
		all = append([]destination{{format: fallback}}, all...)
	}
	return all, nil
}

// tableFormat is what is shown when no report is asked for.
func tableFormat() report.Format { return report.Formats()[0] }

// mustFormat returns a format that there is.
func mustFormat(name string) report.Format {
	f, err := formatNamed(report.Formats(), name)
	if err != nil {
		panic(err) // a misspelling in this package
	}
	return f
}

func formatNamed(formats []report.Format, name string) (report.Format, error) {
	var names []string
	for _, f := range formats {
		if f.Name == name {
			return f, nil
		}
		names = append(names, f.Name)
	}
	return report.Format{}, usagef(known("the formats are ", name, names), "there is no report format %q", name)
}

// output is a report while it is written.
type output struct {
	destination
	file *atomicFile // nil for a stream
	room int         // in a file that is appended to, in bytes
	sink check.Sink
	err  error // the first error; nothing is written after it
}

// outputs are the reports of a run.
type outputs []*output

// openOutputs opens the files of all reports, so that a path that cannot be
// written is known before anything is measured.
func (a *App) openOutputs(destinations []destination) (outputs, error) {
	var all outputs
	var also []string
	for _, d := range destinations {
		o := &output{destination: d}
		if err := o.open(); err != nil {
			if d.unasked {
				a.warn("no "+d.format.Name+" report for the CI system: "+err.Error(), "")
				continue
			}
			all.discard()
			return nil, usagef("choose another path for --report "+d.format.Name+"=PATH", "cannot write the %s report: %v", d.format.Name, err)
		}
		if d.unasked {
			also = append(also, d.format.Name+" ("+d.where()+")")
		}
		all = append(all, o)
	}
	if len(also) > 0 {
		a.stderr("hint: this CI job also gets %s; --report table leaves that out\n", strings.Join(also, ", "))
	}
	return all, nil
}

// open opens the file, if there is one.
func (o *output) open() (err error) {
	switch {
	case o.appended:
		o.file, o.room, err = openSummary(o.path)
	case o.path != "":
		o.file, err = createAtomic(o.path)
	}
	return err
}

// openSummary opens the summary of a step of GitHub Actions and returns how many
// bytes there is room for.
func openSummary(path string) (*atomicFile, int, error) {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o666)
	if err != nil {
		return nil, 0, err
	}
	info, err := file.Stat()
	room := 0
	if err == nil {
		room = report.SummaryLimit - int(min(info.Size(), report.SummaryLimit))
	}
	if err == nil && room < leastSummary {
		err = errors.New("the step's summary is full")
	}
	if err == nil && info.Size() > 0 { // whatever stands there ends here
		_, err = file.WriteString("\n\n")
	}
	if err != nil {
		_ = file.Close() // the error that led here is the one to tell
		return nil, 0, err
	}
	return &atomicFile{File: file}, room, nil
}

// begin starts the reports. Colour and width are those of standard output and
// are left out elsewhere.
func (all outputs) begin(stdout, stderr io.Writer, o report.Options) {
	plain := o
	plain.Color, plain.Width = false, 0
	for _, out := range all {
		plain.Limit = out.room
		switch {
		case out.file != nil:
			out.sink = out.format.New(out.file, plain)
		case out.stderr:
			out.sink = out.format.New(stderr, plain)
		default:
			out.sink = out.format.New(stdout, o)
		}
	}
}

// put hands a result to every report. A report that fails does not stop the
// others; the error is kept for finish.
func (all outputs) put(r check.Result) {
	for _, o := range all {
		if o.err == nil {
			o.err = o.sink.Put(r)
		}
	}
}

// unread reports whether there is one report, and its reader went away.
func (all outputs) unread() bool {
	return len(all) == 1 && all[0].file == nil && unread(all[0].err)
}

// finish completes all reports and returns their errors. A reader that went
// away (`| head`) is no error, and what nobody asked for only a warning.
func (all outputs) finish(a *App) []error {
	var errs []error
	for _, o := range all {
		if o.err == nil {
			o.err = o.sink.Close()
		}
		switch {
		case o.file == nil:
		case o.err == nil:
			o.err = o.file.commit()
		default:
			o.file.discard()
		}
		switch {
		case o.err == nil || unread(o.err):
		case o.unasked:
			a.warn(o.describe().Error(), "")
		default:
			errs = append(errs, o.describe())
		}
	}
	return errs
}

// describe says which report is lost and why, by the names that the user
// knows: not that of a temporary file.
func (o *output) describe() error {
	cause := o.err
	var path *fs.PathError
	if errors.As(cause, &path) {
		cause = path.Err
	}
	return fmt.Errorf("cannot write the %s report to %s: %w", o.format.Name, o.where(), cause)
}

// discard drops what was opened.
func (all outputs) discard() {
	for _, o := range all {
		if o.file != nil {
			o.file.discard()
		}
	}
}
