package probes

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sonde-cli/sonde/check"
)

// valueShop answers the first request with values of all types, hands out tokens, and
// notes what else it is sent.
type valueShop struct {
	*httptest.Server
	mu     sync.Mutex
	bodies []string
	auths  []string
	tokens int
	peers  map[string]bool
}

func newValueShop(t *testing.T) *valueShop {
	t.Helper()
	e := &valueShop{peers: make(map[string]bool)}
	e.Server = httptest.NewServer(e)
	t.Cleanup(e.Close)
	return e
}

func (e *valueShop) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	e.mu.Lock()
	defer e.mu.Unlock()
	switch r.URL.Path {
	case "/values":
		fmt.Fprint(w, `{"id": 42, "big": 9007199254740993, "huge": 12345678901234567890123, "text": "a\"b\\c", "number": "7",
			"object": {"a": [1, "x"], "big": 9007199254740993}, "yes": true, "x\"y": 1}`)
	case "/token":
		e.tokens++
		fmt.Fprintf(w, `{"access_token": "token-%d", "token_type": "Bearer", "expires_in": 3600}`, e.tokens)
	default:
		e.peers[r.RemoteAddr] = true
		e.bodies = append(e.bodies, string(body))
		e.auths = append(e.auths, r.Header.Get("Authorization"))
	}
}

const valuesStep = `
      base: "SHOP"
      requests:
        - {name: values, url: /values}
`

// TestStepsValuesInBodies sends what a target said in each kind of body.
func TestStepsValuesInBodies(t *testing.T) {
	t.Parallel()
	for option, want := range map[string]string{
		`json: {id: "${steps.values.json.id}", list: ["${steps.values.json.yes}"]}`:             `{"id":42,"list":[true]}`,
		`json: {big: "${steps.values.json.big}", huge: "${steps.values.json.huge}"}`:            `{"big":9007199254740993,"huge":12345678901234567890123}`,
		`json: {text: "${steps.values.json.text}", number: "${steps.values.json.number}"}`:      `{"text":"a\"b\\c","number":"7"}`,
		`json: {all: "${steps.values.json.object}", part: "x${steps.values.json.object}"}`:      `{"all":{"a":[1,"x"],"big":9007199254740993},"part":"x{\"a\":[1,\"x\"],\"big\":9007199254740993}"}`,
		`json: "${steps.values.json.id}"`:                                                       `42`,
		`json: {a: '"${steps.values.json.id}"', b: "${steps.values.json.id}0"}`:                 `{"a":"\"42\"","b":"420"}`,
		`json: {a: "${steps.values.json['x\"y']}"}`:                                             `{"a":1}`,
		`body: '{"id": ${steps.values.json.id}, "all": "${steps.values.json.object}"}'`:         `{"id": 42, "all": "{\"a\":[1,\"x\"],\"big\":9007199254740993}"}`,
		`body: '${steps.values.json.object}'`:                                                   `{"a":[1,"x"],"big":9007199254740993}`,
		`form: {a: "${steps.values.json.text}", b: [x, "${steps.values.json.big}"]}`:            `a=a%22b%5Cc&b=x&b=9007199254740993`,
		`body: "${steps.values.captures.c}", headers: {X: "${steps.values.captures.c}"}`:        `9007199254740993`,
		`body: "${steps.values.json.id}", auth: {username: u, password: "${steps.values.url}"}`: `42`,
	} {
		t.Run(option, func(t *testing.T) {
			t.Parallel()
			e := newValueShop(t)
			steps := strings.Replace(valuesStep, "/values}", "/values, capture: {c: json.big}}", 1)
			r := journeyTo(t, e.URL, steps+"        - {name: use, url: /x, "+option+"}\n", "")
			if diff := cmp.Diff([]string{want}, e.bodies); diff != "" || r.Verdict != check.Up {
				t.Errorf("%v %v\n%s", r.Verdict, r.Reason, diff)
			}
		})
	}
}

// TestStepsValuesInParts fills a multipart form.
func TestStepsValuesInParts(t *testing.T) {
	t.Parallel()
	e := newValueShop(t)
	r := journeyTo(t, e.URL, valuesStep+`        - {name: use, url: /x, multipart: [{name: "n${steps.values.json.id}", value: "${steps.values.json.text}"}]}
`, "")
	if r.Verdict != check.Up || !strings.Contains(e.bodies[0], "name=\"n42\"\r\n\r\na\"b\\c\r\n") {
		t.Errorf("%v %q", r.Reason, e.bodies)
	}
}

// TestStepsOfOneWay refuses what would lead a step to several addresses, and
// references in what must be known before.
func TestStepsOfOneWay(t *testing.T) {
	t.Parallel()
	const ref = `"${steps.values.json.text}"`
	for option, want := range map[string]string{
		"address: all":                          "requests[1].address: a step goes to one address",
		"family: both":                          "requests[1].family: a step goes one way",
		"address: " + ref:                       "address must be known before the run",
		"interface: " + ref:                     "interface must be known before the run",
		"resolver: " + ref:                      "resolver must be known before the run",
		"source: [" + ref + "]":                 "source[0] must be known before the run",
		"tls: {server_name: " + ref + "}":       "<stdin>:9:52: tls.server_name must be known before the run",
		`proxy: "http://${steps.values.url}/"`:  "proxy must be known before the run",
		"auth: {oauth2: {token_url: " + ref:     "auth.oauth2.token_url must be known before the run",
		"auth: {oauth2: {client_secret: " + ref: "auth.oauth2.client_secret must be known before the run",
		`multipart: [{name: a, value: x}, {name: a, value: "${steps.vaues.url}"}]`: `<stdin>:9:83: there is no step "vaues" before`,
		`json: {a: 1, b: [{c: "x${steps.values.jsn}"}]}`:                           `<stdin>:9:55: there is no fact "jsn"`,
		`form: {a: [x, "${steps.vaues.url}"]}`:                                     `<stdin>:9:47: there is no step "vaues" before`,
	} {
		t.Run(option, func(t *testing.T) {
			t.Parallel()
			if strings.Contains(option, "oauth2") {
				option += "}}"
			}
			_, err := loadSteps(t, "http://x.test", valuesStep+"        - {name: use, url: /x, "+option+"}\n", "")
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("got %v\nwant %s", err, want)
			}
		})
	}
}

// TestStepsTokensAreShared fetches one token for all steps and runs, also where a
// step has references.
func TestStepsTokensAreShared(t *testing.T) {
	t.Parallel()
	e := newValueShop(t)
	c, err := loadSteps(t, e.URL, `
      defaults: {connection: reuse, auth: {oauth2: {token_url: "SHOP/token", client_id: me}}}`+valuesStep+`
        - {name: one, url: /x, json: {a: 1}}
        - {name: two, url: "/x?${steps.values.json.id}", json: {a: "${steps.values.json.id}"}}
`, "")
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		o := c.Probe.Observe(timeout(t, patience))
		if j := c.Judge(&o); j.Verdict != check.Up {
			t.Fatal(j.Reason)
		}
	}
	if want := slices.Repeat([]string{"Bearer token-1"}, 4); e.tokens != 1 || !slices.Equal(e.auths, want) {
		t.Errorf("%d tokens fetched, sent %q", e.tokens, e.auths)
	}
	if len(e.peers) != 2 {
		t.Errorf("%d connections in 2 runs", len(e.peers))
	}
}

// TestStepsFileIsGone cannot read a file that was there at load, which says nothing
// about the target.
func TestStepsFileIsGone(t *testing.T) {
	t.Parallel()
	e := newValueShop(t)
	name := filepath.Join(t.TempDir(), "body")
	if err := os.WriteFile(name, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := loadSteps(t, e.URL, valuesStep+`        - {name: use, url: "/x?${steps.values.json.id}", body_file: `+name+"}\n", "")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(name); err != nil {
		t.Fatal(err)
	}
	o := c.Probe.Observe(timeout(t, patience))
	if j := c.Judge(&o); j.Verdict != check.Unknown || j.Reason.Code != check.LocalPermission || !strings.HasPrefix(j.Reason.Message, "step use: ") {
		t.Errorf("%v %v", j.Verdict, j.Reason)
	}
}

// TestStepsHideTheRunBefore hides a session that a target speaks of in the run
// after, and leaves the check's name as it is, whatever the target says.
func TestStepsHideTheRunBefore(t *testing.T) {
	t.Parallel()
	var n int
	var before string
	target := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		n++
		session := fmt.Sprintf("canary-session-%d", n)
		http.SetCookie(w, &http.Cookie{Name: "session", Value: session})
		http.SetCookie(w, &http.Cookie{Name: "check", Value: "journey"})
		http.SetCookie(w, &http.Cookie{Name: "token", Value: "journey"})
		w.WriteHeader(http.StatusForbidden)
		fmt.Fprintf(w, "not %s, nor %s", session, before)
		before = session
	}))
	defer target.Close()
	c, err := loadSteps(t, target.URL, `
      requests: [{name: one, url: "SHOP/", expect: "body == ''"}]
`, "")
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		o := c.Probe.Observe(context.Background())
		r := c.Result(&o, c.Judge(&o))
		text, err := r.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(text), "canary") || r.ID != c.ID || r.Name != "journey" || r.Verdict != check.Down {
			t.Errorf("%s", text)
		}
	}
}

// TestStepsCleanUpAfterAMiss cleans up what a step has made, although it missed
// one of its expectations.
func TestStepsCleanUpAfterAMiss(t *testing.T) {
	t.Parallel()
	e := newValueShop(t)
	r := journeyTo(t, e.URL, strings.Replace(valuesStep, "/values}", `/values, expect: "json.id == 1"}`, 1)+`
      cleanup: [{url: "/x", body: "${steps.values.json.id}"}, {url: "/x", body: "${steps.values.json.nothing}"}]
`, "")
	if r.Verdict != check.Down || !slices.Equal(e.bodies, []string{"42"}) || r.Facts.Get("cleanup") != true {
		t.Errorf("%v, sent %q", r.Reason, e.bodies)
	}
}

// TestStepsTimeRunsOut does not take a step that there was no time for as one that
// fails as it is expected to.
func TestStepsTimeRunsOut(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	c, err := loadSteps(t, s.URL, `
      requests:
        - {name: slow, url: "SHOP/slow", expect: "error != ''"}
        - {name: never, url: "SHOP/x", expect: "error != ''"}
`, "")
	if err != nil {
		t.Fatal(err)
	}
	o := patiently(t, c.Probe, brief, check.ConnectTimeout, "step never")
	wantFailure(t, o, check.ConnectTimeout, "step never: the time ran out before it began")
	if o.Facts.Get("completed") != 1 || o.Facts.Get("failed_step") != "never" {
		t.Errorf("%v", o.Facts)
	}
}

// TestStepsReproduceCleanup shows the request that failed, in whole milliseconds.
func TestStepsReproduceCleanup(t *testing.T) {
	t.Parallel()
	r := journeyTo(t, newShop(t).URL, login+"      cleanup: [{url: /broken}, {url: /bye}]\n", "")
	if r.Verdict != check.Degraded || !strings.HasSuffix(r.Reproduce, "/broken") {
		t.Errorf("%v: %s", r.Verdict, r.Reproduce)
	}
	if match := regexp.MustCompile(` -m ([0-9.]+) `).FindStringSubmatch(r.Reproduce); match == nil || len(match[1]) > len("60.000") {
		t.Errorf("%s", r.Reproduce)
	}
}
