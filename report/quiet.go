package report

import (
	"bufio"
	"io"

	"github.com/sonde-cli/sonde/check"
)

// quiet writes nothing while all is well, so that cron sends no mail, and else
// one line for each check that is not up. A flaky check gets its line too: it
// is never hidden.
type quiet struct{ b *bufio.Writer }

func newQuiet(w io.Writer, o Options) check.Sink {
	return InOrder(o.Checks, quiet{bufio.NewWriter(w)})
}

func (q quiet) Put(r check.Result) error {
	if r.Verdict == check.Up && !r.Flaky {
		return nil
	}
	text := r.Verdict.String() + " " + clean(r.ID)
	if about := remarks(r); about != "" {
		text += " " + clean(about)
	}
	_, err := q.b.WriteString(text + "\n")
	return wrap("quiet", err)
}

func (q quiet) Close() error { return wrap("quiet", q.b.Flush()) }
