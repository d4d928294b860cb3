package web

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sonde-cli/sonde/check"
)

// checkCollector shows the latest state of each check as gauges. It describes
// nothing beforehand, because the labels of a check's info are the user's.
type checkCollector struct{ server *Server }

// Describe tells nothing, which makes the collector an unchecked one.
func (c *checkCollector) Describe(chan<- *prometheus.Desc) {}

// Collect makes the metrics of all checks with details.
func (c *checkCollector) Collect(ch chan<- prometheus.Metric) {
	labels := []string{"check", "kind"}
	up := prometheus.NewDesc("sonde_up", "1 when the check is up or degraded, 0 when it is down; absent when it is unknown", labels, nil)
	started := prometheus.NewDesc("sonde_last_run_timestamp_seconds", "When the check's latest run began", labels, nil)
	since := prometheus.NewDesc("sonde_verdict_since_timestamp_seconds", "When the check got the verdict that it has", labels, nil)
	phase := prometheus.NewDesc("sonde_phase_duration_seconds", "Duration of the latest run by phase", append(labels, "phase"), nil)
	parts := prometheus.NewDesc("sonde_parts", "Parts of the latest run by verdict, such as the addresses of a name; absent for a check without parts", append(labels, "verdict"), nil)
	summed := prometheus.NewDesc("sonde_checks_summed", "Checks that have no metrics of their own", nil, nil)
	gauge := func(desc *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, v, labels...)
	}
	without := 0
	picked := c.server.pick(func(st *state) bool {
		if !st.detail {
			without++
		}
		return st.detail
	})
	for st := range picked {
		ch <- info(st)
		r := st.latest
		if r == nil {
			continue
		}
		if r.Verdict != check.Unknown {
			gauge(up, truth(r.Verdict != check.Down), st.id, r.Kind)
		}
		gauge(started, seconds(r.Started), st.id, r.Kind)
		gauge(since, seconds(st.since), st.id, r.Kind)
		for _, p := range r.Phases {
			gauge(phase, p.Duration.Seconds(), st.id, r.Kind, p.Name)
		}
		for _, v := range []check.Verdict{check.Up, check.Degraded, check.Down, check.Unknown} {
			if len(r.Parts) == 0 {
				break
			}
			gauge(parts, float64(r.PartsThat(v)), st.id, r.Kind, v.String())
		}
	}
	gauge(summed, float64(without))
}

// info carries what is constant about a check: its target and its labels, with
// a prefix so that they collide with nothing.
func info(st *state) prometheus.Metric {
	names, values := []string{"check", "kind", "target"}, []string{st.id, st.check.Kind, clean(st.check.Mask.String(st.check.Target))}
	for _, name := range slices.Sorted(maps.Keys(st.check.Labels)) {
		if label := "label_" + labelName(name); !slices.Contains(names, label) {
			names, values = append(names, label), append(values, clean(st.check.Mask.String(st.check.Labels[name])))
		}
	}
	desc := prometheus.NewDesc("sonde_check_info", "What is constant about a check; always 1", names, nil)
	return prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, 1, values...)
}

func labelName(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r >= 'A' && r <= 'Z' {
			return r
		}
		return '_'
	}, s)
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// seconds returns a time in seconds since 1970.
func seconds(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }
