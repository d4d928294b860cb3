package cmd

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/sonde-cli/sonde/report"
)

const troubledChecks = `version: 1
checks:
  - {name: good, toy: {does: up}}
  - {name: shaky, toy: {does: flaky}, retry: {attempts: 2, wait: 1ms}}
  - {name: gone, toy: {does: down}, retry: {attempts: 2, wait: 1ms}}
  - {name: defect, toy: {does: panic}}
  - {name: stuck, toy: {does: hang}, timeout: 1m}
  - {name: behind, toy: {does: up}}
`

// TestReportsOfTroubledRun holds that every format, all at once, is one whole
// document after retries, a panic, a check that was cut short and one that did
// not begin. The run's deadline is one of a bubble's clock, for a busy machine
// may not come as far as the check that hangs by a real one.
func TestReportsOfTroubledRun(t *testing.T) { synctest.Test(t, reportsOfTroubledRun) }

func reportsOfTroubledRun(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "checks.yaml")
	if err := os.WriteFile(file, []byte(troubledChecks), 0o600); err != nil {
		t.Fatal(err)
	}
	args := []string{"run", file, "--concurrency", "1", "--timeout", "2s"}
	for _, f := range report.Formats() {
		args = append(args, "--report", f.Name+"="+filepath.Join(dir, f.Name+".prom"))
	}
	p := newProcess(args...)
	p.demand(t, ExitDeadline)
	for _, f := range report.Formats() {
		text, err := os.ReadFile(filepath.Join(dir, f.Name+".prom"))
		if err == nil {
			err = whole(f.Name, string(text))
		}
		if err != nil {
			t.Errorf("%s: %v in:\n%s", f.Name, err, text)
		}
		for _, id := range []string{"shaky", "gone", "defect", "stuck", "behind"} {
			if !strings.Contains(string(text), id) {
				t.Errorf("%s says nothing of %s:\n%s", f.Name, id, text)
			}
		}
	}
}

// whole reports what is wrong with a document of six results.
func whole(format, text string) error {
	switch format {
	case "json", "gitlab":
		return json.Unmarshal([]byte(text), new(any))
	case "ndjson":
		for line := range strings.Lines(text) {
			if err := json.Unmarshal([]byte(line), new(any)); err != nil {
				return err
			}
		}
		return times(text, "\n", 6)
	case "junit":
		d := xml.NewDecoder(strings.NewReader(text))
		for {
			if _, err := d.Token(); errors.Is(err, io.EOF) {
				return errors.Join(times(text, "<testcase ", 6), times(text, "<skipped ", 1), times(text, "<error ", 2),
					times(text, "<failure ", 1), times(text, "<rerunFailure ", 1), times(text, "<flakyFailure ", 1))
			} else if err != nil {
				return err
			}
		}
	case "html":
		return errors.Join(xml.Unmarshal([]byte(text), new(struct{})), times(text, "<details ", 6))
	case "tap":
		return errors.Join(times(text, "\n1..6\n", 1), times(text, "ok ", 6), times(text, "not ok ", 4))
	}
	return nil
}

func times(text, part string, want int) error {
	if got := strings.Count(text, part); got != want {
		return fmt.Errorf("%d of %q, want %d", got, part, want)
	}
	return nil
}
