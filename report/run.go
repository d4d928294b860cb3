package report

import (
	"bufio"
	"io"

	"github.com/sonde-cli/sonde/check"
)

// run is what a report at the end is made of.
type run struct {
	o       Options
	results []check.Result // in file order
	sum     check.Summary
}

// atClose makes a format's New of a function that writes all results at once.
// The function need not look at write errors: the writer keeps the first.
func atClose(name string, render func(*bufio.Writer, run)) func(io.Writer, Options) check.Sink {
	return func(w io.Writer, o Options) check.Sink {
		return InOrder(o.Checks, &collector{name: name, render: render, w: w, run: run{o: o.withDefaults()}})
	}
}

type collector struct {
	run
	name   string
	render func(*bufio.Writer, run)
	w      io.Writer
}

func (c *collector) Put(r check.Result) error {
	c.results = append(c.results, r)
	c.sum.Add(r)
	return nil
}

func (c *collector) Close() error {
	b := bufio.NewWriterSize(c.w, 64<<10)
	c.render(b, c.run)
	return wrap(c.name, b.Flush())
}
