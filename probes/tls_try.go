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

// tryVersions tries one after another. No answer is not a refusal: what drops
// old versions on the way hides what the server would do. So a version that is
// not answered leaves the fact absent, and takes no more than its share of the
// time.
func (p *tlsProbe) tryVersions(ctx context.Context, j *journey) {
	accepted := make([]string, 0, len(tlsVersions))
	known := true
	for i, v := range tlsVersions {
		plan := *p.tls
		plan.min, plan.max, plan.ciphers = v.id, v.id, allCiphers()
		turn, end := portion(ctx, len(tlsVersions)-i+1) // one for the cipher suites
		suite, reason := p.try(turn, j, &plan)
		end()
		switch {
		case reason != nil && known:
			j.obs.Explain(versionsFact, reason.Code, "trying TLS "+v.name+": "+reason.Message)
			known = false
		case suite != "":
			accepted = append(accepted, v.name)
		}
	}
	if known {
		j.obs.Set(versionsFact, accepted)
	}
}

// portion returns a context that ends after one of the equal parts of what is left
// of the time.
func portion(ctx context.Context, parts int) (context.Context, context.CancelFunc) {
	deadline, ok := ctx.Deadline()
	if !ok {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, time.Until(deadline)/time.Duration(parts))
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
	case refusesTLS(reason):
		return "", nil
	case reason.Code == check.ConnectReset: // how some servers refuse
		return "", nil
	}
	return "", reason
}

// refusesTLS reports whether a server did not want what it was offered.
func refusesTLS(reason *check.Reason) bool {
	return reason.Code == check.TLSVersion || reason.Code == check.TLSAlert
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
