package check

// Judgement is what an observation means for its check.
type Judgement struct {
	Verdict  Verdict
	Reason   Reason // zero when up
	Findings []Finding
}

// Judge evaluates the check's expectations on what was observed, without those
// over a sample. It is a pure function: the same observation always gets the
// same judgement.
//
// A failure of our own side is unknown whatever is expected. Any other failure
// is down, unless an expectation mentions the fact error and so takes over.
// Then the first missed expectation makes it down, and the first missed
// preference degraded.
func (c *Check) Judge(o *Observation) Judgement {
	if o.Failure.Code.Local() {
		return Judgement{Verdict: Unknown, Reason: o.Failure}
	}
	j := Judgement{Verdict: Up, Findings: make([]Finding, 0, len(c.Expectations))}
	if !o.Failure.IsZero() && !c.expectsError() {
		j.Verdict, j.Reason = Down, o.Failure
	}
	for i := range c.Expectations {
		e := &c.Expectations[i]
		if e.Sample {
			continue
		}
		out := e.Test.Eval(o.Fact)
		if out.Missing && (e.WhenSeen || j.Reason == o.Failure && j.Verdict == Down) {
			continue // what prevented the fact is itself the reason
		}
		j.Findings = append(j.Findings, Finding{
			Expect: e.Text, Level: e.Level, OK: out.OK, Got: out.Got, File: e.File, Line: e.Line,
		})
		if out.OK {
			continue
		}
		reason := c.reason(o, out)
		if v := missed(e.Level, reason); v.Worse(j.Verdict) {
			j.Verdict, j.Reason = v, reason
		}
	}
	return j
}

// missed is the verdict of a missed expectation. One that is missed for a
// reason of our own side says nothing about the target.
func missed(l Level, r Reason) Verdict {
	switch {
	case r.Code.Local():
		return Unknown
	case l == Prefer:
		return Degraded
	default:
		return Down
	}
}

func (c *Check) expectsError() bool {
	for _, e := range c.Expectations {
		if e.Level != Expect {
			continue
		}
		for _, name := range e.Test.Facts() {
			if name == "error" {
				return true
			}
		}
	}
	return false
}

// reason turns a missed expectation into a reason: the probe's own explanation
// of the fact at fault where there is one, else the fact's code.
func (c *Check) reason(o *Observation, out Outcome) Reason {
	if r, ok := o.Because[out.Fact]; ok {
		return r
	}
	if out.Fact == "error" && !o.Failure.IsZero() {
		return Reason{Code: o.Failure.Code, Message: out.Message}
	}
	if code := c.fact(out.Fact).Code; code != "" {
		return Reason{Code: code, Message: out.Message}
	}
	return Reason{Code: ExpectCode(out.Fact), Message: out.Message}
}
