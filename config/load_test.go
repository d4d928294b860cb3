package config

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sonde-cli/sonde/check"
)

// TestBadFiles loads each testdata/*.bad.yaml, whose first lines state all
// errors wanted: line, column and the beginning of the message.
func TestBadFiles(t *testing.T) {
	files, err := filepath.Glob(filepath.Join("testdata", "*.bad.yaml"))
	if err != nil || len(files) < 30 {
		t.Fatalf("found %d files, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var want []string
			for line := range strings.Lines(string(text)) {
				if w, ok := strings.CutPrefix(strings.TrimSpace(line), "# want: "); ok {
					want = append(want, w)
				}
			}
			_, err = testLoader(testEnv()).Load(t.Context(), filepath.ToSlash(file))
			var got Errors
			if !errors.As(err, &got) {
				t.Fatalf("the error is %v, want Errors", err)
			}
			matched := len(got) == len(want)
			for i := 0; matched && i < len(got); i++ {
				line := fmt.Sprintf("%d:%d: %s", got[i].Line, got[i].Column, got[i].Message)
				matched = strings.HasPrefix(line, want[i])
			}
			if !matched {
				t.Errorf("want\n%s\n\ngot\n%v", strings.Join(want, "\n"), got)
			}
		})
	}
}

// loadText loads a file of the given text from standard input.
func loadText(t *testing.T, l *Loader, text string) (*Set, error) {
	t.Helper()
	l.Stdin = strings.NewReader(text)
	return l.Load(t.Context(), "-")
}

func mustLoad(t *testing.T, l *Loader, text string) *Set {
	t.Helper()
	set, err := loadText(t, l, text)
	if err != nil {
		t.Fatalf("load: %v", err)
	}
	return set
}

func loadErrors(t *testing.T, l *Loader, text string) Errors {
	t.Helper()
	_, err := loadText(t, l, text)
	var all Errors
	if !errors.As(err, &all) {
		t.Fatalf("the error is %v, want Errors", err)
	}
	return all
}

// write makes files in a new directory and returns its path.
func write(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func webOf(t *testing.T, c *check.Check) *webOptions {
	t.Helper()
	o, ok := c.Probe.(testProbe).options.(*webOptions)
	if !ok {
		t.Fatalf("check %s is of the kind %s", c.ID, c.Kind)
	}
	return o
}

func ids(set *Set) []string {
	var all []string
	for _, c := range set.Checks {
		all = append(all, c.ID)
	}
	return all
}

func TestCheckHasAllKeys(t *testing.T) {
	set := mustLoad(t, testLoader(testEnv()), `version: 1
checks:
  - name: orders
    tags: [api, eu]
    labels: {team: shop, size: 5}
    optional: true
    interval: 1m
    timeout: 2500ms
    retry: {attempts: 3, wait: 500ms, factor: 1.5, max_wait: 4s}
    expect: status == 200
    prefer: ["latency < 300ms", "json.ok"]
    web:
      url: "http://x.test/"
      method: POST
      headers: {X-A: b}
      body: |
        {"a": 1}
      follow: true
      hops: 3
      ratio: -0.5
      limit: 64KiB
      pause: 2d
      match: "^o+k$"
      names: [a, 2, true]
      family: 4
      steps: [{send: HELO, expect: "^250"}, {}]
      tls: {ca: ca.pem, min_version: 1.2, insecure: true}
      proxy: {url: "http://proxy.test"}
`)
	c := set.Checks[0]
	got := webOf(t, c)
	want := &webOptions{
		testRoute: testRoute{Family: "4"},
		URL:       "http://x.test/", Method: "POST", Headers: map[string]string{"Accept": "*/*", "X-A": "b"},
		Body: "{\"a\": 1}\n", Follow: true, Hops: 3, Ratio: -0.5, Limit: 64 << 10, Pause: 48 * time.Hour,
		Match: got.Match, Names: []string{"a", "2", "true"},
		Steps: []testStep{{Send: "HELO", Expect: got.Steps[0].Expect}, {}},
		TLS:   testTLS{CA: "ca.pem", MinVersion: "1.2", Insecure: true},
		Proxy: &testProxy{URL: "http://proxy.test"},
	}
	if got.Match.String() != "^o+k$" || got.Steps[0].Expect.String() != "^250" {
		t.Errorf("regular expressions: %v, %v", got.Match, got.Steps[0].Expect)
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(webOptions{}), cmp.Comparer(func(a, b testStep) bool { return a == b }),
		cmp.FilterPath(func(p cmp.Path) bool { return p.String() == "Match" }, cmp.Ignore())); diff != "" {
		t.Errorf("options (-want +got):\n%s", diff)
	}
	if c.ID != "orders" || c.Kind != "web" || c.Target != "http://x.test/" || !c.Optional || c.File != "<stdin>" || c.Line != 3 ||
		c.Interval != time.Minute || c.Timeout != 2500*time.Millisecond ||
		c.Retry != (check.Retry{Attempts: 3, Wait: 500 * time.Millisecond, Factor: 1.5, MaxWait: 4 * time.Second}) {
		t.Errorf("check: %+v", c)
	}
	if diff := cmp.Diff(map[string]string{"team": "shop", "size": "5"}, c.Labels); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"api", "eu"}, c.Tags); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"expect cert.trusted 0", "expect status == 200 10", "prefer latency < 300ms 11", "prefer json.ok 11"}, expectationList(c)); diff != "" {
		t.Error(diff)
	}
	if s := c.Probe.(testProbe).setup; !s.Needs("json") || s.Needs("cert.trusted") || s.Version != "1.2.3" || s.Getenv("PORT") != "8443" {
		t.Error("the setup is wrong")
	}
}

func expectationList(c *check.Check) []string {
	var all []string
	for _, e := range c.Expectations {
		all = append(all, fmt.Sprintf("%s %s %d", e.Level, e.Text, e.Line))
	}
	return all
}

func TestDefaultsOfACheck(t *testing.T) {
	c := mustLoad(t, testLoader(nil), "version: 1\nchecks: [{name: a, ping: {host: x.test}}]").Checks[0]
	if c.Timeout != 5*time.Second || c.Interval != 30*time.Second || c.Retry.Attempts != 1 || c.Optional || c.Mask != nil {
		t.Errorf("check: %+v", c)
	}
	if diff := cmp.Diff([]string{"expect loss < 1 0"}, expectationList(c)); diff != "" {
		t.Error(diff)
	}
}

func TestMerging(t *testing.T) {
	set := mustLoad(t, testLoader(nil), `version: 1
defaults:
  timeout: 1s
  tags: [default]
  labels: {a: d, b: d, c: d}
  web: {headers: {A: d, B: d}, hops: 1}
  ping: {count: 9}
templates:
  base: {timeout: 2s, labels: {b: t1, c: t1}, web: {headers: {B: t1, C: t1}, tls: {ca: /a}}}
  api: {use: base, tags: [api], web: {url: "http://x.test", tls: {insecure: true}}}
  other: {labels: {c: t2}}
checks:
  - {name: a, use: [api, other], labels: {e: c}, web: {headers: {C: c}}}
  - {name: b, ping: {host: x.test}}
  - {name: c, use: api, tags: [], web: }
`)
	a, b, c := set.Checks[0], set.Checks[1], set.Checks[2]
	if diff := cmp.Diff(map[string]string{"a": "d", "b": "t1", "c": "t2", "e": "c"}, a.Labels); diff != "" {
		t.Errorf("labels (-want +got):\n%s", diff)
	}
	web := webOf(t, a)
	if diff := cmp.Diff(map[string]string{"Accept": "*/*", "A": "d", "B": "t1", "C": "c"}, web.Headers); diff != "" {
		t.Errorf("headers (-want +got):\n%s", diff)
	}
	if web.Hops != 1 || web.TLS != (testTLS{CA: "/a", Insecure: true}) || a.Timeout != 2*time.Second || !slices.Equal(a.Tags, []string{"api"}) {
		t.Errorf("check a: %+v of %+v", a, web)
	}
	if ping := b.Probe.(testProbe).options.(*pingOptions); ping.Count != 9 || b.Timeout != time.Second || !slices.Equal(b.Tags, []string{"default"}) {
		t.Errorf("check b: %+v of %+v", b, ping)
	}
	if len(c.Tags) != 0 || webOf(t, c).Headers["C"] != "t1" {
		t.Errorf("check c: %+v", c)
	}
}

func TestEach(t *testing.T) {
	dir := write(t, map[string]string{
		"hosts.txt": "# all\neu.test\n\n  us.test\r\n",
		"c.yaml": `version: 1
checks:
  - name: product
    each: {host: {file: hosts.txt}, path: [a, 2]}
    web: {url: "http://${each.host}/${each.path}"}
    tags: ["${each.host}"]
    expect: ["json.path == '${each.path}'"]
  - name: plain
    each: ["${HOST}", b.test]
    ping: {host: "${each}"}
  - name: net
    each: {host: [gw.test, {cidr: ["${NET:-192.0.2.0/30}", 2001:db8::/127]}, {file: hosts.txt}], n: {cidr: 192.0.2.8/32}}
    ping: {host: "${each.host}"}
`})
	set, err := testLoader(testEnv()).Load(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, c := range set.Checks {
		got = append(got, c.ID+" "+c.Target+" "+strings.Join(c.Tags, ",")+" "+c.Expectations[len(c.Expectations)-1].Text)
	}
	want := []string{
		"product[eu.test,a] http://eu.test/a eu.test json.path == 'a'",
		"product[eu.test,2] http://eu.test/2 eu.test json.path == '2'",
		"product[us.test,a] http://us.test/a us.test json.path == 'a'",
		"product[us.test,2] http://us.test/2 us.test json.path == '2'",
		"plain[eu.example.com] eu.example.com  loss < 1",
		"plain[b.test] b.test  loss < 1",
		"net[gw.test,192.0.2.8] gw.test  loss < 1",
		"net[192.0.2.1,192.0.2.8] 192.0.2.1  loss < 1",
		"net[192.0.2.2,192.0.2.8] 192.0.2.2  loss < 1",
		"net[2001:db8::,192.0.2.8] 2001:db8::  loss < 1",
		"net[2001:db8::1,192.0.2.8] 2001:db8::1  loss < 1",
		"net[eu.test,192.0.2.8] eu.test  loss < 1",
		"net[us.test,192.0.2.8] us.test  loss < 1",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("checks (-want +got):\n%s", diff)
	}
}

func TestDisabledAndFilter(t *testing.T) {
	l := testLoader(testEnv())
	l.Filter = func(id, name string, tags []string) bool {
		return id == "b[2]" && name == "b" && slices.Contains(tags, "t2")
	}
	set := mustLoad(t, l, `version: 1
checks:
  - {name: a, enabled: false, ping: {host: "${MISSING}"}}
  - {name: b, each: [1, 2], tags: ["t${each}"], ping: {host: "h${each}"}}
  - {name: c, ping: {host: "${MISSING}"}}
  - {name: d, enabled: "${NOTSET:-false}", ping: {host: x}}
`)
	if diff := cmp.Diff([]string{"b[2]"}, ids(set)); diff != "" || set.Total != 3 || set.Disabled != 2 {
		t.Errorf("total %d, disabled %d, checks (-want +got):\n%s", set.Total, set.Disabled, diff)
	}
}

func TestDefaultExpectationsGiveWay(t *testing.T) {
	for _, tt := range []struct{ name, keys, want string }{
		{"none", "", "status < 300, cert.trusted"},
		{"the fact in expect", ", expect: [status == 404]", "cert.trusted, status == 404"},
		{"the fact in prefer", ", prefer: [status == 200]", "status < 300, cert.trusted, status == 200"},
		{"another fact", ", expect: [latency < 1s]", "status < 300, cert.trusted, latency < 1s"},
		{"an expected failure", ", expect: [\"error == ''\"]", "status < 300, cert.trusted, error == ''"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := mustLoad(t, testLoader(nil), "version: 1\nchecks: [{name: a, web: {url: http://x.test}"+tt.keys+"}]").Checks[0]
			var got []string
			for _, e := range c.Expectations {
				got = append(got, e.Text)
				// Who expects a failure does not expect what it keeps from being seen.
				byDefault := e.Text == "cert.trusted" && e.Level == check.Expect || tt.name == "an expected failure" && e.Text == "status < 300"
				if e.WhenSeen != byDefault {
					t.Errorf("%s: when seen is %v", e.Text, e.WhenSeen)
				}
			}
			if diff := cmp.Diff(tt.want, strings.Join(got, ", ")); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// A default that names its fact is lifted by that one only.
func TestDefaultLiftedByOneFact(t *testing.T) {
	kind := check.Kind{
		Name: "ping", Doc: "asks", New: func() check.Options { return &liftedOptions{} },
		Facts: []check.Fact{
			{Name: "loss", Type: check.Float, Doc: "share of lost packets"},
			{Name: "rcode", Type: check.String, Doc: "answer"},
		},
	}
	for user, want := range map[string]string{
		"rcode == 'A'": "loss < 1 || rcode != 'A', rcode == 'A'",
		"loss == 0":    "loss == 0",
		"latency < 1s": "loss < 1 || rcode != 'A', latency < 1s",
	} {
		l := testLoader(nil)
		l.Kinds = []check.Kind{kind}
		c := mustLoad(t, l, "version: 1\nchecks: [{name: a, ping: {host: x.test}, expect: [\""+user+"\"]}]").Checks[0]
		var got []string
		for _, e := range c.Expectations {
			got = append(got, e.Text)
		}
		if diff := cmp.Diff(want, strings.Join(got, ", ")); diff != "" {
			t.Errorf("%s: %s", user, diff)
		}
	}
}

// liftedOptions are of a kind whose default mentions two facts.
type liftedOptions struct {
	Host string `yaml:"host" doc:"who to ask"`
}

func (o *liftedOptions) Build(s check.Setup) (check.Plan, error) {
	defaults := []check.Default{{Expect: "loss < 1 || rcode != 'A'", Fact: "loss"}}
	return check.Plan{Probe: testProbe{o, s}, Target: o.Host, Defaults: defaults}, nil
}

func TestTimeoutLongerThanIntervalWarns(t *testing.T) {
	set := mustLoad(t, testLoader(nil), "version: 1\nchecks:\n  - {name: a, each: [x, y], timeout: 5s, interval: 2s, ping: {host: x}}\n")
	if len(set.Warnings) != 1 || set.Warnings[0].Line != 3 || set.Warnings[0].Column != 38 ||
		!strings.Contains(set.Warnings[0].Message, "timeout of 5s is longer than the interval of 2s") {
		t.Errorf("warnings: %v", set.Warnings)
	}
}

func TestEqualPartsAreShared(t *testing.T) {
	set := mustLoad(t, testLoader(testEnv()), `version: 1
checks:
  - name: a
    each: [1, 2, 3]
    tags: [x]
    labels: {y: z}
    web: {url: "http://h${each}.test", password: "${TOKEN}"}
    expect: status == 200
`)
	a, b := set.Checks[0], set.Checks[2]
	if &a.Expectations[0] != &b.Expectations[0] || &a.FactList[0] != &b.FactList[0] || &a.Tags[0] != &b.Tags[0] || a.Mask != b.Mask || a.Mask == nil {
		t.Error("checks of one block do not share what is equal")
	}
}

func TestManyInstancesStayInOrderAndStop(t *testing.T) {
	var hosts strings.Builder
	const n = 20_000
	for i := range n {
		fmt.Fprintf(&hosts, "h%d.test\n", i)
	}
	dir := write(t, map[string]string{
		"hosts.txt": hosts.String(),
		"many.yaml": "version: 1\nchecks: [{name: a, each: {h: {file: hosts.txt}}, ping: {host: \"${each.h}\"}}]",
		"more.yaml": "version: 1\nchecks: [{name: b, each: {h: {file: hosts.txt}, i: {file: hosts.txt}}, ping: {host: x}}]",
	})
	set, err := testLoader(nil).Load(t.Context(), filepath.Join(dir, "many.yaml"))
	if err != nil || len(set.Checks) != n || set.Checks[n-1].ID != "a[h19999.test]" {
		t.Fatalf("%v, %v", set, err)
	}
	_, err = testLoader(nil).Load(t.Context(), filepath.Join(dir, "more.yaml"))
	if err == nil || !strings.Contains(err.Error(), "more than 1000000 checks") {
		t.Errorf("the product of %d and %d hosts: %v", n, n, err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cause := errors.New("enough")
	cancel(cause)
	if _, err := testLoader(nil).Load(ctx, filepath.Join(dir, "many.yaml")); !errors.Is(err, cause) {
		t.Errorf("a cancelled load: %v", err)
	}
}

func TestManyBadInstancesAreCut(t *testing.T) {
	all := loadErrors(t, testLoader(nil), `version: 1
checks: [{name: a, each: {i: [1, 2, 3, 4, 5, 6, 7, 8, 9], j: [1, 2]}, ping: {host: "_${each.i}${each.j}"}}]`)
	if len(all) != maxBadInstances+1 || !strings.Contains(all.Error(), "the others are not shown") {
		t.Errorf("%d errors: %v", len(all), all)
	}
}

func TestAllFilesReportAllErrorsInOrder(t *testing.T) {
	dir := write(t, map[string]string{
		"b.yaml":      "version: 1\nchecks: [{name: a, ping: {host: x, cuont: 1}}]",
		"a.yml":       "version: 1\nchecks: [{name: b}, {name: c, ping: {hots: x}}]",
		"c.json":      "{}",
		".d.yaml":     "bad",
		"deep/e.yaml": "bad",
		"z.yaml":      "version: 1\nchecks: [{name: a, ping: {host: x}}]",
	})
	_, err := testLoader(nil).Load(t.Context(), filepath.Join(dir, "z.yaml"), filepath.Join(dir, "none.yaml"), dir)
	var all Errors
	if !errors.As(err, &all) {
		t.Fatal(err)
	}
	var got []string
	for _, p := range all {
		got = append(got, filepath.Base(p.File)+": "+strings.ReplaceAll(p.Message, dir+string(filepath.Separator), ""))
	}
	want := []string{
		`none.yaml: cannot read the file: no such file or directory`,
		`a.yml: the check has no kind`,
		`a.yml: ping has no host, which it must have`,
		`a.yml: unknown key "hots" in ping`,
		`b.yaml: unknown key "cuont" in ping`,
		`b.yaml: the check id "a" stands here twice, first at z.yaml:2:17`,
	}
	slices.Sort(got)
	slices.Sort(want)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("errors (-want +got):\n%s", diff)
	}
	if order := []string{filepath.Base(all[0].File), filepath.Base(all[len(all)-1].File)}; order[1] != "b.yaml" {
		t.Errorf("order of files: %v", all)
	}
}
