package probes

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sonde-cli/sonde/probes/echo"
)

func TestSummarise(t *testing.T) {
	const ms = time.Millisecond
	hundred := make([]time.Duration, 100)
	for i := range hundred {
		hundred[i] = time.Duration(100-i) * ms
	}
	for name, tc := range map[string]struct {
		rtts []time.Duration
		want rttSummary
		ok   bool
	}{
		"none":         {rtts: []time.Duration{echo.NoReply, echo.NoReply}},
		"empty":        {},
		"one":          {[]time.Duration{echo.NoReply, 4 * ms}, rttSummary{min: 4 * ms, avg: 4 * ms, median: 4 * ms, p95: 4 * ms, max: 4 * ms}, true},
		"zero is some": {[]time.Duration{0}, rttSummary{}, true},
		"two": {[]time.Duration{6 * ms, 2 * ms}, rttSummary{
			min: 2 * ms, avg: 4 * ms, median: 2 * ms, p95: 6 * ms, max: 6 * ms, stddev: 2 * ms, jitter: 4 * ms, pairs: 1,
		}, true},
		"with loss": {[]time.Duration{1 * ms, echo.NoReply, 3 * ms, 8 * ms}, rttSummary{
			min: 1 * ms, avg: 4 * ms, median: 3 * ms, p95: 8 * ms, max: 8 * ms, stddev: 2943920, jitter: 3500 * time.Microsecond, pairs: 2,
		}, true},
		"hundred": {hundred, rttSummary{
			min: ms, avg: 50500 * time.Microsecond, median: 50 * ms, p95: 95 * ms, max: 100 * ms, stddev: 28866070, jitter: ms, pairs: 99,
		}, true},
	} {
		got, ok := summarise(tc.rtts)
		if diff := cmp.Diff(tc.want, got, cmp.AllowUnexported(rttSummary{})); diff != "" || ok != tc.ok {
			t.Errorf("%s: ok %t %s", name, ok, diff)
		}
	}
}
