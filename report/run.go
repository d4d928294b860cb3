package report

import (
	"bytes"
	"io"

	"github.com/sonde-cli/sonde/check"
)

// run is what a report at the end is made of.
type run struct {
	o       Options
	results []check.Result // in file order
	sum     check.Summary
}

// atClose makes a format's New of a function that renders all results at once.
func atClose(name string, render func(*bytes.Buffer, run)) func(io.Writer, Options) check.Sink {
	return func(w io.Writer, o Options) check.Sink {
		return InOrder(o.Checks, &collector{name: name, render: render, w: w, run: run{o: o.withDefaults()}})
	}
}

type collector struct {
	run
	name   string
	render func(*bytes.Buffer, run)
	w      io.Writer
}

func (c *collector) Put(r check.Result) error {
	c.results = append(c.results, r)
	c.sum.Add(r)
	return nil
}

func (c *collector) Close() error {
	var b bytes.Buffer
	c.render(&b, c.run)
	_, err := b.WriteTo(c.w)
	return wrap(c.name, err)
}
