package probes

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sonde-cli/sonde/check"
	"github.com/sonde-cli/sonde/config"
)

// stepTo is a step with the defaults of http.
func stepTo(name, url string) stepRequest {
	r := stepRequest{Name: name, HTTP: *newHTTPOptions()}
	r.HTTP.URL = url
	return r
}

// shopToken is what the shop gives to who logs in. It needs escapes everywhere.
const shopToken = `tok&"en/?#%-0123456789`

// shop is a site with a login. It notes what it was asked.
type shop struct {
	*httptest.Server
	mu    sync.Mutex
	asked []string // method, path and body
	peers map[string]bool
	calls map[string]func() // by path
}

func newShop(t *testing.T) *shop {
	t.Helper()
	s := &shop{peers: make(map[string]bool)}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

func (s *shop) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	s.mu.Lock()
	s.asked = append(s.asked, strings.TrimSpace(r.Method+" "+r.URL.Path+" "+string(body)))
	s.peers[r.RemoteAddr] = true
	call := s.calls[r.URL.Path]
	s.mu.Unlock()
	if call != nil {
		call()
	}
	session, _ := r.Cookie("session")
	switch r.URL.Path {
	case "/login":
		http.SetCookie(w, &http.Cookie{Name: "session", Value: "session-0123456789", HttpOnly: true, Path: "/"})
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Location", "/orders")
		w.Header().Set("X-Evil", "a\tb")
		fmt.Fprintf(w, `{"token": %q, "user": {"id": 42, "vip": true}, "elsewhere": "http://127.0.0.2:1/", "lines": "a\r\nX-Injected: 1", "next": "more?page=2", "large": %q}`,
			shopToken, strings.Repeat("x", maxReferenced+1))
	case "/form":
		fmt.Fprint(w, `<input name="csrf" value="c5rf-0123456789abc">`)
	case "/orders":
		if session == nil || session.Value != "session-0123456789" || r.Header.Get("Authorization") != "Bearer "+shopToken {
			http.Error(w, "who are you, "+r.Header.Get("Authorization"), http.StatusForbidden)
			return
		}
		fmt.Fprintf(w, `{"q": %q, "echo": %q, "page": %q}`, r.URL.Query().Get("q"), body, r.URL.Query().Get("page"))
	case "/slow":
		<-r.Context().Done()
	case "/broken":
		w.WriteHeader(http.StatusInternalServerError)
	default:
		fmt.Fprintf(w, "%q", r.URL.RequestURI())
	}
}

// on calls f when the path is asked for.
func (s *shop) on(path string, f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls = map[string]func(){path: f}
}

// requests returns what the shop was asked so far.
func (s *shop) requests() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.asked)
}

// loadSteps loads a file with one check, journey, whose block steps is given; SHOP
// in it stands for the shop's URL.
func loadSteps(t *testing.T, base, steps, rest string) (*check.Check, error) {
	t.Helper()
	text := "version: 1\nchecks:\n  - name: journey\n    steps:\n" + strings.ReplaceAll(steps, "SHOP", base) + rest
	loader := config.Loader{Kinds: Kinds(), Stdin: strings.NewReader(text), LookupEnv: func(string) (string, bool) { return "", false }}
	set, err := loader.Load(t.Context(), "-")
	if err != nil {
		return nil, err
	}
	if len(set.Checks) == 0 {
		return nil, nil // it is disabled
	}
	return set.Checks[0], nil
}

// journeyTo makes a journey once and returns its result.
func journeyTo(t *testing.T, base, steps, rest string) check.Result {
	t.Helper()
	c, err := loadSteps(t, base, steps, rest)
	if err != nil {
		t.Fatal(err)
	}
	o := c.Probe.Observe(timeout(t, patience))
	return c.Result(&o, c.Judge(&o))
}

const (
	shopBase = `
      base: "SHOP"
      requests:`
	loginStep = `
        - name: login
          url: /login
          method: POST
          body: '{"user": "me"}'
          expect: ["status == 200", "json.user.vip", "cookies.session.http_only"]
`
	ordersStep = `
        - name: orders
          url: "/orders?q=${steps.login.json.token}"
          headers: {Authorization: "Bearer ${steps.login.json.token}"}
          body: '{"id": ${steps.login.json.user.id}, "t": "${steps.login.json.token}"}'
`
	login  = shopBase + loginStep
	orders = login + ordersStep
)

func TestStepsJourney(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	r := journeyTo(t, s.URL, orders+`
          expect:
            - json.q == steps.login.json.token
            - "json.echo contains '\"id\": 42'"
            - steps.login.status == 200
        - {name: form, url: /form, extract: {csrf: 'name="csrf" value="([^"]+)"'}, capture: {kind: content_type}}
        - name: post
          url: "/post/${steps.form.captures.csrf}"
          headers: {Content-Type: application/x-www-form-urlencoded}
          body: "csrf=${steps.form.captures.csrf}&kind=${steps.form.captures.kind}&s=${steps.login.cookies.session.value}"
`, `
    expect: ["completed == 4", "steps.orders.json.q != ''", "steps.login.latency < 1m", "steps.form.captures.kind startsWith 'text/plain'", "latency < 1m"]
`)
	if r.Verdict != check.Up {
		t.Fatalf("%v %v", r.Reason, r.Findings)
	}
	want := []string{
		`POST /login {"user": "me"}`,
		`POST /orders {"id": 42, "t": "tok\u0026\"en/?#%-0123456789"}`,
		"GET /form",
		"POST /post/c5rf-0123456789abc csrf=c5rf-0123456789abc&kind=text%2Fplain%3B+charset%3Dutf-8&s=session-0123456789",
	}
	if diff := cmp.Diff(want, s.requests()); diff != "" {
		t.Error(diff)
	}
	if got := r.Facts.Get("steps.post.status"); got != 200 {
		t.Errorf("steps.post.status %v", got)
	}
	if _, shown := r.Facts.Lookup("steps.login.json"); shown {
		t.Error("a hidden fact is in the result")
	}
}

// TestStepsOneFails ends the journey at the step that fails, says why, and hides
// what is secret.
func TestStepsOneFails(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	r := journeyTo(t, s.URL, orders+`
          expect: ["json.q == 'something'"]
        - {name: never, url: /never}
      cleanup:
        - {url: "/logout?t=${steps.login.json.token}", method: DELETE}
        - {url: "/undo/${steps.never.status}"}
`, "")
	if r.Verdict != check.Down || r.Reason.Code != "expect.json" || !strings.Contains(r.Reason.Message, "step orders: json.q") {
		t.Errorf("%v %v", r.Verdict, r.Reason)
	}
	for fact, want := range map[string]any{"journey": false, "completed": 1, "failed_step": "orders", "cleanup": true, "steps.orders.status": 200, "steps.never.status": nil} {
		if got := r.Facts.Get(fact); got != want {
			t.Errorf("%s %v, want %v", fact, got, want)
		}
	}
	if asked := s.requests(); len(asked) != 3 || asked[2] != "DELETE /logout" {
		t.Errorf("asked %q", asked)
	}
	text, err := r.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{"0123456789", "tok&", "tok%26", `tok\u0026`} {
		if strings.Contains(string(text), secret) {
			t.Errorf("%s is in %s", secret, text)
		}
	}
	for _, part := range []string{"curl ", "-b 'session=***'", "/orders?q=***", "-H 'Authorization: ***'"} {
		if !strings.Contains(strings.ReplaceAll(r.Reproduce, "-b session=***", "-b 'session=***'"), part) {
			t.Errorf("no %s in %s", part, r.Reproduce)
		}
	}
}

func TestStepsVerdicts(t *testing.T) {
	t.Parallel()
	host, port := refused(t)
	for name, c := range map[string]struct {
		steps, rest string
		verdict     check.Verdict
		code        check.Code
		message     string
	}{
		"default": {login + `
        - {name: broken, url: /broken}
`, "", check.Down, check.HTTPStatus, "step broken: status 500, want 2xx"},
		"a failure is expected": {login + `
        - {name: broken, url: /broken, expect: "status == 5xx"}
        - {name: dead, url: "http://` + host + `:` + port + `/", expect: "error == 'connect.refused'"}
`, "", check.Up, "", ""},
		"cannot connect": {login + `
        - {name: dead, url: "http://` + host + `:` + port + `/"}
`, "", check.Down, check.ConnectRefused, "step dead: "},
		"the user wants the failure": {login + `
        - {name: broken, url: /broken}
`, "    expect: [\"journey == false\", \"failed_step == 'broken'\"]\n", check.Up, "", ""},
		"prefer": {login + `
        - {name: broken, url: /broken, expect: "status == 500", prefer: "status == 200"}
        - {name: last, url: /last}
`, "    expect: \"completed == 3\"\n", check.Degraded, check.HTTPStatus, "step broken: status 500, want 200 (prefer: status == 200)"},
		"cleanup fails": {login + `
      cleanup: [{url: /broken}, {url: /fine}]
`, "", check.Degraded, check.HTTPStatus, "cleanup: step cleanup1: status 500, want 2xx"},
		"cleanup counts": {login + `
      cleanup: [{url: /broken}]
`, "    expect: cleanup\n", check.Down, check.HTTPStatus, "cleanup: "},
		"nothing to clean up": {`
      base: "SHOP"
      requests: [{name: broken, url: /broken}]
      cleanup: [{url: "/${steps.broken.body}"}]
`, "    expect: journey == false\n", check.Up, "", ""},
		"a capture is missing": {login + `
        - {name: json, url: /login, capture: {x: json.user.nothing}}
`, "", check.Down, "expect.journey", "step json: capture x: json.user.nothing is missing"},
		"nothing to extract": {login + `
        - {name: page, url: /form, extract: {x: 'value="(\d+)"'}}
`, "", check.Down, "expect.journey", "step page: extract x: nothing in the body matches"},
		"a value is missing": {login + `
        - {name: use, url: "/${steps.login.json.nothing}"}
`, "", check.Down, "expect.journey", "step use: ${steps.login.json.nothing} has no value: json.nothing is missing"},
		"cookies are not wanted": {strings.Replace(login, "method: POST", "cookies: false", 1) + `
        - {name: orders, url: /orders, headers: {Authorization: "Bearer ${steps.login.json.token}"}}
`, "", check.Down, check.HTTPStatus, "step orders: status 403"},
		"a link": {login + `
        - {name: orders, url: "${steps.login.headers.location}", headers: {Authorization: "Bearer ${steps.login.json.token}"}}
        - {name: more, url: "${steps.login.json.next}", expect: "body contains '/more?page=2'"}
`, "", check.Up, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := journeyTo(t, newShop(t).URL, c.steps, c.rest)
			if r.Verdict != c.verdict || r.Reason.Code != c.code || !strings.Contains(r.Reason.Message, c.message) {
				t.Errorf("%v %s %q, want %v %s %q", r.Verdict, r.Reason.Code, r.Reason.Message, c.verdict, c.code, c.message)
			}
		})
	}
}

// TestStepsHostileValues uses what a target says where it could do harm: nothing of
// it goes over the wire.
func TestStepsHostileValues(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ step, message string }{
		"a header more":           {`url: /x, headers: {X-Value: "${steps.login.json.lines}"}`, "line break"},
		"a method":                {`url: /x, method: "${steps.login.json.token}"`, "is no method"},
		"another origin":          {`url: "${steps.login.json.elsewhere}"`, "another origin"},
		"another origin, a part":  {`url: "${steps.login.json.elsewhere}${steps.login.json.user.id}"`, "another origin"},
		"too large":               {`url: /x, body: "${steps.login.json.large}"`, "larger than 64KiB"},
		"too much in all":         {`url: /x, body: "` + strings.Repeat("${steps.login.body}", 20) + `"`, "larger than 64KiB"},
		"no URL":                  {`url: "${steps.login.json.lines}"`, "control characters"},
		"a header with a newline": {`url: /x, auth: {token: "${steps.login.json.lines}"}`, "line break"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newShop(t)
			r := journeyTo(t, s.URL, login+"        - {name: use, "+c.step+"}\n", "")
			if r.Verdict != check.Down || !strings.Contains(r.Reason.Message, c.message) || len(s.requests()) != 1 {
				t.Errorf("%v, asked %q", r.Reason, s.requests())
			}
		})
	}
}

// TestStepsConnections counts connections: one for each request, or one for all.
func TestStepsConnections(t *testing.T) {
	t.Parallel()
	for connection, want := range map[string]int{"fresh": 4, "reuse": 1} {
		s := newShop(t)
		r := journeyTo(t, s.URL, `
      defaults: {connection: `+connection+`}`+orders+`
        - {name: third, url: /third, redirects: 0}
      cleanup: [{url: /bye}]
`, "    expect: [\"journey\", \"steps.third.status == 200\"]\n")
		if r.Verdict != check.Up || len(s.peers) != want {
			t.Errorf("%s: %d connections, want %d; %v", connection, len(s.peers), want, r.Reason)
		}
	}
}

// TestStepsAtOnce runs one check at once; each run has cookies of its own.
func TestStepsAtOnce(t *testing.T) {
	t.Parallel()
	c, err := loadSteps(t, newShop(t).URL, `
      defaults: {connection: reuse}`+shopBase+`
        - {name: before, url: /orders, expect: "status == 403"}`+loginStep+ordersStep, "")
	if err != nil {
		t.Fatal(err)
	}
	var runs sync.WaitGroup
	for range 4 {
		runs.Go(func() {
			for range 5 {
				o := c.Probe.Observe(timeout(t, patience))
				if j := c.Judge(&o); j.Verdict != check.Up {
					t.Errorf("%v", j.Reason)
				}
			}
		})
	}
	runs.Wait()
}

func TestStepsLoadErrors(t *testing.T) {
	t.Parallel()
	many := strings.Repeat("        - {name: NAME, url: /x}\n", maxSteps)
	for name, c := range map[string]struct{ steps, want string }{
		"no such step":         {login + `        - {name: b, url: "/${steps.lgin.status}"}`, `<stdin>:13:28: there is no step "lgin" before`},
		"did you mean a step":  {login + `        - {name: b, url: "/${steps.lgin.status}"}`, "did you mean login?"},
		"no such fact":         {login + `        - {name: b, url: "/${steps.login.jsn.id}"}`, "did you mean json.id?"},
		"no fact":              {login + `        - {name: b, url: "/${steps.login}"}`, "names no fact"},
		"itself":               {login + `        - {name: b, url: "/${steps.b.status}"}`, "the step b has not been made by then"},
		"not yet":              {"      requests: [{name: a, url: \"http://x.test/${steps.b.status}\"}, {name: b, url: \"http://x.test/\"}]", "<stdin>:5:48: the step b has not been made by then"},
		"a member of a number": {login + `        - {name: b, url: "/${steps.login.status.x}"}`, "status has no member x"},
		"a duration":           {login + `        - {name: b, url: "/${steps.login.latency}"}`, "latency is a duration"},
		"a map":                {login + `        - {name: b, url: "/${steps.login.headers}"}`, "headers is a map"},
		"no capture":           {login + `        - {name: b, url: "/${steps.login.captures.x}"}`, "the step login captures no \"x\""},
		"no path":              {login + `        - {name: b, url: "/${steps.login.json[}"}`, "is no path"},
		"in the host":          {login + `        - {name: b, url: "http://${steps.login.json.x}/"}`, "where a request goes must be known before the run"},
		"in a port":            {login + `        - {name: b, url: "http://x.test:${steps.login.json.x}/"}`, "where a request goes must be known before the run"},
		"a number":             {login + `        - {name: b, url: /b, redirects: "${steps.login.status}"}`, "redirects must be known before the run"},
		"a file":               {login + `        - {name: b, url: /b, body_file: "${steps.login.json.x}"}`, "body_file must be known before the run"},
		"a reference inside":   {login + `        - {name: b, url: "/${X:-${steps.login.status}}"}`, "is no name of a variable"},
		"a noncharacter":       {login + "        - {name: b, url: /b, body: \"\uFDD0\"}", "U+FDD0"},
		"an expectation":       {login + `        - {name: b, url: /b, expect: "statuss == 200"}`, "<stdin>:13:39: there is no fact statuss"},
		"of a later step":      {login + `        - {name: b, url: /b, expect: "steps.c.status == 200"}`, "there is no fact steps.c.status"},
		"of a sample":          {login + `        - {name: b, url: /b, expect: "pass_rate > 0.5"}`, "there is no fact pass_rate"},
		"with a reference":     {login + `        - {name: b, url: /b, expect: "json == ${steps.login.json.x}"}`, "write steps.login.json.x without ${}"},
		"name":                 {"      requests: [{name: A-b, url: \"http://x.test/\"}]", "small letters"},
		"no name":              {"      requests: [{url: \"http://x.test/\"}]", "the step has no name"},
		"twice":                {login + `        - {name: login, url: /b}`, "the step login stands here twice"},
		"no url":               {login + `        - {name: b}`, "requests has no url"},
		"no base":              {"      requests: [{name: a, url: /x}]", "has no host; write it whole, or give base"},
		"base":                 {"      base: \"ftp://x\"\n      requests: [{name: a, url: /x}]", "base: "},
		"base with a query":    {"      base: \"http://x.test/?a=b\"\n      requests: [{name: a, url: /x}]", "base: holds a query"},
		"url for all":          {"      defaults: {url: \"http://x.test/\"}\n      requests: [{name: a, url: \"http://x.test/\"}]", "defaults.url: belongs into a request"},
		"none":                 {"      requests: []", "there are 0, not 1 to 50"},
		"too many":             {login + many, "there are 51, not 1 to 50"},
		"too much":             {login + `        - {name: b, url: /b, max_body: 300MiB}`, "max_body of all"},
		"an option of http":    {login + `        - {name: b, url: /b, headers: {"X Y": a}}`, "<stdin>:13:47: requests[1].headers.X Y: "},
		"both":                 {login + `        - {name: b, url: /b, capture: {x: status}, extract: {x: a}}`, "there is a capture of that name, too"},
		"unknown":              {login + `        - {name: b, url: /b, capure: {x: status}}`, `did you mean "capture"`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := loadSteps(t, "http://x.test", c.steps, "\n")
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v\nwant %s", err, c.want)
			}
		})
	}
}

// TestStepsDefaults merges the options of all requests into each.
func TestStepsDefaults(t *testing.T) {
	t.Parallel()
	c, err := loadSteps(t, "http://x.test", `
      base: "SHOP/api"
      defaults: {headers: {A: "1", B: "2"}, redirects: 3, tls: {min_version: "1.3"}}
      requests:
        - {name: one, url: "one", headers: {B: "3"}}
        - {name: two, url: "?x=y", redirects: 0, tls: {insecure: true}}
      cleanup:
        - {url: "https://y.test/z"}
`, "")
	if err != nil {
		t.Fatal(err)
	}
	p := c.Probe.(*stepsProbe)
	type seen struct {
		URL       string
		Headers   map[string]string
		Redirects int
		TLS       TLS
	}
	var got []seen
	for _, s := range slices.Concat(p.requests, p.cleanup) {
		got = append(got, seen{s.options.URL, s.options.Headers, s.options.Redirects, s.options.TLS})
	}
	want := []seen{
		{"http://x.test/api/one", map[string]string{"A": "1", "B": "3"}, 3, TLS{MinVersion: "1.3"}},
		{"http://x.test/api?x=y", map[string]string{"A": "1", "B": "2"}, 0, TLS{MinVersion: "1.3", Insecure: true}},
		{"https://y.test/z", map[string]string{"A": "1", "B": "2"}, 3, TLS{MinVersion: "1.3"}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if ports := c.Footprint().Ports; ports != 3 {
		t.Errorf("%d ports", ports)
	}
	if interval := 30 * time.Second; c.Interval != interval {
		t.Errorf("interval %v", c.Interval)
	}
}
