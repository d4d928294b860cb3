package probes

import (
	"context"
	"crypto/tls"
	"slices"
	"time"

	"github.com/sonde-cli/sonde/check"
)

// The facts that are found out by trying.
const (
	versionsFact = "tls.versions"
	ciphersFact  = "tls.ciphers"
)

// tryOut finds out what else the server accepts, as far as somebody asks. The
// time is no part of the latency.
func (p *tlsProbe) tryOut(ctx context.Context, j *journey) {
	start := time.Now()
	defer func() { j.idle += time.Since(start) }()
	if p.versions {
		p.tryVersions(ctx, j)
	}
	if p.ciphers {
		p.tryCiphers(ctx, j)
	}
}

func (p *tlsProbe) tryVersions(ctx context.Context, j *journey) {
	accepted := make([]string, 0, len(tlsVersions))
	for _, v := range tlsVersions {
		plan := *p.tls
		plan.min, plan.max, plan.ciphers = v.id, v.id, allCiphers()
		suite, reason := p.try(ctx, j, &plan)
		if reason != nil {
			j.obs.Explain(versionsFact, reason.Code, "trying TLS "+v.name+": "+reason.Message)
			return
		}
		if suite != "" {
			accepted = append(accepted, v.name)
		}
	}
	j.obs.Set(versionsFact, accepted)
}

// tryCiphers offers all cipher suites, then all but those that the server has
// chosen, until it accepts none.
func (p *tlsProbe) tryCiphers(ctx context.Context, j *journey) {
	accepted, left := []string{}, allCiphers()
	for len(left) > 0 {
		plan := *p.tls
		plan.min, plan.max, plan.ciphers = tls.VersionTLS10, tls.VersionTLS12, left
		suite, reason := p.try(ctx, j, &plan)
		if reason != nil {
			j.obs.Explain(ciphersFact, reason.Code, "trying cipher suites: "+reason.Message)
			return
		}
		n := len(left)
		left = slices.DeleteFunc(left, func(id uint16) bool { return tls.CipherSuiteName(id) == suite })
		if len(left) == n {
			break
		}
		accepted = append(accepted, suite)
	}
	j.obs.Set(ciphersFact, accepted)
}

// try returns the cipher suite of a handshake by the plan, empty when the
// server does not want one. A server that wants a client certificate has
// accepted the rest.
func (p *tlsProbe) try(ctx context.Context, j *journey, plan *tlsPlan) (string, *check.Reason) {
	other := begin()
	other.from = j.from
	reason := p.visit(ctx, other, plan)
	suite, _ := other.obs.Facts.Get("tls.cipher").(string)
	switch {
	case suite != "" || reason == nil:
		return suite, nil
	case reason.Code == check.TLSVersion, reason.Code == check.TLSAlert:
		return "", nil
	case reason.Code == check.ConnectReset: // how some servers refuse
		return "", nil
	}
	return "", reason
}

// allCiphers are those of TLS 1.2 and older that crypto/tls can speak.
func allCiphers() []uint16 {
	var ids []uint16
	for _, s := range append(tls.CipherSuites(), tls.InsecureCipherSuites()...) {
		if !slices.Equal(s.SupportedVersions, []uint16{tls.VersionTLS13}) {
			ids = append(ids, s.ID)
		}
	}
	return ids
}
