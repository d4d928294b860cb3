//go:build oracle

package report

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sonde-cli/sonde/check"
)

// readable are the results that real readers get.
func readable() map[string][]check.Result {
	return map[string][]check.Result{"sample": sample(), "hostile": hostile(), "none": nil, "many": many(500)}
}

// reader runs a program on each slice in the format, as its standard input and
// as FILE, and returns its output with how it exited.
func reader(t *testing.T, format string, command ...string) map[string]string {
	t.Helper()
	outputs := make(map[string]string)
	for name, results := range readable() {
		file := filepath.Join(t.TempDir(), name)
		text := write(t, formatOf(t, format).New, options(results), results)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		args := strings.Fields(strings.ReplaceAll(strings.Join(command[1:], " "), "FILE", file))
		cmd := exec.Command(command[0], args...)
		cmd.Stdin = strings.NewReader(text)
		out, err := cmd.CombinedOutput()
		if cmd.ProcessState == nil {
			t.Fatal(err) // the program is not there
		}
		outputs[name] = string(out) + cmd.ProcessState.String()
	}
	return outputs
}

func TestOracleProve(t *testing.T) {
	for name, out := range reader(t, "tap", "prove", "-e", "cat", "FILE") {
		if strings.Contains(out, "Parse errors") || strings.Contains(out, "Bad plan") {
			t.Errorf("%s: %s", name, out)
		}
		if want := map[string]string{"sample": "Failed tests:  1, 5, 8-10", "none": "Result: NOTESTS"}[name]; !strings.Contains(out, want) {
			t.Errorf("%s: want %q in: %s", name, want, out)
		}
	}
}

// TestOracleXUnit validates JUnit by the schema of Jenkins's xUnit plugin.
func TestOracleXUnit(t *testing.T) {
	for name, out := range reader(t, "junit", "xmllint", "--noout", "--schema", "testdata/junit-10.xsd", "FILE") {
		if !strings.HasSuffix(out, " validates\nexit status 0") {
			t.Errorf("%s: %s", name, out)
		}
	}
}

func TestOraclePromtool(t *testing.T) {
	for name, out := range reader(t, "prometheus", "promtool", "check", "metrics") {
		// 3 tells of style: blackbox_exporter's own names have some against it.
		if !strings.HasSuffix(out, "exit status 0") && !strings.HasSuffix(out, "exit status 3") {
			t.Errorf("%s: %s", name, out)
		}
	}
}

func TestOracleJQ(t *testing.T) {
	for name, out := range reader(t, "json", "jq", ".results|length") {
		var n int
		if err := json.NewDecoder(bytes.NewReader([]byte(out))).Decode(&n); err != nil || n != len(readable()[name]) {
			t.Errorf("%s: %d results (%v): %.200s", name, n, err, out)
		}
	}
}
