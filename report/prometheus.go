package report

import (
	"bytes"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sonde-cli/sonde/check"
)

// metrics gathers samples by family, because the text format wants each
// family's samples together.
type metrics struct {
	families map[string]*family
	order    []string
	written  map[string]bool // series of the current result; each may come once
}

type family struct {
	help    string
	samples []string
}

// add adds a gauge's sample. labels is what stands between the braces. Of two
// facts whose names make one metric, the first stays.
func (m *metrics) add(name, help, labels string, value float64) {
	series := name + "{" + labels + "}"
	if m.written[series] {
		return
	}
	m.written[series] = true
	f := m.families[name]
	if f == nil {
		f = &family{help: help}
		m.families[name] = f
		m.order = append(m.order, name)
	}
	f.samples = append(f.samples, series+" "+strconv.FormatFloat(value, 'g', -1, 64))
}

// writePrometheus writes the text exposition format 0.0.4 for node_exporter's
// textfile collector. Names are blackbox_exporter's where the meaning is the
// same, else they begin with sonde_.
func writePrometheus(b *bytes.Buffer, r run) {
	m := metrics{families: make(map[string]*family), written: make(map[string]bool)}
	docs := factDocs(r.o.Checks)
	ids := make(map[string]int)
	for _, res := range r.results {
		clear(m.written)
		labels := promLabels(unique(ids, clean(res.ID)), res)
		m.verdict(labels, res)
		m.phases(labels, res)
		m.facts(labels, res, docs)
		switch res.Kind {
		case "http":
			m.http(labels, res)
		case "dns":
			m.dns(labels, res)
		}
		m.connection(labels, res)
	}
	m.add("sonde_run_timestamp_seconds", "When the run began", "", float64(r.o.Started.Unix()))
	m.add("sonde_run_duration_seconds", "How long the run took", "", r.o.elapsed().Seconds())
	for _, name := range m.order {
		f := m.families[name]
		fmt.Fprintf(b, "# HELP %s %s\n# TYPE %s gauge\n", name, promHelp(f.help), name)
		for _, s := range f.samples {
			b.WriteString(strings.Replace(s, "{}", "", 1) + "\n")
		}
	}
}

// unique returns id, or id with a number when it was taken: masking and [clean]
// make different ids equal, and a series may come once.
func unique(taken map[string]int, id string) string {
	name := id
	for taken[name] > 0 {
		taken[id]++
		name = id + " #" + strconv.Itoa(taken[id])
	}
	taken[name]++
	return name
}

// verdict tells the outcome. An unknown result has no probe_success: 0 would
// say that the target failed.
func (m *metrics) verdict(labels string, r check.Result) {
	for _, v := range []check.Verdict{check.Up, check.Degraded, check.Down, check.Unknown} {
		m.add("sonde_verdict", "1 for the verdict of the check, 0 for the others", labels+promLabel("verdict", v.String()), truth(r.Verdict == v))
	}
	if r.Verdict != check.Unknown {
		m.add("probe_success", "Displays whether or not the probe was a success", labels, truth(r.Verdict != check.Down))
		m.add("probe_duration_seconds", "Returns how long the probe took to complete in seconds", labels, r.Latency.Seconds())
	}
	m.add("sonde_flaky", "Whether the check is up only after a failed attempt", labels, truth(r.Flaky))
	m.add("sonde_attempts", "Number of attempts that were made", labels, float64(r.Attempts))
	m.add("sonde_optional", "Whether the check is optional", labels, truth(r.Optional))
	if !r.Started.IsZero() {
		m.add("sonde_started_timestamp_seconds", "When the attempt that is reported began", labels, unix(r.Started))
	}
	m.parts(labels, r)
	if r.Reason.Code != "" {
		m.add("sonde_reason_info", "Why the check is not up", labels+promLabel("code", string(r.Reason.Code)), 1)
	}
}

// parts counts the parts by verdict. Their names are no labels: they are a name's
// addresses, which come and go.
func (m *metrics) parts(labels string, r check.Result) {
	if len(r.Parts) == 0 {
		return
	}
	for _, v := range []check.Verdict{check.Up, check.Degraded, check.Down, check.Unknown} {
		m.add("sonde_parts", "Parts of the run by verdict, such as the addresses of a name", labels+promLabel("verdict", v.String()), float64(r.PartsThat(v)))
	}
}

// phases writes sonde's phases, and blackbox_exporter's of the kinds that it
// has. Its http phase processing is from the connection to the first byte.
func (m *metrics) phases(labels string, r check.Result) {
	for _, p := range r.Phases {
		m.add("sonde_phase_duration_seconds", "Duration of the probe by phase", labels+promLabel("phase", p.Name), p.Duration.Seconds())
		if p.Name == check.PhaseResolve {
			m.add("probe_dns_lookup_time_seconds", "Returns the time taken for probe dns lookup in seconds", labels, p.Duration.Seconds())
		}
	}
	if r.Kind != "http" {
		return
	}
	for _, theirs := range []struct {
		name string
		of   []string
	}{
		{"resolve", []string{check.PhaseResolve}},
		{"connect", []string{check.PhaseConnect}},
		{"tls", []string{check.PhaseTLS}},
		{"processing", []string{check.PhaseSend, check.PhaseWait}},
		{"transfer", []string{check.PhaseTransfer}},
	} {
		var sum time.Duration
		for _, name := range theirs.of {
			d, _ := r.Phases.Get(name)
			sum += d
		}
		// A phase that did not take place is 0 there as well.
		m.add("probe_http_duration_seconds", "Duration of http request by phase, summed over all redirects", labels+promLabel("phase", theirs.name), sum.Seconds())
	}
}

// http writes blackbox_exporter's metrics of an HTTP probe.
func (m *metrics) http(labels string, r check.Result) {
	for _, f := range []struct{ fact, name, help string }{
		{"status", "probe_http_status_code", "Response HTTP status code"},
		{"redirects", "probe_http_redirects", "The number of redirects"},
		{"version", "probe_http_version", "Returns the version of HTTP of the probe response"},
		{"size", "probe_http_uncompressed_body_length", "Length of uncompressed response body"},
	} {
		if v, ok := number(r.Facts.Get(f.fact)); ok {
			m.add(f.name, f.help, labels, v)
		}
	}
	if _, ok := r.Facts.Lookup("status"); ok {
		_, encrypted := r.Facts.Lookup("tls.version")
		m.add("probe_http_ssl", "Indicates if SSL was used for the final redirect", labels, truth(encrypted))
	}
}

// connection writes blackbox_exporter's metrics that several kinds share.
func (m *metrics) connection(labels string, r check.Result) {
	if v, ok := number(r.Facts.Get("family")); ok {
		m.add("probe_ip_protocol", "Specifies whether probe ip protocol is IP4 or IP6", labels, v)
	}
	if v, ok := r.Facts.Get("tls.version").(string); ok {
		m.add("probe_tls_version_info", "Contains the TLS version used", labels+promLabel("version", "TLS "+v), 1)
	}
	m.expiry(labels, r)
	if v, ok := number(r.Facts.Get("ttl")); ok && r.Kind == "icmp" {
		m.add("probe_icmp_reply_hop_limit", "Replied packet hop limit (TTL for ipv4)", labels, v)
	}
}

// expiry writes when certificates end, as blackbox_exporter does: the chain that
// lasts longest, and the first of all. A chain that was not verified has no end.
func (m *metrics) expiry(labels string, r check.Result) {
	leaf, ok := r.Facts.Get("cert.not_after").(time.Time)
	if !ok {
		return
	}
	earliest := float64(leaf.Unix())
	if d, ok := r.Facts.Get("cert.chain_expires_in").(time.Duration); ok && !r.Started.IsZero() {
		last := float64(r.Started.Add(d).Round(time.Second).Unix())
		m.add("probe_ssl_last_chain_expiry_timestamp_seconds", "Returns last SSL chain expiry in unixtime", labels, last)
		earliest = min(earliest, last)
	}
	m.add("probe_ssl_earliest_cert_expiry", "Returns earliest SSL cert expiry in unixtime", labels, earliest)
}

// dns writes blackbox_exporter's metrics of a DNS probe.
func (m *metrics) dns(labels string, r check.Result) {
	if r.Verdict == check.Unknown {
		return
	}
	_, answered := r.Facts.Lookup("rcode")
	m.add("probe_dns_query_succeeded", "Displays whether or not the query was executed successfully", labels, truth(answered))
	if n, ok := number(r.Facts.Get("answer_count")); ok {
		cnames, _ := r.Facts.Get("cnames").([]string)
		m.add("probe_dns_answer_rrs", "Returns number of entries in the answer resource record list", labels, n+float64(len(cnames)))
	}
}

// facts writes every fact that is a number as sonde_<kind>_<fact>_<unit>.
func (m *metrics) facts(labels string, r check.Result, docs map[string]check.Fact) {
	for _, name := range slices.Sorted(r.Facts.Names()) {
		v, ok := number(r.Facts.Get(name))
		if _, isText := r.Facts.Get(name).(string); !ok || isText {
			continue
		}
		doc := docs[r.Kind+" "+name]
		metric := promName("sonde_" + r.Kind + "_" + name)
		switch r.Facts.Get(name).(type) {
		case time.Duration:
			metric += "_seconds"
		case time.Time:
			metric += "_timestamp_seconds"
		default:
			if doc.Unit == "bytes" || doc.Unit == "ratio" {
				metric += "_" + doc.Unit
			}
		}
		help := doc.Doc
		if help == "" {
			help = "Fact " + name
		}
		m.add(metric, help, labels, v)
	}
}

// factDocs returns the declared facts by kind and name.
func factDocs(checks []*check.Check) map[string]check.Fact {
	docs := make(map[string]check.Fact)
	kinds := make(map[string]bool)
	for _, c := range checks {
		if kinds[c.Kind] {
			continue
		}
		kinds[c.Kind] = true
		for _, f := range c.FactList {
			docs[c.Kind+" "+f.Name] = f
		}
	}
	return docs
}

// number returns a fact's value as a metric can have it: durations in seconds,
// times in seconds since 1970, true as 1, text that is a number.
func number(v any) (float64, bool) {
	switch v := v.(type) {
	case int:
		return float64(v), true
	case float64:
		return v, !math.IsNaN(v) && !math.IsInf(v, 0)
	case bool:
		return truth(v), true
	case time.Duration:
		return v.Seconds(), true
	case time.Time:
		return unix(v), true
	case string:
		n, err := strconv.ParseFloat(v, 64)
		return n, err == nil && !math.IsNaN(n) && !math.IsInf(n, 0)
	}
	return 0, false
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func unix(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }

// promLabels names the check and its labels, which get a prefix so that they
// cannot collide with the others.
func promLabels(id string, r check.Result) string {
	text := promLabel("check", id)[1:] + promLabel("kind", r.Kind) + promLabel("target", r.Target)
	seen := make(map[string]bool)
	for _, name := range slices.Sorted(maps.Keys(r.Labels)) {
		if label := promName("label_" + name); !seen[label] {
			seen[label] = true
			text += promLabel(label, r.Labels[name])
		}
	}
	return text
}

// promLabel returns `,name="value"`.
func promLabel(name, value string) string {
	return "," + name + `="` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(clean(value)) + `"`
}

func promHelp(s string) string {
	return strings.NewReplacer(`\`, `\\`, "\n", `\n`).Replace(clean(s))
}

// promName makes a metric's or label's name of text.
func promName(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r >= 'A' && r <= 'Z' {
			return r
		}
		return '_'
	}, s)
}
