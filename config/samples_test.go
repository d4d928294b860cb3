package config

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sonde-cli/sonde/check"
)

func TestSamples(t *testing.T) {
	const ms = time.Millisecond
	for _, tc := range []struct {
		name, keys string
		flag       int
		want       check.Samples
		retry      int
		warnings   []string
	}{
		{"none", "", 0, check.Samples{Count: 1, Spacing: 100 * ms, Pass: 1}, 1, nil},
		{"the defaults", "samples: {count: 30}", 0, check.Samples{Count: 30, Spacing: 100 * ms, Pass: 1}, 1, nil},
		{"all keys", "samples: {count: 20, spacing: 50ms, pass: 99.5%}", 0, check.Samples{Count: 20, Spacing: 50 * ms, Pass: 0.995}, 1, nil},
		{"a ratio", "samples: {count: 20, pass: 0.9}", 0, check.Samples{Count: 20, Spacing: 100 * ms, Pass: 0.9}, 1, nil},
		{"the flag", "samples: {count: 20, spacing: 1s, pass: 90%}", 40, check.Samples{Count: 40, Spacing: time.Second, Pass: 0.9}, 1, nil},
		{"the flag alone", "", 40, check.Samples{Count: 40, Spacing: 100 * ms, Pass: 1}, 1, nil},
		{"the flag ends them", "samples: {count: 20}\n    retry: {attempts: 1}", 1, check.Samples{Count: 1, Spacing: 100 * ms, Pass: 1}, 1, nil},
		{"retry gives way to the flag", "retry: {attempts: 3}", 40, check.Samples{Count: 40, Spacing: 100 * ms, Pass: 1}, 1,
			[]string{"5:12: retry does not apply with --samples: no observation is tried again"}},
		{"retry beside one sample", "samples: {count: 1}\n    retry: {attempts: 3}", 0, check.Samples{Count: 1, Spacing: 100 * ms, Pass: 1}, 3, nil},
		{"who expects a rate says what must pass", "samples: {count: 30}\n    expect: pass_rate > 0.5", 0, check.Samples{Count: 30, Spacing: 100 * ms}, 1, nil},
		{"a preference does not", "samples: {count: 30}\n    prefer: pass_rate > 0.5", 0, check.Samples{Count: 30, Spacing: 100 * ms, Pass: 1}, 1, nil},
		{"unless pass is said", "samples: {count: 30, pass: 80%}\n    expect: pass_rate > 0.5", 0, check.Samples{Count: 30, Spacing: 100 * ms, Pass: 0.8}, 1, nil},
		{"a percentile of too few", "samples: {count: 99}\n    expect: [latency.p95 < 1s]\n    prefer: [latency.p99 < 1s]", 0, check.Samples{Count: 99, Spacing: 100 * ms, Pass: 1}, 1,
			[]string{"7:14: latency.p99 of 99 samples is their maximum, it needs at least 100"}},
		{"a percentile of enough", "samples: {count: 100}\n    prefer: [latency.p99 < 1s]", 0, check.Samples{Count: 100, Spacing: 100 * ms, Pass: 1}, 1, nil},
		{"longer than the interval", "samples: {count: 1000}", 0, check.Samples{Count: 1000, Spacing: 100 * ms, Pass: 1}, 1,
			[]string{"5:14: the samples take at least 99.9s, longer than the interval of 30s"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			l := testLoader(nil)
			l.Samples = tc.flag
			set := mustLoad(t, l, "version: 1\nchecks:\n  - name: a\n    ping: {host: x.test}\n    "+tc.keys+"\n")
			c := set.Checks[0]
			if diff := cmp.Diff(tc.want, c.Samples); diff != "" || c.Retry.Attempts != tc.retry {
				t.Errorf("%d attempts, samples (-want +got):\n%s", c.Retry.Attempts, diff)
			}
			var warnings []string
			for _, w := range set.Warnings {
				warnings = append(warnings, fmt.Sprintf("%d:%d: %s", w.Line, w.Column, w.Message))
			}
			if diff := cmp.Diff(tc.warnings, warnings); diff != "" {
				t.Errorf("warnings (-want +got):\n%s", diff)
			}
		})
	}
}

// TestSamplesMerge takes parts from defaults and a template, and marks what is
// over the sample.
func TestSamplesMerge(t *testing.T) {
	c := mustLoad(t, testLoader(nil), `version: 1
defaults: {samples: {spacing: 20ms}}
templates:
  often: {samples: {count: 40}}
checks:
  - name: a
    use: often
    ping: {host: x.test}
    samples: {pass: 75%}
    expect: [latency < 1s, latency.max < 2s]
`).Checks[0]
	if want := (check.Samples{Count: 40, Spacing: 20 * time.Millisecond, Pass: 0.75}); c.Samples != want {
		t.Errorf("samples %+v, want %+v", c.Samples, want)
	}
	marked := map[string]bool{}
	for _, e := range c.Expectations {
		marked[e.Text] = e.Sample
	}
	if diff := cmp.Diff(map[string]bool{"loss < 1": false, "latency < 1s": false, "latency.max < 2s": true}, marked); diff != "" {
		t.Errorf("over the sample (-want +got):\n%s", diff)
	}
}

func TestTargetSamples(t *testing.T) {
	c, err := testLoader(nil).Target("icmp://x.test", TargetOptions{Samples: 30, Expect: []string{"latency.p95 < 1s"}})
	if err != nil {
		t.Fatal(err)
	}
	if want := (check.Samples{Count: 30, Spacing: defaultSpacing, Pass: 1}); c.Samples != want || !c.Expectations[len(c.Expectations)-1].Sample {
		t.Errorf("samples %+v, want %+v; %+v", c.Samples, want, c.Expectations)
	}
	_, err = testLoader(nil).Target("icmp://x.test", TargetOptions{Expect: []string{"loss < 1 || latency.p95 < 1s", "latency.p95 < 1s"}})
	want := `--expect: latency.p95 is a fact over the whole sample and loss one of each observation
    loss < 1 || latency.p95 < 1s
                ^
hint: write two expectations
--expect: latency.p95 is a fact over a sample, and the check observes once
    latency.p95 < 1s
    ^
hint: take some with --samples 30`
	if err == nil || err.Error() != want {
		t.Errorf("error\n%v\nwant\n%s", err, want)
	}
}
