package probes

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/sonde-cli/sonde/check"
)

// step is a validated [stepRequest].
type step struct {
	name    string
	option  string       // where it stands, such as requests[0]
	url     string       // as the options have it
	options *httpOptions // with its url made whole; texts may hold references
	probe   *httpProbe   // as built at load; where there are references, with samples in their place
	refs    []*reference // what the options refer to
	pool    string       // steps with the same may share a connection; empty: none
	setup   check.Setup

	expectations []check.Expectation
	written      map[string]bool // those that the user wrote
	borrowed     []string        // facts of steps before that the expectations name
	captures     map[string]*factPath
	extracts     map[string]*regexp.Regexp
	wanted       map[string]bool // facts that somebody is interested in
	lent         map[string]bool // those that belong into the result's facts
	referred     []*reference    // what others refer to
}

// wants notes that the path's value is to be had. Numbers of JSON are exact in the
// body alone.
func (s *step) wants(p *factPath) {
	s.wanted[p.fact.Name] = true
	if p.fact.Name == "json" {
		s.wanted["body"] = true
	}
}

func (s *step) captureNames() []string {
	return append(slices.Sorted(maps.Keys(s.captures)), slices.Sorted(maps.Keys(s.extracts))...)
}

// stepsProbe is a built check of the kind steps.
type stepsProbe struct {
	requests, cleanup []*step
	before            atomic.Pointer[[]string] // secrets that the last run has learned
}

// stepsBuilder validates the options so that all errors are told at once.
type stepsBuilder struct {
	setup   check.Setup
	options *stepsOptions
	probe   *stepsProbe
	users   map[*step][]check.Expectation
	tokens  map[string]*tokenSource // by all that they depend on
	secrets []string
	errs    []error
	lint    bool // a text may be empty for want of its variables' values
}

// Build validates the options.
func (o *stepsOptions) Build(s check.Setup) (check.Plan, error) {
	b := &stepsBuilder{setup: s, options: o, probe: new(stepsProbe), users: make(map[*step][]check.Expectation), tokens: make(map[string]*tokenSource)}
	b.block()
	b.begin()
	for i, st := range b.probe.requests {
		b.refer(st, b.probe.requests[:i], b.probe.requests[i:])
		b.expect(st, &o.Requests[i], b.probe.requests[:i])
	}
	for i, st := range b.probe.cleanup {
		b.refer(st, b.probe.requests, nil)
		b.expect(st, &o.Cleanup[i], b.probe.requests)
	}
	if err := errors.Join(b.errs...); err != nil {
		return check.Plan{}, err
	}
	for _, st := range slices.Concat(b.probe.requests, b.probe.cleanup) {
		b.request(st)
	}
	if err := errors.Join(b.errs...); err != nil {
		return check.Plan{}, err
	}
	target := o.Base
	if target == "" {
		target = b.probe.requests[0].probe.target
	}
	return check.Plan{
		Probe: b.probe, Target: target, Secrets: b.secrets,
		Defaults: []check.Default{
			{Expect: "journey"},
			{Expect: "preferred", Level: check.Prefer, WhenSeen: true},
			{Expect: "cleanup", Level: check.Prefer, WhenSeen: true},
		},
	}, nil
}

func (b *stepsBuilder) fail(err error) { b.errs = append(b.errs, err) }

// failText reports what is wrong with a text, at its reference of the number.
func (b *stepsBuilder) failText(option, text string, reference int, err error) {
	written, offset := asWritten(text, reference)
	e := &check.OptionError{Option: option, Err: err, Text: written, Offset: offset}
	var h *hintedError
	if errors.As(err, &h) {
		e.Hint = h.hint
	}
	b.fail(e)
}

// block looks at what is not of one request.
func (b *stepsBuilder) block() {
	o := b.options
	switch {
	case len(check.Deferred(o.Base)) > 1:
		b.failText("base", o.Base, 0, errors.New("the base must be known before the run"))
	case o.Base != "":
		if u, err := parseHTTPURL(o.Base); err != nil {
			b.fail(check.OptionErrorf("base", "%w", err))
		} else if u.RawQuery != "" {
			b.fail(check.OptionErrorf("base", "holds a query, to which nothing can be appended"))
		}
		if password := writtenPassword(o.Base); password != "" {
			b.secrets = append(b.secrets, password)
		}
	}
	if o.Defaults.URL != "" {
		b.fail(check.OptionErrorf("defaults.url", "belongs into a request; base is what urls begin with"))
	}
	if n := len(o.Requests); n < 1 || n > maxSteps {
		b.fail(check.OptionErrorf("requests", "there are %d, not 1 to %d", n, maxSteps))
	}
	if n := len(o.Cleanup); n > maxCleanup {
		b.fail(check.OptionErrorf("cleanup", "there are %d, more than %d", n, maxCleanup))
	}
	bodies := check.Size(0)
	for _, r := range slices.Concat(o.Requests, o.Cleanup) {
		bodies += max(r.HTTP.MaxBody, 0)
	}
	if bodies > maxStepsBodies {
		b.fail(check.OptionErrorf("requests", "the max_body of all are %s together, more than %s", bodies, check.Size(maxStepsBodies)))
	}
}

// begin begins all steps.
func (b *stepsBuilder) begin() {
	o := b.options
	for i := range o.Requests {
		b.add(&b.probe.requests, &o.Requests[i], fmt.Sprintf("requests[%d]", i), "")
	}
	for i := range o.Cleanup {
		b.add(&b.probe.cleanup, &o.Cleanup[i], fmt.Sprintf("cleanup[%d]", i), fmt.Sprintf("cleanup%d", i+1))
	}
}

// add begins a step.
func (b *stepsBuilder) add(to *[]*step, r *stepRequest, option, name string) {
	st := &step{
		name: r.Name, option: option, captures: make(map[string]*factPath), extracts: r.Extract,
		written: make(map[string]bool), wanted: make(map[string]bool), lent: map[string]bool{"status": true, "latency": true}, setup: b.setup,
	}
	if st.name == "" {
		st.name = name
	}
	for _, phase := range check.PhaseNames() {
		st.lent["phase."+phase] = true
	}
	switch same := func(other *step) bool { return other.name == st.name }; {
	case st.name == "":
		b.fail(check.OptionErrorf(option, "the step has no name"))
	case !isStepName(st.name):
		b.fail(check.OptionErrorf(option+".name", "%s is not of small letters, digits and underscores, a letter first", excerpt([]byte(st.name))))
	case slices.ContainsFunc(b.probe.requests, same) || slices.ContainsFunc(b.probe.cleanup, same):
		b.fail(check.OptionErrorf(option+".name", "the step %s stands here twice", st.name))
	}
	for _, key := range slices.Sorted(maps.Keys(r.Capture)) {
		if b.lint && r.Capture[key] == "" {
			st.captures[key] = nil // there is one, whatever it is
			continue
		}
		path, err := parseFactPath(r.Capture[key])
		if err == nil && path.fact.Name == "captures" {
			err = errors.New("captures cannot be captured")
		}
		if err != nil {
			b.failText(option+".capture."+key, r.Capture[key], 0, err)
			continue
		}
		if _, twice := r.Extract[key]; twice {
			b.fail(check.OptionErrorf(option+".extract."+key, "there is a capture of that name, too"))
		}
		st.captures[key] = path
		st.wants(path)
	}
	for key := range r.Extract {
		if r.Extract[key] == nil && !b.lint {
			b.fail(check.OptionErrorf(option+".extract."+key, "is empty"))
		}
	}
	if len(r.Extract) > 0 {
		st.wanted["body"] = true
	}
	st.options, st.url = &r.HTTP, r.HTTP.URL
	*to = append(*to, st)
}

// refer finds what the step's texts refer to, and makes its url whole.
func (b *stepsBuilder) refer(st *step, before, after []*step) {
	whole := *st.options
	whole.URL = b.join(st)
	st.options = &whole
	mapTexts(st.options, func(at optionText) string {
		for i, name := range at.references() {
			r, err := resolveReference(name, before, after)
			switch {
			case !at.mayRefer():
				err = fmt.Errorf("%s must be known before the run", at.option)
			case err == nil && at.option == "url":
				err = hostIsKnown(at.text, 2*i+1)
			}
			if err != nil {
				written, which := at.text, i
				switch at.option {
				case "url": // without the base
					written = st.url
				case "json": // a text in it
					written, which = check.Defer(name), 0
				}
				b.failText(st.option+"."+at.option, written, which, err)
				continue
			}
			st.refs = append(st.refs, r)
			r.step.referred = append(r.step.referred, r)
			r.step.wants(r.path)
		}
		return at.text
	})
}

// join makes a url without a host one that begins with the base.
func (b *stepsBuilder) join(st *step) string {
	text, base := st.options.URL, b.options.Base
	if base == "" && b.lint { // it may be a variable's value
		base = "http://unknown"
	}
	parts := check.Deferred(text)
	scheme, _, absolute := strings.Cut(parts[0], "://")
	switch {
	case len(parts) > 1 && parts[0] == "", absolute && !strings.ContainsAny(scheme, "/?#"):
		return text
	case base == "":
		b.fail(check.OptionErrorf(st.option+".url", "%s has no host; write it whole, or give base", excerpt([]byte(parts[0]))))
		return text
	case strings.HasPrefix(text, "?"), text == "":
		return base + text
	}
	return strings.TrimSuffix(base, "/") + "/" + strings.TrimPrefix(text, "/")
}

// hostIsKnown checks that a reference in a url, the part of the number of its
// text, stands behind the host, or is the beginning of the url.
func hostIsKnown(text string, part int) error {
	before := strings.Join(check.Deferred(text)[:part], "")
	if before == "" {
		return nil
	}
	_, rest, ok := strings.Cut(before, "://")
	if ok && strings.ContainsAny(rest, "/?#") || check.Deferred(text)[0] == "" {
		return nil
	}
	return errors.New("where a request goes must be known before the run")
}

// expect compiles what the step expects and prefers.
func (b *stepsBuilder) expect(st *step, r *stepRequest, before []*step) {
	facts := ownFacts(before)
	for _, list := range []struct {
		option string
		texts  []string
		level  check.Level
	}{{"expect", r.Expect, check.Expect}, {"prefer", r.Prefer, check.Prefer}} {
		for i, text := range list.texts {
			if b.lint && text == "" {
				continue
			}
			option := fmt.Sprintf("%s.%s[%d]", st.option, list.option, i)
			if parts := check.Deferred(text); len(parts) > 1 {
				b.failText(option, text, 0, hinted("write "+parts[1]+" without ${}", "an expectation names facts of steps before as they are"))
				continue
			}
			test, err := b.setup.Compile(text, facts)
			if err != nil {
				for _, e := range check.OptionErrors(err) {
					e.Option = option
					b.fail(e)
				}
				continue
			}
			st.written[text] = true
			b.users[st] = append(b.users[st], check.Expectation{Text: text, Level: list.level, Test: test})
			b.borrow(st, test, before)
		}
	}
}

// borrow notes which facts of its own, and of steps before, a step looks at.
func (b *stepsBuilder) borrow(st *step, test check.Test, before []*step) {
	for _, name := range test.Facts() {
		rest, foreign := strings.CutPrefix(name, "steps.")
		if !foreign {
			st.wanted[name] = true
			continue
		}
		owner, fact, _ := strings.Cut(rest, ".")
		i := slices.IndexFunc(before, func(s *step) bool { return s.name == owner })
		before[i].wanted[fact], before[i].lent[fact] = true, true
		st.borrowed = append(st.borrowed, name)
	}
}

// request builds the step's request, with samples in the place of references.
func (b *stepsBuilder) request(st *step) {
	st.setup.Last = nil
	st.setup.Needs = func(fact string) bool {
		return st.wanted[fact] || b.setup.Needs("steps."+st.name+"."+fact)
	}
	for _, f := range stepFacts() {
		if b.setup.Needs("steps." + st.name + "." + f.Name) {
			st.lent[f.Name] = true
		}
	}
	options := st.expand(func(r *reference) value {
		return value{text: "0", isText: true}
	}, func(r *reference) string { return r.step.probe.target })
	if b.spreads(st, options) {
		return
	}
	plan, err := options.Build(st.setup)
	if err != nil {
		for _, e := range check.OptionErrors(err) {
			e.Option = strings.TrimSuffix(st.option+"."+e.Option, ".")
			b.fail(e)
		}
		return
	}
	st.probe = plan.Probe.(*httpProbe)
	st.pool = poolOf(options, st.probe)
	b.share(st)
	b.secrets = append(b.secrets, plan.Secrets...)
	st.expectations, err = check.WithDefaults(plan.Defaults, b.users[st], func(text string) (check.Test, error) {
		return b.setup.Compile(text, ownFacts(nil))
	})
	if err != nil {
		b.fail(check.OptionErrorf(st.option, "%w", err))
	}
}

// spreads refuses a step that goes to several addresses: the step after it would
// not know whose answer to use.
func (b *stepsBuilder) spreads(st *step, o *httpOptions) bool {
	route, err := o.Route.buildAll()
	switch {
	case err != nil || route.spread == oneAddress: // Build tells
		return false
	case route.spread == bothFamilies:
		b.fail(check.OptionErrorf(st.option+".family", "a step goes one way, write any, 4 or 6"))
	default:
		b.fail(check.OptionErrorf(st.option+".address", "a step goes to one address, all is for http"))
	}
	return true
}

// share lets steps that get the same token of OAuth 2.0 get it once.
func (b *stepsBuilder) share(st *step) {
	if st.probe.tokens == nil {
		return
	}
	o := st.probe.options
	way := fmt.Sprintf("%+v %+v %+v %+v %s", o.Auth.OAuth2, o.Proxied, o.TLS, o.Route, o.Close)
	if b.tokens[way] == nil {
		b.tokens[way] = st.probe.tokens
	}
	st.probe.tokens = b.tokens[way]
}

// refilled is the step's probe with other texts. Where it goes and how is as at
// load.
func (s *step) refilled(options *httpOptions) (*httpProbe, []string, error) {
	plan := *s.probe.httpPlan
	plan.options, plan.headers, plan.body, plan.digest = *options, nil, nil, nil
	b := &httpBuilder{setup: s.setup, options: options, probe: &httpProbe{httpPlan: &plan}}
	for _, part := range []func() error{b.url, b.headers, b.auth, b.body} {
		b.errs = append(b.errs, part())
	}
	return b.probe, b.secrets, errors.Join(b.errs...)
}

// poolOf names the connections that the request can share: those to the same
// origin with the same options, but for those of the request itself.
func poolOf(options *httpOptions, probe *httpProbe) string {
	if options.Connection != "reuse" {
		return ""
	}
	o := *options
	o.URL, o.Method, o.Headers, o.HeadersFile, o.Body, o.BodyFile, o.Payload = "", "", nil, "", "", "", Payload{}
	o.Auth, o.Redirects, o.Cookies, o.Compression, o.MaxBody = httpAuth{}, 0, false, "", 0
	return fmt.Sprintf("%s://%s %+v", probe.start.Scheme, probe.start.Host, o)
}

// expand returns the step's options with their references filled in. A url that
// begins with one is what whole makes of it.
func (s *step) expand(lookup func(*reference) value, whole func(*reference) string) *httpOptions {
	if len(s.refs) == 0 {
		return s.options
	}
	form, next := isForm(s.options), 0
	return mapTexts(s.options, func(at optionText) string {
		first := true
		return fill(at, form, func() value {
			r := s.refs[next]
			next++
			defer func() { first = false }()
			if first && at.option == "url" && check.Deferred(at.text)[0] == "" {
				return value{text: whole(r)}
			}
			return lookup(r)
		})
	})
}

// Footprint is that of the connections of all steps, which are made one after the
// other.
func (p *stepsProbe) Footprint() check.Footprint {
	all := check.Footprint{Probes: len(p.requests) + len(p.cleanup)}
	pools := make(map[string]bool)
	for _, s := range slices.Concat(p.requests, p.cleanup) {
		if s.pool != "" && pools[s.pool] {
			continue
		}
		pools[s.pool] = true
		all.Ports += s.probe.home.route.footprint().Ports
	}
	return all
}
