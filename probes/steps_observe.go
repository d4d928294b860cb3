package probes

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/sonde-cli/sonde/check"
)

// stepsRun is one Observe call of a journey.
type stepsRun struct {
	p       *stepsProbe
	j       *journey
	jar     *cookieJar
	pools   map[string]*keeper
	values  map[*reference]seenValue
	finals  map[*step]string // the URL of the final response
	learned map[string]bool  // the secrets, each once
	begun   bool             // a request was made before any interrupt
	line    func() string    // reproduces the step that was made last
}

// seenValue is what a reference stands for, or why there is nothing.
type seenValue struct {
	value
	err error
}

// lastTidying is the time for cleanup after an interrupt.
const lastTidying = 150 * time.Millisecond

// Observe makes the steps, and then the requests of cleanup, all within ctx's
// deadline. What cleanup takes is no part of the latency.
func (p *stepsProbe) Observe(ctx context.Context) check.Observation {
	r := &stepsRun{
		p: p, j: begin(), jar: new(cookieJar), pools: make(map[string]*keeper), values: make(map[*reference]seenValue),
		finals: make(map[*step]string), learned: make(map[string]bool),
	}
	defer func() {
		for _, k := range r.pools {
			idleLinks.retire(k)
		}
	}()
	r.j.obs.Facts = make(check.Facts, 0, 8+8*len(p.requests))
	r.goAndReturn(ctx)
	r.remember()
	return r.j.end()
}

// goAndReturn makes the steps and the cleanup, which a defect does not keep us from.
func (r *stepsRun) goAndReturn(ctx context.Context) {
	defer r.tidy(ctx)
	main, cancel := r.share(ctx)
	defer cancel()
	r.travel(main)
	if end, ok := main.Deadline(); ok && len(r.p.cleanup) > 0 && !r.j.obs.Failure.IsZero() && !time.Now().Before(end) {
		r.j.obs.Failure.Message += "\nhint: a fifth of the timeout is kept for cleanup"
	}
	r.j.obs.Reproduce = r.line
}

// remember hides what the run before has learned, too: a target may still speak of
// the session that it had.
func (r *stepsRun) remember() {
	own := slices.Clone(r.j.obs.Secrets[:min(len(r.j.obs.Secrets), maxRemembered)])
	if before := r.p.before.Swap(&own); before != nil {
		r.secrets(*before)
	}
}

// share is the context of the steps: it leaves cleanup its part of the time.
func (r *stepsRun) share(ctx context.Context) (context.Context, context.CancelFunc) {
	deadline, ok := ctx.Deadline()
	if !ok || len(r.p.cleanup) == 0 {
		return ctx, func() {}
	}
	return context.WithDeadline(ctx, deadline.Add(-time.Until(deadline)/cleanupShare))
}

// travel makes the steps until one fails.
func (r *stepsRun) travel(ctx context.Context) {
	obs := &r.j.obs
	obs.Set("completed", 0)
	obs.Set("failed_step", "")
	obs.Set("preferred", true)
	for i, s := range r.p.requests {
		if end, ok := ctx.Deadline(); ok && !time.Now().Before(end) { // not to pass for an error that the step expects
			obs.Set("failed_step", s.name)
			obs.Failure = named(s, check.Reason{Code: check.ConnectTimeout, Message: "the time ran out before it began"})
			return
		}
		made, o := r.step(ctx, s)
		r.record(s, o)
		switch made.verdict {
		case check.Up:
		case check.Degraded:
			if _, known := obs.Because["preferred"]; !known {
				obs.Set("preferred", false)
				obs.Explain("preferred", made.reason.Code, made.reason.Message)
			}
		default:
			obs.Set("failed_step", s.name)
			if made.verdict == check.Unknown || made.stopped {
				obs.Failure = made.reason
				return
			}
			obs.Set("journey", false)
			obs.Explain("journey", made.reason.Code, made.reason.Message)
			return
		}
		obs.Set("completed", i+1)
	}
	obs.Set("journey", true)
}

// tidy makes the requests of cleanup, each in its part of the time that is left.
// One that needs what no step has got has nothing to clean up, and so has a run
// that was interrupted before the first step.
func (r *stepsRun) tidy(ctx context.Context) {
	start, idle := time.Now(), r.j.idle
	defer func() { r.j.idle = idle + time.Since(start) }()
	if !r.begun && errors.Is(ctx.Err(), context.Canceled) {
		return
	}
	var end time.Time // of the time after an interrupt
	for i, s := range r.p.cleanup {
		if slices.ContainsFunc(s.refs, r.lacks) {
			continue
		}
		left := time.Duration(len(r.p.cleanup) - i)
		if end.IsZero() && errors.Is(ctx.Err(), context.Canceled) {
			end = time.Now().Add(lastTidying * left / time.Duration(len(r.p.cleanup)))
		}
		each, cancel := r.outliving(ctx, left, end)
		made, o := r.step(each, s)
		cancel()
		r.tidied(made, o)
	}
}

// outliving is the context of the next of so many requests of cleanup. It has its
// part of the time until ctx's deadline; of that after an interrupt, which ends at
// end, if there has been one; and else of that which one leaves that is to come.
func (r *stepsRun) outliving(ctx context.Context, left time.Duration, end time.Time) (context.Context, context.CancelFunc) {
	inner := context.WithoutCancel(ctx)
	if !end.IsZero() {
		return context.WithTimeout(inner, time.Until(end)/left)
	}
	var cancel context.CancelFunc
	if deadline, ok := ctx.Deadline(); ok {
		inner, cancel = context.WithTimeout(inner, time.Until(deadline)/left)
	} else {
		inner, cancel = context.WithCancel(inner)
	}
	stop := context.AfterFunc(ctx, func() {
		last := time.AfterFunc(lastTidying/time.Duration(len(r.p.cleanup)), cancel)
		context.AfterFunc(inner, func() { last.Stop() })
	})
	return inner, func() { stop(); cancel() }
}

// tidied puts a request of cleanup into the record.
func (r *stepsRun) tidied(made outcome, o *check.Observation) {
	obs := &r.j.obs
	r.secrets(o.Secrets)
	if _, known := obs.Facts.Lookup("cleanup"); !known {
		obs.Set("cleanup", true)
	}
	if _, known := obs.Because["cleanup"]; !known && made.verdict != check.Up && made.verdict != check.Degraded {
		obs.Set("cleanup", false)
		obs.Explain("cleanup", made.reason.Code, "cleanup: "+made.reason.Message)
		if obs.Facts.Get("journey") == true { // there is nothing else to show
			obs.Reproduce = r.line
		}
	}
}

// lacks reports whether there is no value for the reference.
func (r *stepsRun) lacks(ref *reference) bool {
	v, made := r.values[ref]
	return !made || v.err != nil
}

// outcome is what became of a step.
type outcome struct {
	verdict check.Verdict
	reason  check.Reason
	stopped bool // by a failure, not by an expectation
}

// step makes one request and holds it to the step's expectations.
func (r *stepsRun) step(ctx context.Context, s *step) (outcome, *check.Observation) {
	probe, reason := r.request(s)
	if reason != nil {
		made := outcome{verdict: check.Down, reason: named(s, *reason)}
		if reason.Code.Local() {
			made.verdict = check.Unknown
		}
		return made, new(check.Observation)
	}
	r.begun = r.begun || ctx.Err() == nil
	start := time.Now()
	o := probe.observe(ctx, r.jar)
	r.j.idle += time.Since(start) - o.Latency // to fetch a token is no part of the journey, either
	r.secrets(o.Secrets)
	r.line = o.Reproduce
	o.Set("latency", o.Latency)
	for _, ph := range o.Phases {
		o.Set("phase."+ph.Name, ph.Duration)
	}
	missing := r.capture(s, &o)
	for _, name := range s.borrowed {
		if v, ok := r.j.obs.Facts.Lookup(name); ok {
			o.Set(name, v)
		} else if why, known := r.j.obs.Because[name]; known {
			o.Explain(name, why.Code, why.Message)
		}
	}
	judge := check.Check{Expectations: s.expectations, FactList: stepFacts()}
	j := judge.Judge(&o)
	made := outcome{verdict: j.Verdict, reason: named(s, j.Reason), stopped: !o.Failure.IsZero() && j.Reason == o.Failure}
	if !made.stopped && made.verdict != check.Up {
		made.reason.Message += expected(s, j.Findings)
	}
	if missing != nil && (made.verdict == check.Up || made.verdict == check.Degraded) {
		made = outcome{verdict: check.Down, reason: named(s, check.Reason{Code: check.ExpectCode("journey"), Message: missing.Error()})}
	}
	r.keep(s, &o)
	return made, &o
}

// named says of which step a reason is.
func named(s *step, reason check.Reason) check.Reason {
	reason.Message = "step " + s.name + ": " + reason.Message
	return reason
}

// expected quotes the expectation that was missed, where the user wrote it.
func expected(s *step, findings []check.Finding) string {
	for _, level := range []check.Level{check.Expect, check.Prefer} {
		for _, f := range findings {
			switch {
			case f.OK || f.Level != level:
			case !s.written[f.Expect]:
				return ""
			default:
				return fmt.Sprintf(" (%s: %s)", level, f.Expect)
			}
		}
	}
	return ""
}

// request returns the step's request with what its references stand for.
func (r *stepsRun) request(s *step) (*httpProbe, *check.Reason) {
	probe := s.probe
	if len(s.refs) > 0 {
		var reason *check.Reason
		if probe, reason = r.expanded(s); reason != nil {
			return nil, reason
		}
	}
	if s.pool == "" {
		return probe, nil
	}
	if r.pools[s.pool] == nil {
		r.pools[s.pool] = new(keeper)
	}
	return &httpProbe{httpPlan: probe.httpPlan, start: probe.start, target: probe.target, keeper: r.pools[s.pool]}, nil
}

func (r *stepsRun) expanded(s *step) (*httpProbe, *check.Reason) {
	bad := func(format string, args ...any) *check.Reason {
		return &check.Reason{Code: check.ExpectCode("journey"), Message: fmt.Sprintf(format, args...)}
	}
	size := 0
	for _, ref := range s.refs {
		v := r.values[ref]
		if v.err != nil {
			return nil, bad("${%s} has no value: %v", ref.name, v.err)
		}
		size += len(v.text)
	}
	if size > maxExpandedText {
		return nil, bad("its references stand for more than %s", check.Size(maxExpandedText))
	}
	var wrong error
	options := s.expand(func(ref *reference) value { return r.values[ref].value }, func(ref *reference) string {
		whole, err := r.link(ref)
		if err != nil {
			wrong = err
		}
		return whole
	})
	if wrong != nil {
		return nil, bad("%v", wrong)
	}
	mapTexts(options, func(at optionText) string {
		if at.secret && at.text != "" {
			r.secrets([]string{at.text})
		}
		return at.text
	})
	probe, secrets, err := s.refilled(options)
	r.secrets(secrets)
	var unreadable *fs.PathError
	switch {
	case errors.As(err, &unreadable): // a file that was there at load
		reason := bad("%v", err)
		reason.Code = check.LocalPermission
		if errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) {
			reason.Code = check.LocalFD
		}
		return nil, reason
	case err != nil:
		return nil, bad("with what its references stand for, %v", err)
	}
	if !sameOrigin(s.probe.start, probe.start) {
		return nil, bad("it would go to %s://%s, another origin than %s://%s; nothing was sent", probe.start.Scheme, probe.start.Host, s.probe.start.Scheme, s.probe.start.Host)
	}
	return probe, nil
}

// link is the URL that a reference stands for, relative to the response that it is
// from.
func (r *stepsRun) link(ref *reference) (string, error) {
	base, err := parseHTTPURL(r.finals[ref.step])
	if err != nil {
		return "", err
	}
	to, err := resolveLocation(base, r.values[ref].text)
	if err != nil {
		return "", fmt.Errorf("${%s} is no URL to go to: %w", ref.name, err)
	}
	return to.String(), nil
}

// capture sets what the step captures. It returns what is missing.
func (r *stepsRun) capture(s *step, o *check.Observation) (missing error) {
	captures := make(map[string]string, len(s.captures)+len(s.extracts))
	for _, name := range slices.Sorted(maps.Keys(s.captures)) {
		path := s.captures[name]
		v, err := path.of(o)
		if err != nil {
			missing = cmp.Or(missing, fmt.Errorf("capture %s: %w", name, err))
			continue
		}
		captures[name] = v.text
		if secretName(name) || path.secret(v) {
			r.secrets([]string{v.text})
		}
	}
	body, _ := o.Facts.Get("body").(string)
	for _, name := range slices.Sorted(maps.Keys(s.extracts)) {
		match := s.extracts[name].FindStringSubmatch(body)
		if match == nil {
			missing = cmp.Or(missing, fmt.Errorf("extract %s: nothing in the body matches %s", name, s.extracts[name]))
			continue
		}
		found := match[min(1, len(match)-1)]
		if len(found) > maxReferenced {
			missing = cmp.Or(missing, fmt.Errorf("extract %s: it found more than %s", name, check.Size(maxReferenced)))
			continue
		}
		captures[name] = strings.Clone(found) // not the whole body with it
		if secretName(name) || tokenLike(found) {
			r.secrets([]string{found})
		}
	}
	if len(s.captures)+len(s.extracts) > 0 {
		o.Set("captures", captures)
	}
	return missing
}

// keep keeps of a step what others refer to.
func (r *stepsRun) keep(s *step, o *check.Observation) {
	r.finals[s], _ = o.Facts.Get("url").(string)
	for _, ref := range s.referred {
		v, err := ref.path.of(o)
		v.text = strings.Clone(v.text)
		r.values[ref] = seenValue{v, err}
		if err == nil && ref.path.secret(v) {
			r.secrets([]string{v.text})
		}
	}
}

// record puts a step into the record of the journey.
func (r *stepsRun) record(s *step, o *check.Observation) {
	obs := &r.j.obs
	for _, ph := range o.Phases {
		obs.Phases.Add(ph.Name, ph.Duration)
	}
	for name, v := range o.Facts.All() {
		if s.lent[name] {
			obs.Set("steps."+s.name+"."+name, v)
		}
	}
	for name, why := range o.Because {
		if s.lent[name] {
			obs.Explain("steps."+s.name+"."+name, why.Code, why.Message)
		}
	}
}

// secrets notes values to hide, each once.
func (r *stepsRun) secrets(values []string) {
	for _, v := range values {
		if v != "" && !r.learned[v] {
			r.learned[v] = true
			r.j.obs.Secrets = append(r.j.obs.Secrets, v)
		}
	}
}
