package probes

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/sonde-cli/sonde/check"
)

// dnsDNSSEC are the options of the validation of an answer (RFC 4035).
type dnsDNSSEC struct {
	Validate   bool     `yaml:"validate" doc:"verify the answer's signatures, and the chain of keys up to a trust anchor, at the same server"`
	Anchor     []string `yaml:"anchor" single:"true" doc:"DS or DNSKEY record to trust instead of the root's keys of 2017 and 2024, or list of them, such as 'example.com. IN DS 12345 13 2 0123...'"`
	AnchorFile string   `yaml:"anchor_file" path:"true" doc:"file of DS and DNSKEY records to trust, in the format of zone files"`
}

// rootAnchors are the root zone's key signing keys of 2017 and 2024, from
// https://data.iana.org/root-anchors/root-anchors.xml.
var rootAnchors = [...]string{
	". IN DS 20326 8 2 E06D44B80B8F1D39A95C0B0D7C65D08458E880409BBC683457104237C7F8EC8D",
	". IN DS 38696 8 2 683D2D0ACB8C9B712A1948B27F741219298D0A450D612C483AF444A4C0FB2B16",
}

// anchors are the keys that are trusted, by the canonical name of their zone.
type anchors map[string][]*dns.DS

// Limits of a file of trust anchors.
const (
	maxAnchorFile = 1 << 20
	maxAnchors    = 256
)

// build reads the trust anchors; it returns nil when nothing is validated.
func (d *dnsDNSSEC) build() (anchors, error) {
	if !d.Validate {
		if len(d.Anchor) > 0 || d.AnchorFile != "" {
			return nil, check.OptionErrorf("dnssec.validate", "is what a trust anchor is for, set it to true")
		}
		return nil, nil
	}
	trusted := make(anchors)
	texts := d.Anchor
	if len(texts) == 0 && d.AnchorFile == "" {
		texts = rootAnchors[:]
	}
	for _, text := range texts {
		rr, err := dns.NewRR(text)
		if err == nil && rr == nil {
			err = errors.New("it is empty")
		}
		if err == nil {
			err = trusted.add(rr)
		}
		if err != nil {
			return nil, check.OptionErrorf("dnssec.anchor", "%q: %v", text, err)
		}
	}
	if d.AnchorFile == "" {
		return trusted, nil
	}
	if err := trusted.read(d.AnchorFile); err != nil {
		return nil, &check.OptionError{Option: "dnssec.anchor_file", Err: err}
	}
	return trusted, nil
}

// add trusts a DS or DNSKEY record.
func (a anchors) add(rr dns.RR) error {
	zone := dns.CanonicalName(rr.Header().Name)
	var ds *dns.DS
	switch rr := rr.(type) {
	case *dns.DS:
		ds = rr
	case *dns.DNSKEY:
		if rr.Flags&dns.ZONE == 0 || rr.Flags&dns.REVOKE != 0 {
			return errors.New("it is revoked, or no key of a zone")
		}
		ds = rr.ToDS(dns.SHA256)
	}
	if ds == nil {
		return errors.New("it is not a DS or DNSKEY record")
	}
	if !supportedDS(ds) {
		return fmt.Errorf("its algorithm %d or digest %d is not supported", ds.Algorithm, ds.DigestType)
	}
	a[zone] = append(a[zone], ds)
	return nil
}

// read trusts the records of a file.
func (a anchors) read(file string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	parser := dns.NewZoneParser(io.LimitReader(f, maxAnchorFile), ".", file)
	parser.SetDefaultTTL(0)
	n := 0
	for rr, ok := parser.Next(); ok; rr, ok = parser.Next() {
		if n++; n > maxAnchors {
			return fmt.Errorf("%s has more than %d records", file, maxAnchors)
		}
		if err := a.add(rr); err != nil {
			return fmt.Errorf("%s: %s: %w", file, rr.Header().Name, err)
		}
	}
	if err := parser.Err(); err != nil {
		return err
	}
	if n == 0 {
		return fmt.Errorf("%s has no DS or DNSKEY record", file)
	}
	return nil
}

// closest returns the zone of the anchors that is the name or nearest above it.
func (a anchors) closest(name string) (string, bool) {
	for at := name; ; at = parentOf(at) {
		if _, ok := a[at]; ok {
			return at, true
		}
		if at == "." {
			return "", false
		}
	}
}

// parentOf returns the name without its first label.
func parentOf(name string) string {
	next, end := dns.NextLabel(name, 0)
	if end {
		return "."
	}
	return name[next:]
}

// The states of an answer (RFC 4033 section 5).
const (
	dnssecSecure        = "secure"
	dnssecInsecure      = "insecure"
	dnssecBogus         = "bogus"
	dnssecIndeterminate = "indeterminate"
)

// mistrust is why an answer is not secure.
type mistrust struct {
	status, reason string
	code           check.Code // empty: that of the fact
}

func bogus(format string, a ...any) *mistrust {
	return &mistrust{status: dnssecBogus, reason: fmt.Sprintf(format, a...), code: check.DNSBogus}
}

func insecure(format string, a ...any) *mistrust {
	return &mistrust{status: dnssecInsecure, reason: fmt.Sprintf(format, a...)}
}

func indeterminate(format string, a ...any) *mistrust {
	return &mistrust{status: dnssecIndeterminate, reason: fmt.Sprintf(format, a...)}
}

// validate judges the run's answer and sets the facts of dnssec. The time of
// the chain's questions is no part of the latency.
func (r *dnsRun) validate(ctx context.Context) {
	start := time.Now()
	defer func() { r.idle += time.Since(start) }()
	v := &validator{anchors: r.probe.anchors, now: start, ask: r.askAlso}
	var doubt *mistrust
	msg := r.got.message
	if r.got.rcode == dns.RcodeServerFailure { // what the server hides when it validates itself
		var reason *check.Reason
		if msg, reason = v.query(ctx, r.question.name, r.question.qtype); reason != nil {
			doubt = unanswered(r.question.name, r.question.qtype, reason)
		}
	}
	switch {
	case doubt != nil:
	case msg.truncated():
		doubt = indeterminate("the answer was cut")
	default:
		doubt = v.judge(ctx, r.question, msg)
	}
	r.obs.Set("dnssec.queries", v.queries)
	setList(&r.obs, "dnssec.chain", v.chain)
	if !v.expires.IsZero() {
		r.obs.Set("dnssec.expires_in", v.expires.Sub(start).Truncate(time.Second))
	}
	if doubt == nil {
		r.obs.Set("dnssec.status", dnssecSecure)
		return
	}
	r.obs.Set("dnssec.status", doubt.status)
	r.obs.Set("dnssec.reason", doubt.reason)
	r.obs.Explain("dnssec.status", cmp.Or(doubt.code, check.ExpectCode("dnssec.status")), doubt.status+": "+doubt.reason)
}

// unanswered tells that a question of the chain has no answer.
func unanswered(name string, qtype uint16, reason *check.Reason) *mistrust {
	return &mistrust{
		status: dnssecIndeterminate, code: reason.Code,
		reason: fmt.Sprintf("no answer to the question for %s %s: %s", shown(name), typeName(qtype), reason.Message),
	}
}

// askAlso puts another question to the server that has answered, over the same
// transport and a connection of its own. The server is asked not to validate
// (CD), so that it shows what it would hide.
func (r *dnsRun) askAlso(ctx context.Context, name string, qtype uint16) (message, *check.Reason) {
	q, err := newQuestion(name, qtype, r.question.class, queryFlags{recursion: true, unchecked: true, dnssec: true, ednsSize: ednsSize})
	if err != nil {
		return nil, &check.Reason{Code: check.DNSMalformed, Message: err.Error()}
	}
	probe, pinned := *r.probe, *r.probe.router
	pinned.address = r.server.Addr()
	probe.router = &pinned
	also := &dnsRun{journey: begin(), probe: &probe, dnsReply: dnsReply{question: q}}
	also.from = r.from
	host := cmp.Or(probe.host, r.server.Addr().String())
	reason := also.exchangeWith(ctx, host, r.server.Port(), share(ctx, serverTimeout, 2))
	return also.answer, reason
}

// dnssecFacts declares what the validation finds out.
func dnssecFacts() []check.Fact {
	return []check.Fact{
		{Name: "dnssec.status", Type: check.String, Doc: "what sonde's own validation says of the answer: secure, insecure, bogus or indeterminate, with dnssec: {validate: true}"},
		{Name: "dnssec.reason", Type: check.String, Doc: "why the answer is not secure"},
		{Name: "dnssec.expires_in", Type: check.Duration, Doc: "time until the first signature of the answer and its chain expires"},
		{Name: "dnssec.chain", Type: check.Strings, Doc: "zones whose keys were verified, from the trust anchor down"},
		{Name: "dnssec.queries", Type: check.Int, Doc: "questions that the validation asked besides"},
	}
}

// supportedAlgorithm reports whether a signature of the algorithm can be
// verified. SHA-1 counts as not signed (RFC 9905).
func supportedAlgorithm(algorithm uint8) bool {
	return slices.Contains([]uint8{dns.RSASHA256, dns.RSASHA512, dns.ECDSAP256SHA256, dns.ECDSAP384SHA384, dns.ED25519}, algorithm)
}

func supportedDS(ds *dns.DS) bool {
	return supportedAlgorithm(ds.Algorithm) && (ds.DigestType == dns.SHA256 || ds.DigestType == dns.SHA384)
}

// sameName compares names without regard to case.
func sameName(a, b string) bool { return strings.EqualFold(a, b) }
