package probes

import (
	"cmp"
	"context"
	"time"

	"github.com/miekg/dns"

	"github.com/sonde-cli/sonde/check"
	"github.com/sonde-cli/sonde/probes/dnsmsg"
	"github.com/sonde-cli/sonde/probes/dnssec"
)

// dnsDNSSEC are the options of the validation of an answer (RFC 4035).
type dnsDNSSEC struct {
	Validate   bool     `yaml:"validate" doc:"verify the answer's signatures, and the chain of keys up to a trust anchor, at the same server"`
	Anchor     []string `yaml:"anchor" single:"true" doc:"DS or DNSKEY record to trust instead of the root's keys of 2017 and 2024, or list of them, such as 'example.com. IN DS 12345 13 2 0123...'"`
	AnchorFile string   `yaml:"anchor_file" path:"true" doc:"file of DS and DNSKEY records to trust, in the format of zone files"`
}

// build reads the trust anchors; it returns nil when nothing is validated.
func (d *dnsDNSSEC) build() (dnssec.Anchors, error) {
	switch {
	case !d.Validate && (len(d.Anchor) > 0 || d.AnchorFile != ""):
		return nil, check.OptionErrorf("dnssec.validate", "is what a trust anchor is for, set it to true")
	case !d.Validate:
		return nil, nil
	case len(d.Anchor) == 0 && d.AnchorFile == "":
		return dnssec.Root(), nil
	}
	trusted := make(dnssec.Anchors)
	for _, text := range d.Anchor {
		if err := trusted.Add(text); err != nil {
			return nil, check.OptionErrorf("dnssec.anchor", "%q: %v", text, err)
		}
	}
	if d.AnchorFile != "" {
		if err := trusted.ReadFile(d.AnchorFile); err != nil {
			return nil, &check.OptionError{Option: "dnssec.anchor_file", Err: err}
		}
	}
	return trusted, nil
}

// validate judges the run's answer and sets the facts of dnssec. The time of
// the chain's questions is no part of the latency.
func (r *dnsRun) validate(ctx context.Context) {
	start := time.Now()
	defer func() { r.idle += time.Since(start) }()
	answer := r.got.message
	if r.got.rcode == dns.RcodeServerFailure { // what the server hides when it validates itself
		answer = nil
	}
	v := dnssec.New(r.probe.anchors, r.askAlso).Judge(ctx, r.question.name, r.question.qtype, answer)
	r.obs.Set("dnssec.status", v.Status)
	r.obs.Set("dnssec.queries", v.Queries)
	setList(&r.obs, "dnssec.chain", v.Chain)
	if !v.Expires.IsZero() {
		r.obs.Set("dnssec.expires_in", v.Expires.Sub(start).Truncate(time.Second))
	}
	if v.Status != dnssec.Secure {
		r.obs.Set("dnssec.reason", v.Reason)
		r.obs.Explain("dnssec.status", cmp.Or(v.Code, check.ExpectCode("dnssec.status")), v.Status+": "+v.Reason)
	}
}

// askAlso puts another question to the server that has answered, over the same
// transport and a connection of its own. The server is asked not to validate
// (CD), so that it shows what it would hide.
func (r *dnsRun) askAlso(ctx context.Context, name string, qtype uint16) (dnsmsg.Message, *check.Reason) {
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
