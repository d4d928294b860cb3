package web

import (
	"net/http"
	"runtime"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/sonde-cli/sonde/check"
	"github.com/sonde-cli/sonde/scheduler"
)

// latencyBuckets are the classic buckets of latencies, in seconds.
func latencyBuckets() []float64 {
	return []float64{.001, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}
}

// queueBuckets are those of queue delays.
func queueBuckets() []float64 { return []float64{.001, .005, .01, .05, .1, .5, 1, 5, 10, 60} }

// metrics are the counters of a Server.
type metrics struct {
	registry *prometheus.Registry
	results  *prometheus.CounterVec
	reasons  *prometheus.CounterVec
	flaky    *prometheus.CounterVec
	latency  *prometheus.HistogramVec
	queue    *prometheus.HistogramVec

	reloaded   prometheus.Gauge
	reloadTime prometheus.Gauge
	reloads    *prometheus.CounterVec
	dropped    prometheus.Counter

	sums   map[string]*series             // of checks without metrics of their own, by kind
	queues map[string]prometheus.Observer // by kind
}

func newMetrics(s *Server) *metrics {
	m := &metrics{registry: s.registry, sums: make(map[string]*series), queues: make(map[string]prometheus.Observer)}
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Name: name, Help: help})
	}
	// A native bucket takes some 100 bytes in each series, and there is a series
	// for each check: 40 of them, a fifth wide, cost 6 KB where 100 of a tenth
	// cost 10 KB.
	histogram := func(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: name, Help: help, Buckets: buckets, NativeHistogramBucketFactor: 1.2,
			NativeHistogramMaxBucketNumber: 40, NativeHistogramMinResetDuration: time.Hour,
		}, labels)
	}
	m.results = counter("sonde_results_total", "Results by verdict", "check", "kind", "verdict")
	m.reasons = counter("sonde_reasons_total", "Results that were not up, by the code of their reason", "check", "kind", "code")
	m.flaky = counter("sonde_flaky_total", "Results that were up only after a failed attempt", "check", "kind")
	m.latency = histogram("sonde_latency_seconds", "Latency of runs that were up or degraded", latencyBuckets(), "check", "kind")
	m.queue = histogram("sonde_queue_seconds", "Time from when a run was due to its begin", queueBuckets(), "kind")
	m.reloaded = gauge("sonde_config_last_reload_successful", "Whether the last attempt to load the configuration succeeded")
	m.reloadTime = gauge("sonde_config_last_reload_success_timestamp_seconds", "When the configuration was last loaded")
	m.reloads = counter("sonde_config_reloads_total", "Attempts to load the configuration", "outcome")
	m.dropped = prometheus.NewCounter(prometheus.CounterOpts{Name: "sonde_report_dropped_total", Help: "Results that the report on standard output lost"})
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "sonde_build_info", Help: "Which sonde this is; always 1",
		ConstLabels: prometheus.Labels{"version": clean(s.o.Version), "commit": clean(s.o.Commit), "goversion": runtime.Version()},
	})
	build.Set(1)
	m.registry.MustRegister(m.results, m.reasons, m.flaky, m.latency, m.queue, m.reloaded, m.reloadTime, m.reloads, m.dropped, build,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), &checkCollector{server: s})
	if s.o.Engine != nil {
		m.registry.MustRegister(newEngineCollector(s.o.Engine))
	}
	return m
}

// handler serves the metrics. Two scrapes at once suffice for a pair of
// Prometheus servers; each costs memory.
func (m *metrics) handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4, EnableOpenMetrics: true})
}

// Reloaded notes an attempt to load the configuration.
func (s *Server) Reloaded(err error) {
	if err != nil {
		s.metrics.reloads.WithLabelValues("failure").Inc()
		s.metrics.reloaded.Set(0)
		return
	}
	s.metrics.reloads.WithLabelValues("success").Inc()
	s.metrics.reloaded.Set(1)
	s.metrics.reloadTime.Set(float64(s.o.Now().UnixMilli()) / 1000)
}

// ReportDropped counts results that another output lost.
func (s *Server) ReportDropped(n int) { s.metrics.dropped.Add(float64(n)) }

// queued notes how long a run waited.
func (m *metrics) queued(r *check.Result) {
	queue := m.queues[r.Kind]
	if queue == nil {
		queue = m.queue.WithLabelValues(r.Kind)
		m.queues[r.Kind] = queue
	}
	queue.Observe(r.Queued.Seconds())
}

// series are the metrics of one check, or of all of a kind that have none of
// their own, looked up once.
type series struct {
	m        *metrics
	id, kind string
	verdicts [4]prometheus.Counter
	reasons  map[check.Code]prometheus.Counter
	latency  prometheus.Observer
}

// of returns the series of a check; those of the kind's others for an empty id.
func (m *metrics) of(id, kind string) *series {
	if id != "" {
		return &series{m: m, id: id, kind: kind}
	}
	sum := m.sums[kind]
	if sum == nil {
		sum = &series{m: m, kind: kind}
		m.sums[kind] = sum
	}
	return sum
}

func (s *series) count(r *check.Result) {
	if int(r.Verdict) >= len(s.verdicts) {
		return
	}
	c := s.verdicts[r.Verdict]
	if c == nil {
		c = s.m.results.WithLabelValues(s.id, s.kind, r.Verdict.String())
		s.verdicts[r.Verdict] = c
	}
	c.Inc()
	if r.Verdict == check.Up || r.Verdict == check.Degraded {
		if s.latency == nil {
			s.latency = s.m.latency.WithLabelValues(s.id, s.kind)
		}
		s.latency.Observe(r.Latency.Seconds())
	}
	if r.Flaky {
		s.m.flaky.WithLabelValues(s.id, s.kind).Inc()
	}
	if !r.Reason.IsZero() {
		s.reason(r.Reason.Code).Inc()
	}
}

// reason returns the counter of a code. The codes are a closed list and one
// for each fact that the kind declares.
func (s *series) reason(code check.Code) prometheus.Counter {
	c := s.reasons[code]
	if c == nil {
		if s.reasons == nil {
			s.reasons = make(map[check.Code]prometheus.Counter, 1)
		}
		c = s.m.reasons.WithLabelValues(s.id, s.kind, string(code))
		s.reasons[code] = c
	}
	return c
}

// drop forgets the metrics of a check that is gone.
func (s *series) drop() {
	for v, c := range s.verdicts {
		if c != nil {
			s.m.results.DeleteLabelValues(s.id, s.kind, check.Verdict(v).String())
		}
	}
	for code := range s.reasons {
		s.m.reasons.DeleteLabelValues(s.id, s.kind, string(code))
	}
	s.m.latency.DeleteLabelValues(s.id, s.kind)
	s.m.flaky.DeleteLabelValues(s.id, s.kind)
}

// clean makes valid UTF-8 of text, as label values must be.
func clean(text string) string { return strings.ToValidUTF8(text, "\uFFFD") }

// engineCollector turns the loop's numbers into metrics.
type engineCollector struct {
	stats  func() scheduler.Stats
	plain  []engineMetric
	late   *prometheus.Desc
	bounds []time.Duration
}

type engineMetric struct {
	desc  *prometheus.Desc
	typ   prometheus.ValueType
	value func(*scheduler.Stats) float64
}

func newEngineCollector(stats func() scheduler.Stats) *engineCollector {
	c := &engineCollector{stats: stats, bounds: scheduler.LatenessBounds()}
	c.late = prometheus.NewDesc("sonde_lateness_seconds", "How late runs began", nil, nil)
	add := func(typ prometheus.ValueType, name, help string, value func(*scheduler.Stats) float64) {
		c.plain = append(c.plain, engineMetric{prometheus.NewDesc(name, help, nil, nil), typ, value})
	}
	const gauge, counter = prometheus.GaugeValue, prometheus.CounterValue
	add(gauge, "sonde_checks", "Checks that are run", func(s *scheduler.Stats) float64 { return float64(s.Checks) })
	add(gauge, "sonde_in_flight", "Probes in flight", func(s *scheduler.Stats) float64 { return float64(s.InFlight) })
	add(gauge, "sonde_in_flight_down", "Probes in flight of checks that were down", func(s *scheduler.Stats) float64 { return float64(s.Suspects) })
	add(gauge, "sonde_in_flight_limit", "Probes that may be in flight now; fewer than asked for when descriptors run out", func(s *scheduler.Stats) float64 { return float64(s.Width) })
	add(gauge, "sonde_waiting", "Runs that are due and have no place yet", func(s *scheduler.Stats) float64 { return float64(s.Waiting) })
	add(counter, "sonde_runs_total", "Runs that began", func(s *scheduler.Stats) float64 { return float64(s.Started) })
	add(counter, "sonde_missed_total", "Slots that passed without a run", func(s *scheduler.Stats) float64 { return float64(s.Missed) })
	add(counter, "sonde_stalls_total", "Times that the process was held up or the machine suspended", func(s *scheduler.Stats) float64 { return float64(s.Stalls) })
	add(counter, "sonde_stalled_seconds_total", "Time that the process was held up while something was in flight", func(s *scheduler.Stats) float64 { return s.Stalled.Seconds() })
	add(counter, "sonde_suspended_seconds_total", "Time that the machine was suspended", func(s *scheduler.Stats) float64 { return s.Suspended.Seconds() })
	add(counter, "sonde_clock_steps_seconds_total", "By how much the clock was set, forth and back", func(s *scheduler.Stats) float64 { return s.ClockSteps.Seconds() })
	add(gauge, "sonde_outbox_results", "Results that the outputs have not taken yet", func(s *scheduler.Stats) float64 { return float64(s.Outbox) })
	add(counter, "sonde_outbox_waits_total", "Results that waited for the outputs", func(s *scheduler.Stats) float64 { return float64(s.OutboxWaits) })
	return c
}

// Describe tells the metrics.
func (c *engineCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, m := range c.plain {
		ch <- m.desc
	}
	ch <- c.late
}

// Collect reads the numbers.
func (c *engineCollector) Collect(ch chan<- prometheus.Metric) {
	s := c.stats()
	for _, m := range c.plain {
		ch <- prometheus.MustNewConstMetric(m.desc, m.typ, m.value(&s))
	}
	buckets := make(map[float64]uint64, len(c.bounds))
	var total uint64
	for i, n := range s.Lateness {
		total += n
		if i < len(c.bounds) {
			buckets[c.bounds[i].Seconds()] = total
		}
	}
	ch <- prometheus.MustNewConstHistogram(c.late, total, s.LatenessSum.Seconds(), buckets)
}
