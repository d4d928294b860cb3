package report

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sonde-cli/sonde/check"
)

// TestJSONKeepsHostileText holds that escaping for the terminal does not
// change what the document says.
func TestJSONKeepsHostileText(t *testing.T) {
	results := hostile()
	var doc struct {
		Results []struct {
			ID    string `json:"id"`
			Facts map[string]any
		}
	}
	if err := json.Unmarshal([]byte(write(t, newJSON, options(results), results)), &doc); err != nil {
		t.Fatal(err)
	}
	if len(doc.Results) != len(results) {
		t.Fatalf("%d results, want %d", len(doc.Results), len(results))
	}
	for i, r := range results {
		if want := strings.ToValidUTF8(strings.ReplaceAll(r.ID, "\xff\xfe", "\ufffd\ufffd"), "?"); doc.Results[i].ID != want {
			t.Errorf("id %q, want %q", doc.Results[i].ID, want)
		}
		if nan, ok := doc.Results[i].Facts["nan"]; !ok || nan != nil {
			t.Errorf("NaN became %v (there: %v), want null", nan, ok)
		}
	}
}

// TestNDJSON holds that each line is one result, written at once.
func TestNDJSON(t *testing.T) {
	var b bytes.Buffer
	s := newNDJSON(&b, Options{})
	for i, r := range append(sample(), hostile()...) {
		b.Reset()
		if err := s.Put(r); err != nil {
			t.Fatal(err)
		}
		var line struct {
			Schema  int           `json:"schema"`
			Verdict check.Verdict `json:"verdict"`
		}
		if err := json.Unmarshal(b.Bytes(), &line); err != nil {
			t.Fatalf("result %d: %v", i, err)
		}
		if strings.Count(b.String(), "\n") != 1 || line.Schema != check.Schema || line.Verdict != r.Verdict {
			t.Errorf("result %d: schema %d, verdict %v, %d lines", i, line.Schema, line.Verdict, strings.Count(b.String(), "\n"))
		}
	}
}

// many returns n results that differ.
func many(n int) []check.Result {
	like := sample()
	results := make([]check.Result, n)
	for i := range results {
		results[i] = like[i%len(like)]
		results[i].ID = "check " + strconv.Itoa(i)
	}
	return results
}

// TestMany puts a large run, the first check last, into each format: what is
// quadratic would not end.
func TestMany(t *testing.T) {
	results := many(5_000)
	arrival := append(append([]check.Result{}, results[1:]...), results[0])
	for _, f := range everySink() {
		o := options(results)
		o.Width = 120
		text := write(t, f.New, o, arrival)
		if f.Name == "json" && !json.Valid([]byte(text)) {
			t.Error("json: not valid")
		}
		if f.Name == "quiet" {
			want := 0
			for _, r := range results {
				if r.Verdict != check.Up || r.Flaky {
					want++
				}
			}
			if diff := cmp.Diff(want, strings.Count(text, "\n")); diff != "" {
				t.Errorf("quiet lines (-want +got):\n%s", diff)
			}
		}
	}
}

func BenchmarkFormats(b *testing.B) {
	results := many(10_000)
	for _, f := range everySink() {
		b.Run(f.Name, func(b *testing.B) {
			o := options(results)
			o.Width, o.Color = 120, true
			for b.Loop() {
				var out bytes.Buffer
				s := f.New(&out, o)
				for _, r := range results {
					if err := s.Put(r); err != nil {
						b.Fatal(err)
					}
				}
				if err := s.Close(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
