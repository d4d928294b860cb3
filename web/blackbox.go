package web

import (
	"hash/fnv"
	"math"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sonde-cli/sonde/check"
)

// blackbox shows one result under blackbox_exporter's names, so that dashboards
// and alerts made for it go on working.
type blackbox struct{ result *check.Result }

// Describe tells nothing: which metrics there are depends on the result.
func (b *blackbox) Describe(chan<- *prometheus.Desc) {}

// Collect makes the metrics.
func (b *blackbox) Collect(ch chan<- prometheus.Metric) {
	e := &emitter{ch: ch, r: b.result}
	r := b.result
	e.gauge("probe_success", "Displays whether or not the probe was a success", truth(r.Verdict != check.Down))
	e.gauge("probe_duration_seconds", "Returns how long the probe took to complete in seconds", r.Latency.Seconds())
	e.gauge("probe_dns_lookup_time_seconds", "Returns the time taken for probe dns lookup in seconds", e.phase(check.PhaseResolve))
	e.address()
	switch r.Kind {
	case "http":
		e.http()
	case "dns":
		e.dns()
	case "icmp":
		e.icmp()
	case "tcp":
		e.regex(check.ExpectCode("banner"), check.ExpectCode("answer"), check.ExpectCode("dialogue"))
	}
	e.tls()
}

// emitter writes gauges from a result's facts.
type emitter struct {
	ch chan<- prometheus.Metric
	r  *check.Result
}

func (e *emitter) gauge(name, help string, v float64) {
	e.ch <- prometheus.MustNewConstMetric(prometheus.NewDesc(name, help, nil, nil), prometheus.GaugeValue, v)
}

// labelled writes a gauge with pairs of label names and values.
func (e *emitter) labelled(name, help string, v float64, pairs ...string) {
	var names, values []string
	for i := 0; i+1 < len(pairs); i += 2 {
		names, values = append(names, pairs[i]), append(values, clean(pairs[i+1]))
	}
	e.ch <- prometheus.MustNewConstMetric(prometheus.NewDesc(name, help, names, nil), prometheus.GaugeValue, v, values...)
}

// phase returns the sum of phases in seconds; 0 for those that did not happen,
// as there.
func (e *emitter) phase(names ...string) float64 {
	var sum time.Duration
	for _, name := range names {
		d, _ := e.r.Phases.Get(name)
		sum += d
	}
	return sum.Seconds()
}

// number returns a fact as a number, 0 when it was not observed.
func (e *emitter) number(fact string) float64 {
	v, _ := number(e.r.Facts.Get(fact))
	return v
}

// text returns a fact as a text, empty when it was not observed.
func (e *emitter) text(fact string) string {
	s, _ := e.r.Facts.Get(fact).(string)
	return s
}

func (e *emitter) address() {
	e.gauge("probe_ip_protocol", "Specifies whether probe ip protocol is IP4 or IP6", e.number("family"))
	var hash float64
	if addr, err := netip.ParseAddr(e.text("ip")); err == nil {
		h := fnv.New32a()
		h.Write(addr.AsSlice())
		hash = float64(h.Sum32())
	}
	e.gauge("probe_ip_addr_hash", "Specifies the hash of IP address. It's useful to detect if the IP address changes.", hash)
}

// http writes the metrics of an HTTP probe. Their phase processing is from the
// end of the connection to the first byte.
func (e *emitter) http() {
	const name, help = "probe_http_duration_seconds", "Duration of http request by phase, summed over all redirects"
	e.labelled(name, help, e.phase(check.PhaseResolve), "phase", "resolve")
	e.labelled(name, help, e.phase(check.PhaseConnect), "phase", "connect")
	e.labelled(name, help, e.phase(check.PhaseTLS), "phase", "tls")
	e.labelled(name, help, e.phase(check.PhaseSend, check.PhaseWait), "phase", "processing")
	e.labelled(name, help, e.phase(check.PhaseTransfer), "phase", "transfer")
	e.gauge("probe_http_status_code", "Response HTTP status code", e.number("status"))
	e.gauge("probe_http_redirects", "The number of redirects", e.number("redirects"))
	e.gauge("probe_http_version", "Returns the version of HTTP of the probe response", e.number("version"))
	e.gauge("probe_http_uncompressed_body_length", "Length of uncompressed response body", e.number("size"))
	e.gauge("probe_http_content_length", "Length of http content response", e.contentLength())
	e.gauge("probe_http_ssl", "Indicates if SSL was used for the final redirect", truth(strings.HasPrefix(e.text("url"), "https:")))
	e.regex(check.ExpectCode("body"), check.ExpectCode("headers"), check.ExpectCode("json"))
}

// contentLength returns the size of the body as it was sent, -1 when that is
// not known.
func (e *emitter) contentLength() float64 {
	truncated, _ := e.r.Facts.Get("truncated").(bool)
	if _, seen := e.r.Facts.Lookup("size"); !seen || truncated || e.text("encoding") != "" {
		return -1
	}
	return e.number("size")
}

// regex tells whether an expectation about the content failed, which is what
// their regular expressions look at.
func (e *emitter) regex(codes ...check.Code) {
	failed := e.r.Verdict == check.Down && slices.Contains(codes, e.r.Reason.Code)
	e.gauge("probe_failed_due_to_regex", "Indicates if probe failed due to regex", truth(failed))
}

func (e *emitter) dns() {
	const name, help = "probe_dns_duration_seconds", "Duration of DNS request by phase"
	e.labelled(name, help, e.phase(check.PhaseResolve), "phase", "resolve")
	e.labelled(name, help, e.phase(check.PhaseConnect, check.PhaseTLS), "phase", "connect")
	e.labelled(name, help, e.phase(check.PhaseSend, check.PhaseWait, check.PhaseTransfer), "phase", "request")
	count := func(fact string) float64 {
		list, _ := e.r.Facts.Get(fact).([]string)
		return float64(len(list))
	}
	e.gauge("probe_dns_answer_rrs", "Returns number of entries in the answer resource record list", e.number("answer_count")+count("cnames"))
	e.gauge("probe_dns_authority_rrs", "Returns number of entries in the authority resource record list", count("authority"))
	e.gauge("probe_dns_additional_rrs", "Returns number of entries in the additional resource record list", count("additional"))
	_, answered := e.r.Facts.Lookup("rcode")
	e.gauge("probe_dns_query_succeeded", "Displays whether or not the query was executed successfully", truth(answered))
	e.serial()
}

// serial writes the serial number of a zone whose SOA record was asked for
// (RFC 1035 section 3.3.13: the third field).
func (e *emitter) serial() {
	answers, _ := e.r.Facts.Get("answers").([]string)
	if len(answers) != 1 {
		return
	}
	fields := strings.Fields(answers[0])
	if len(fields) != 7 {
		return
	}
	if serial, err := strconv.ParseUint(fields[2], 10, 32); err == nil {
		e.gauge("probe_dns_serial", "Returns the serial number of the zone", float64(serial))
	}
}

// icmp writes the metrics of a ping. Their phase setup is the making of a
// socket, for which the kind icmp has none of its own.
func (e *emitter) icmp() {
	const name, help = "probe_icmp_duration_seconds", "Duration of icmp request by phase"
	e.labelled(name, help, e.phase(check.PhaseResolve), "phase", "resolve")
	e.labelled(name, help, 0, "phase", "setup")
	e.labelled(name, help, e.number("rtt.avg"), "phase", "rtt")
	if _, seen := e.r.Facts.Lookup("ttl"); seen {
		e.gauge("probe_icmp_reply_hop_limit", "Replied packet hop limit (TTL for ipv4)", e.number("ttl"))
	}
}

// tls writes what is known of the connection's encryption. Facts hold the time
// that is left, their metrics the time of the end.
func (e *emitter) tls() {
	if version := e.text("tls.version"); version != "" {
		e.labelled("probe_tls_version_info", "Returns the TLS version used or NaN when unknown", 1, "version", "TLS "+version)
		e.labelled("probe_tls_cipher_info", "Returns the TLS cipher negotiated during handshake", 1, "cipher", e.text("tls.cipher"))
	}
	notAfter, ok := e.r.Facts.Get("cert.not_after").(time.Time)
	if !ok {
		return
	}
	last := float64(-1)
	if d, ok := e.r.Facts.Get("cert.chain_expires_in").(time.Duration); ok {
		last = float64(e.r.Started.Add(d).Round(time.Second).Unix())
	}
	e.gauge("probe_ssl_last_chain_expiry_timestamp_seconds", "Returns last SSL chain expiry in timestamp", last)
	earliest := float64(notAfter.Unix())
	if last > 0 {
		earliest = min(earliest, last)
	}
	e.gauge("probe_ssl_earliest_cert_expiry", "Returns earliest SSL cert expiry in unixtime", earliest)
	names, _ := e.r.Facts.Get("cert.names").([]string)
	e.labelled("probe_ssl_last_chain_info", "Contains SSL leaf certificate information", 1,
		"fingerprint_sha256", e.text("cert.sha256"), "subject", e.text("cert.subject"), "issuer", e.text("cert.issuer"),
		"subjectalternative", strings.Join(names, ","), "serialnumber", e.text("cert.serial"))
}

// number returns a fact's value as a metric can have it.
func number(v any) (float64, bool) {
	switch v := v.(type) {
	case int:
		return float64(v), true
	case float64:
		return v, !math.IsNaN(v) && !math.IsInf(v, 0)
	case time.Duration:
		return v.Seconds(), true
	case string:
		n, err := strconv.ParseFloat(v, 64)
		return n, err == nil
	}
	return 0, false
}
