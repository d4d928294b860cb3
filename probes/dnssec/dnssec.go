// Package dnssec validates DNS answers by the chain of trust (RFC 4033 to 4035,
// RFC 5155): from keys that are trusted down to the signatures of an answer, or
// to the proof that there is none.
//
// It asks nobody itself. A [Validator] is given the answer and a function that puts
// the other questions of the chain, and says of the answer what it is: secure,
// insecure, bogus or indeterminate, and why. Answers are taken for hostile: what one
// validation asks, verifies and hashes is bounded (CVE-2023-50387 "KeyTrap",
// CVE-2023-50868), and a bound that is reached is a reason, too.
//
// What is judged is what a reader of the answer sees: the aliases that
// [dnsmsg.Aliases] follows and what stands at their end, of the class IN. Records
// beside those are not looked at.
package dnssec

import (
	"context"
	"fmt"
	"time"

	"github.com/sonde-cli/sonde/check"
	"github.com/sonde-cli/sonde/probes/dnsmsg"
)

// The states of an answer (RFC 4033 section 5).
const (
	Secure        = "secure"        // signed, from a trust anchor down
	Insecure      = "insecure"      // in a zone that is proved not to be signed
	Bogus         = "bogus"         // not signed as it has to be
	Indeterminate = "indeterminate" // cannot be told
)

// Verdict is what a validation finds out.
type Verdict struct {
	Status string     // Secure, Insecure, Bogus or Indeterminate
	Reason string     // why the answer is not secure
	Code   check.Code // the same for machines, if it is bogus or a question had no answer

	Chain   []string  // zones whose keys were verified, from the anchor down
	Queries int       // questions that were fetched
	Expires time.Time // when the first of the signatures expires; zero: there is none
}

// Fetch puts a question for a name of the class IN to a server, which is asked for
// signatures (DO) and not to validate itself (CD). It returns the answer, or why
// there is none.
type Fetch func(ctx context.Context, name string, qtype uint16) (dnsmsg.Message, *check.Reason)

// New returns what validates one answer by the anchors. It asks with fetch.
func New(trusted Anchors, fetch Fetch) *Validator {
	return &Validator{anchors: trusted, now: time.Now(), fetch: fetch}
}

// Judge validates the answer to a question for an absolute name. A nil answer is
// fetched before: a server that validates itself may have held it back.
func (v *Validator) Judge(ctx context.Context, name string, qtype uint16, answer dnsmsg.Message) Verdict {
	doubt := v.doubt(ctx, name, qtype, answer)
	if doubt == nil {
		doubt = &mistrust{status: Secure}
	}
	return Verdict{
		Status: doubt.status, Reason: doubt.reason, Code: doubt.code,
		Chain: v.chain, Queries: v.queries, Expires: v.expires,
	}
}

// doubt returns nil when the answer is secure.
func (v *Validator) doubt(ctx context.Context, name string, qtype uint16, answer dnsmsg.Message) *mistrust {
	if answer == nil {
		var reason *check.Reason
		if answer, reason = v.query(ctx, name, qtype); reason != nil {
			return unanswered(name, qtype, reason)
		}
	}
	if answer.Truncated() {
		return indeterminate("the answer was cut")
	}
	return v.judge(ctx, name, qtype, answer)
}

// mistrust is why an answer is not secure.
type mistrust struct {
	status, reason string
	code           check.Code
}

func bogus(format string, a ...any) *mistrust {
	return &mistrust{status: Bogus, reason: fmt.Sprintf(format, a...), code: check.DNSBogus}
}

func insecure(format string, a ...any) *mistrust {
	return &mistrust{status: Insecure, reason: fmt.Sprintf(format, a...)}
}

func indeterminate(format string, a ...any) *mistrust {
	return &mistrust{status: Indeterminate, reason: fmt.Sprintf(format, a...)}
}

// unanswered tells that a question of the chain has no answer.
func unanswered(name string, qtype uint16, reason *check.Reason) *mistrust {
	return &mistrust{
		status: Indeterminate, code: reason.Code,
		reason: fmt.Sprintf("no answer to the question for %s %s: %s", dnsmsg.Shown(name), dnsmsg.TypeName(qtype), reason.Message),
	}
}

// worse returns the worse of two.
func worse(a, b *mistrust) *mistrust {
	if a == nil || b != nil && a.status == Insecure {
		if b == nil {
			return a
		}
		return b
	}
	return a
}
