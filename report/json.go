package report

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"time"
	"unicode/utf16"

	"github.com/sonde-cli/sonde/check"
)

// document writes one JSON document at Close. Results are encoded as they
// come: that is smaller to hold and leaves little to do at the end.
type document struct {
	w       io.Writer
	o       Options
	results [][]byte
	sum     check.Summary
}

func newJSON(w io.Writer, o Options) check.Sink {
	return InOrder(o.Checks, &document{w: w, o: o.withDefaults()})
}

func (d *document) Put(r check.Result) error {
	line, err := encode(r)
	if err != nil {
		return wrap("json", err)
	}
	d.results = append(d.results, line)
	d.sum.Add(r)
	return nil
}

// Close writes the document with each result on a line of its own.
func (d *document) Close() error {
	head, err := json.Marshal(struct {
		Schema   int           `json:"schema"`
		Started  time.Time     `json:"started"`
		Duration float64       `json:"duration_seconds"`
		ExitCode int           `json:"exit_code"`
		Summary  check.Summary `json:"summary"`
	}{check.Schema, d.o.Started.UTC(), d.o.elapsed().Seconds(), d.o.ExitCode(d.sum), d.sum})
	if err != nil {
		return wrap("json", err)
	}
	b := bufio.NewWriter(d.w) // keeps the first error for Flush
	fmt.Fprintf(b, "%s,\"results\":[", head[:len(head)-1])
	separator := "\n"
	for _, line := range d.results {
		fmt.Fprintf(b, "%s%s", separator, line)
		separator = ",\n"
	}
	fmt.Fprint(b, "]")
	if r := d.o.comparison(); r != nil {
		text, err := json.Marshal(r)
		if err != nil {
			return wrap("json", err)
		}
		fmt.Fprintf(b, ",\n\"comparison\":%s", visible(text))
	}
	fmt.Fprintln(b, "}")
	return wrap("json", b.Flush())
}

// stream writes each result at once as a line of JSON.
type stream struct{ w io.Writer }

func newNDJSON(w io.Writer, _ Options) check.Sink { return stream{w} }

func (s stream) Put(r check.Result) error {
	line, err := Line(r)
	if err != nil {
		return wrap("ndjson", err)
	}
	_, err = s.w.Write(line)
	return wrap("ndjson", err)
}

// Line returns the result as the report ndjson has it: one JSON object with
// its schema number, and a newline.
func Line(r check.Result) ([]byte, error) {
	body, err := encode(r)
	if err != nil {
		return nil, err
	}
	return fmt.Appendf(nil, "{\"schema\":%d,%s\n", check.Schema, body[1:]), nil
}

func (stream) Close() error { return nil }

// encode returns the result's JSON without a newline.
func encode(r check.Result) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false) // "latency < 300ms" is for people too
	err := e.Encode(r)
	return visible(bytes.TrimRight(b.Bytes(), "\n")), err
}

// visible escapes the characters that JSON allows as they are but a terminal
// would act on: DEL, C1 controls, direction overrides. The document means the
// same.
func visible(text []byte) []byte {
	if !bytes.ContainsFunc(text, unsafe) {
		return text
	}
	out := make([]byte, 0, len(text)+64)
	for _, r := range string(text) {
		if !unsafe(r) {
			out = append(out, string(r)...)
			continue
		}
		for _, unit := range utf16.AppendRune(nil, r) {
			out = fmt.Appendf(out, `\u%04x`, unit)
		}
	}
	return out
}
