package cmd

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/sonde-cli/sonde/check"
	"github.com/sonde-cli/sonde/report"
)

// destination is one --report: a format and where it goes.
type destination struct {
	format report.Format
	path   string // empty for standard output
}

// parseReports reads the values of --report, FORMAT or FORMAT=PATH. What is
// not said to go to a file goes to standard output, which takes one document;
// when no report claims it, the fallback does.
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
			if key, err = filepath.Abs(path); err != nil {
				return nil, usagef("", "--report %s: %v", value, err)
			}
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
	if _, taken := seen[""]; !taken {
		all = append([]destination{{format: fallback}}, all...)
	}
	return all, nil
}

// tableFormat is what is shown when no report is asked for.
func tableFormat() report.Format { return report.Formats()[0] }

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
	file *atomicFile // nil for standard output
	sink check.Sink
	err  error // the first error; nothing is written after it
}

// outputs are the reports of a run.
type outputs []*output

// openOutputs opens the files of all reports, so that a path that cannot be
// written is known before anything is measured.
func openOutputs(destinations []destination) (outputs, error) {
	var all outputs
	for _, d := range destinations {
		o := &output{destination: d}
		if d.path != "" {
			file, err := createAtomic(d.path)
			if err != nil {
				all.discard()
				return nil, usagef("choose another path for --report "+d.format.Name+"=PATH", "cannot write the %s report: %v", d.format.Name, err)
			}
			o.file = file
		}
		all = append(all, o)
	}
	return all, nil
}

// begin starts the reports. Colour and width are those of standard output and
// are left out of files.
func (all outputs) begin(stdout io.Writer, o report.Options) {
	plain := o
	plain.Color, plain.Width = false, 0
	for _, out := range all {
		if out.file != nil {
			out.sink = out.format.New(out.file, plain)
		} else {
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
// away (`| head`) is no error.
func (all outputs) finish() []error {
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
		if o.err != nil && !unread(o.err) {
			errs = append(errs, o.describe())
		}
	}
	return errs
}

// describe says which report is lost and why, by the names that the user
// knows: not that of a temporary file.
func (o *output) describe() error {
	where, cause := o.path, o.err
	if where == "" {
		where = "standard output"
	}
	var path *fs.PathError
	if errors.As(cause, &path) {
		cause = path.Err
	}
	return fmt.Errorf("cannot write the %s report to %s: %w", o.format.Name, where, cause)
}

// discard drops what was opened.
func (all outputs) discard() {
	for _, o := range all {
		if o.file != nil {
			o.file.discard()
		}
	}
}
