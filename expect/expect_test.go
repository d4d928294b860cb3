package expect

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sonde-cli/sonde/check"
)

// facts are those of a kind that has one of each type.
func facts() []check.Fact {
	return append(check.CommonFacts(),
		check.Fact{Name: "status", Type: check.Int, Code: check.HTTPStatus},
		check.Fact{Name: "loss", Type: check.Float},
		check.Fact{Name: "title", Type: check.String},
		check.Fact{Name: "body", Type: check.String, Hidden: true},
		check.Fact{Name: "body.size", Type: check.Int, Unit: "bytes"},
		check.Fact{Name: "json", Type: check.Any, Hidden: true},
		check.Fact{Name: "headers", Type: check.Map},
		check.Fact{Name: "answers", Type: check.Strings},
		check.Fact{Name: "cert.trusted", Type: check.Bool},
		check.Fact{Name: "cert.expires_in", Type: check.Duration},
		check.Fact{Name: "cert.not_after", Type: check.Time},
		check.Fact{Name: "rtt.min", Type: check.Duration},
		check.Fact{Name: "rtt.max", Type: check.Duration},
	)
}

func observed() check.Facts {
	return check.FactsOf(map[string]any{
		"latency": 812 * time.Millisecond, "error": "", "phase.tls": 14 * time.Millisecond,
		"status": 503, "loss": 0.25, "title": "welcome", "body": "it is all ok", "body.size": 12,
		"json": map[string]any{
			"status": "fail", "count": 5.0, "ok": true, "none": nil, "text": "5",
			"items": []any{map[string]any{"name": "a", "n": 1.0}, map[string]any{"name": "b", "n": 2.0}},
			"a":     map[string]any{"b": map[string]any{"c": 1.5}},
		},
		"headers":      map[string]string{"server": "nginx", "content-type": "text/html"},
		"answers":      []string{"10 mx1.mail.test", "20 mx2.test"},
		"cert.trusted": true, "cert.expires_in": 20 * 24 * time.Hour,
		"cert.not_after": time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC),
		"rtt.min":        10 * time.Millisecond, "rtt.max": 90 * time.Millisecond,
	})
}

func look(f check.Facts) func(string) (any, bool) {
	return func(name string) (any, bool) { v, ok := f.Lookup(name); return v, ok }
}

func mustCompile(t testing.TB, text string) check.Test {
	t.Helper()
	test, err := Compile(text, facts())
	if err != nil {
		t.Fatalf("Compile(%q): %v", text, err)
	}
	return test
}

func TestHolds(t *testing.T) {
	for _, text := range []string{
		"status == 503", "503 == status", "status != 200", "status == 5xx", "status != 2xx", "status in [2xx, 503]",
		"status in [2xx, 5xx]", "status not in [200, 301]", "status in 500..599", "not (status in 200..299)", "status == 503.0",
		"latency < 1s", "1s > latency", "latency >= 800ms && latency <= 0.9s", "latency < 1m30s", "phase.tls == 14ms",
		"loss < 0.5", "loss >= 0", "loss > -1", "title == 'welcome'", `title startsWith "wel"`, "title endsWith 'come'",
		"title contains 'lco'", "title matches '^w.*e$'", "title not contains 'x'", "not (title matches 'x')",
		"body contains 'ok'", "body.size <= 10KB", "body.size < 64KiB", "body.size > 0B",
		"json.status == 'fail'", "json.count == 5", "json.count > 4.5", "json.ok", "json.ok == true", "not (json.ok == false)",
		"json.none == nil", "json.nothing == nil", "json.count != nil", "json.a.b.c == 1.5", "json?.a?.b?.c > 1",
		"json.items[0].name == 'a'", "json.items[-1].name == 'b'", "json['count'] == 5", "json.items[json.items[0].n].name == 'b'", "headers[lower('SERVER')] == 'nginx'",
		"json.items[json.count]?.name == nil", "(json.items[json.count]?.name ?? 'x') == 'x'", "all(json.items, .gone?.deeper == nil)",
		"headers.server == 'nginx'", "headers['Content-Type'] startsWith 'text/'", "headers['x'] == nil", "'server' in headers",
		"'20 mx2.test' in answers", "answers[0] contains 'mail'", "len(answers) == 2", "len(answers) >= 1 and len(answers) < 3",
		"any(answers, # contains 'mail')", "all(answers, # matches 'mx[12]')", "none(answers, # contains 'mx3')",
		"len(filter(json.items, .n > 1)) == 1", "count(json.items, .name == 'a') == 1", "all(json.items, .n > 0)",
		"cert.trusted", "cert.trusted == true", "cert.expires_in > 14d", "cert.not_after > date('2029-01-01')",
		"cert.not_after - date('2030-01-01') > 1d", "rtt.max - rtt.min < 100ms", "rtt.max > rtt.min", "-5s < latency",
		"rtt.max - rtt.min > -1s", "lower(title) == 'welcome'", "(json.missing ?? 3) == 3", "(json.count ?? 3) == 5",
		"(json.missing ?? 'x') == 'x' && status == 5xx", "status == 503 || json.missing", "json.missing == nil || json.missing.x > 3",
		"error == ''", "status > 200 ? latency < 1s : false", "json.count + 1 == 6", "json.count * 2 > 9", "(json.count + 1) * 2 == 12",
		"max(rtt.min, rtt.max) == rtt.max || true", "json.count == 5 == true", "status >= 500 and status < 600",
		"status == 503 // a comment", "title == `welcome`", "json.items[0]['name'] == 'a'", "first(answers) contains 'mail'",
		"title in ['a', 'welcome']", "json.count in [4, 5]", "500 <= status <= 599",
	} {
		out := mustCompile(t, text).Eval(look(observed()))
		if !out.OK || out.Message != "" || out.Fact != "" || out.Missing {
			t.Errorf("%s: %+v, want OK", text, out)
		}
	}
}

func TestFails(t *testing.T) {
	for _, tc := range []struct{ text, fact, message string }{
		{"status == 200", "status", "status 503, want 200"},
		{"status == 2xx", "status", "status 503, want 2xx"},
		{"status != 503", "status", "status 503, want another than 503"},
		{"status in [2xx, 301]", "status", "status 503, want one of 2xx, 301"},
		{"status in 200..299", "status", "status 503, want one of 200 to 299"},
		{"status not in [503]", "status", "status 503, want none of 503"},
		{"not (status >= 500)", "status", "status 503, want < 500"},
		{"latency < 800ms", "latency", "latency 812ms, want < 800ms"},
		{"800ms > latency", "latency", "latency 812ms, want < 800ms"},
		{"cert.expires_in > 21d", "cert.expires_in", "cert.expires_in 20d, want > 21d"},
		{"cert.trusted == false", "cert.trusted", "cert.trusted true, want false"},
		{"!cert.trusted", "cert.trusted", "cert.trusted true, want false"},
		{"title contains 'foo'", "title", "title 'welcome', want 'foo' in it"},
		{"title startsWith 'foo'", "title", "title 'welcome', want it to start with 'foo'"},
		{"title matches '^f'", "title", "title 'welcome', want a match of '^f'"},
		{"body contains 'bad'", "body", "body of 12 bytes, want 'bad' in it"},
		{"latency < 1s && status == 200", "status", "status 503, want 200"},
		{"not (latency < 1s || status == 200)", "latency", "latency 812ms, want >= 1s"},
		{"status == 200 or status == 301", "status", "status 503, want 200, and status 503, want 301"},
		{"json.status == 'ok'", "json", "json.status 'fail', want 'ok'"},
		{"json.count > 7", "json", "json.count 5, want > 7"},
		{"json.text > 7", "json", "json.text '5', which is not a number, want > 7"},
		{"json.text == 5", "json", "json.text '5', which is not a number, want 5"},
		{"json.missing > 7", "json", "json.missing is missing"},
		{"json.missing != 7", "json", "json.missing is missing"},
		{"not (json.missing == 7)", "json", "json.missing is missing"},
		{"not json.missing", "json", "json.missing is missing"},
		{"json.none == 1", "json", "json.none is missing"},
		{"json.missing != nil", "json", "json.missing is missing"},
		{"json.count == nil", "json", "json.count 5, want none"},
		{"json.text", "json", "json.text '5', which is not true or false, want true"},
		{"headers['x'] != 'y'", "headers", "headers.x is missing"},
		{"len(answers) >= 3", "answers", "len(answers) 2, want >= 3"},
		{"len(answers) == 3", "answers", "len(answers) 2, want 3"},
		{"rtt.max - rtt.min < 50ms", "rtt.max", "rtt.max - rtt.min is 80ms, want < 50ms"},
		{"rtt.max < rtt.min", "rtt.max", "rtt.max 90ms, want < rtt.min (10ms)"},
		{"(json.missing ?? 3) == 4", "json", "json.missing ?? 3 is 3, want 4"},
		{"any(answers, # contains 'foo')", "answers", "any(answers, # contains 'foo') is false: answers ['10 mx1.mail.test', '20 mx2.test']"},
		{"not any(answers, # contains 'mail')", "answers", "any(answers, # contains 'mail') is true: answers ['10 mx1.mail.test', '20 mx2.test']"},
		{"all(json.items, .nope != 1)", "json", "all(json.items, .nope != 1): a member is missing in what was seen"},
		{"json.text * 2 > 3", "json", "json.text * 2 > 3 does not fit what was seen: json.text '5'"},
		{"json.text + json.text == 'x'", "json", "json.text + json.text == 'x' does not fit what was seen: json.text '5'"},
		{"json.items[json.count].n == 1", "json", "json.items[json.count].n == 1: a member is missing in what was seen"},
		{"headers[json.status] != 'x'", "headers", "headers[json.status] != 'x': a member is missing in what was seen"},
		{"len(json.count) > 1", "json", "len(json.count) > 1 does not fit what was seen: json.count 5"},
		{"'x' in answers", "answers", "'x' in answers is false: answers ['10 mx1.mail.test', '20 mx2.test']"},
		{"sum(json.items, .n) > 5", "json", "sum(json.items, .n) is 3, want > 5"},
	} {
		out := mustCompile(t, tc.text).Eval(look(observed()))
		if out.OK || out.Fact != tc.fact || tc.message != "" && out.Message != tc.message || out.Missing {
			t.Errorf("%s:\n got fact %q, message %q, ok %t, missing %t\nwant fact %q, message %q",
				tc.text, out.Fact, out.Message, out.OK, out.Missing, tc.fact, tc.message)
		}
	}
}

func TestAbsentFact(t *testing.T) {
	for _, tc := range []struct {
		text string
		ok   bool
		fact string
	}{
		{"status == 200", false, "status"},
		{"status != 200", false, "status"},
		{"not (status == 200)", false, "status"},
		{"status == nil", true, ""},
		{"status != nil", false, "status"},
		{"json.ok", false, "json"},
		{"!json.ok", false, "json"},
		{"json == nil", true, ""},
		{"nil == json", true, ""},
		{"(json == nil) == true", true, ""},
		{"json == nil ? true : false", true, ""},
		{"json != nil", false, "json"},
		{"json.a.b == nil", false, "json"},
		{"nil == json.a", false, "json"},
		{"json?.a == nil", false, "json"},
		{"json.a.b != nil", false, "json"},
		{"not (json.a != nil)", false, "json"},
		{"json == nil || json.a == nil", true, ""},
		{"(json.a == nil) == true", false, "json"},
		{"json.a == nil ? true : false", false, "json"},
		{"json[lower('A')] == nil", false, "json"},
		{"json?.[lower('A')] == nil", false, "json"},
		{"headers['x'] == nil", false, "headers"},
		{"answers[0] == nil", false, "answers"},
		{"json.a.b != 'x'", false, "json"},
		{"latency < 1s || json.ok", true, ""},
		{"json.ok || latency < 1s", true, ""},
		{"latency < 1s && json.ok", false, "json"},
		{"latency > 1s || json.ok", false, "latency"},
		{"len(answers) == 0", false, "answers"},
		{"none(answers, # == 'x')", false, "answers"},
		{"not any(answers, # == 'x')", false, "answers"},
		{"(status ?? 200) == 200", true, ""},
		{"len(answers ?? []) == 0", true, ""},
		{"rtt.max - rtt.min > 1s", false, "rtt.max"},
	} {
		out := mustCompile(t, tc.text).Eval(look(check.FactsOf(map[string]any{"latency": 10 * time.Millisecond})))
		missing := !tc.ok && tc.fact != "latency"
		if out.OK != tc.ok || out.Fact != tc.fact || out.Missing != missing {
			t.Errorf("%s: %+v, want ok %t, fact %q, missing %t", tc.text, out, tc.ok, tc.fact, missing)
		}
		if missing && out.Message != tc.fact+" was not observed" {
			t.Errorf("%s: message %q", tc.text, out.Message)
		}
	}
}

// TestAbsentMember looks for members in a fact that was observed.
func TestAbsentMember(t *testing.T) {
	for _, text := range []string{
		"json.a == nil", "json.a.b == nil", "not (json.a != nil)", "(json.a == nil) == true", "json?.[lower('A')] == nil",
		"json.a == nil ? true : false", "headers['x'] == nil", "answers[0] == nil",
	} {
		for _, values := range []map[string]any{
			{"json": map[string]any{"b": 1.0}, "headers": map[string]string{}, "answers": []string{}},
			{"json": nil, "headers": map[string]string{"y": ""}, "answers": []string(nil)},
		} {
			if out := mustCompile(t, text).Eval(look(check.FactsOf(values))); !out.OK {
				t.Errorf("%s: %+v", text, out)
			}
		}
	}
}

func TestGotNamesOnlyWhatTheExpressionNames(t *testing.T) {
	for text, want := range map[string]map[string]any{
		"status == 200":                         {"status": 503},
		"json.status == 'ok' || json.gone == 1": {"json.status": "fail", "json.gone": nil},
		"headers['Server'] == 'x'":              {"headers.Server": "nginx"},
		"headers['content-type'] == 'x'":        {"headers['content-type']": "text/html"},
		"len(answers) > 2 && json.items[0].n > 1": {
			"answers": []string{"10 mx1.mail.test", "20 mx2.test"}, "json.items[0].n": 1.0,
		},
	} {
		if diff := cmp.Diff(want, mustCompile(t, text).Eval(look(observed())).Got); diff != "" {
			t.Errorf("%s: Got (-want +got):\n%s", text, diff)
		}
	}
}

func TestLongNamesStayApart(t *testing.T) {
	a, b := strings.Repeat("a", 300), strings.Repeat("b", 300)
	test := mustCompile(t, "json['-"+a+"'] == 1 && json['-"+b+"'] == 2")
	if out := test.Eval(look(check.FactsOf(map[string]any{"json": map[string]any{"-" + a: 1.0, "-" + b: 2.0}}))); !out.OK || len(out.Got) != 2 {
		t.Errorf("%+v", out)
	}
}

func TestFacts(t *testing.T) {
	test := mustCompile(t, "json.a == 1 && json.b == 2 || headers.x == '' && any(answers, # == title)")
	if diff := cmp.Diff([]string{"json", "headers", "answers", "title"}, test.Facts()); diff != "" {
		t.Errorf("Facts (-want +got):\n%s", diff)
	}
}

func TestErrors(t *testing.T) {
	for _, tc := range []struct {
		text, at string // at begins where the error is reported
		message  string
		hint     string
	}{
		{"", "", "the expression is empty", "compare a fact"},
		{" \t", " \t", "the expression is empty", ""},
		{"stauts == 200", "stauts", "there is no fact stauts", "did you mean status?"},
		{"status == 200 && cert.expire_in > 14d", "cert", "there is no fact cert.expire_in", "did you mean cert.expires_in?"},
		{"josn.a.b == 1", "josn", "there is no fact josn.a.b", "did you mean json.a.b?"},
		{"cert > 14d", "cert", "there is no fact cert", "cert.expires_in, cert.not_after, cert.trusted"},
		{"status.code == 200", "code", "status is a number and has no member code", ""},
		{"latency < 800", "800", "cannot compare latency (a duration) with 800 (a number)", "such as 800ms"},
		{"status == '200'", "'200'", "cannot compare status (a number) with '200' (a text)", "write 200 without quotes"},
		{"title == 5", "5", "cannot compare title (a text) with 5 (a number)", "write '5' in quotes"},
		{"title == 2xx", "2xx", "cannot compare title (a text) with 2xx (a number)", ""},
		{"status < 2xx", "2xx", "cannot compare status (a number) with 2xx (a number)", ""},
		{"status in [200, '301']", "'301'", "cannot compare status (a number) with '301' (a text)", "without quotes"},
		{"status == 200ms", "200ms", "cannot compare status (a number) with 200ms (a duration)", ""},
		{"json.t < 5s", "5s", "cannot compare json.t (of any type) with 5s (a duration)", "JSON has no durations"},
		{"answers == 'x'", "'x'", "cannot compare answers (a list of texts) with 'x' (a text)", "write 'x' in answers"},
		{"answers contains 'x'", "'x'", "answers (a list of texts) cannot be searched for 'x'", "any(answers, # contains 'x')"},
		{"headers == 'x'", "'x'", "cannot compare headers (a map of texts) with 'x' (a text)", "headers['name']"},
		{"cert.not_after > '2030'", "'2030'", "cannot compare cert.not_after (a time) with '2030' (a text)", "now()"},
		{"cert.trusted > true", "true", "cannot compare cert.trusted (true or false) with true (true or false)", ""},
		{"latency", "latency", "latency is a duration, not true or false", "latency < 800ms"},
		{"status", "status", "status is a number, not true or false", "status > 0"},
		{"len(answers)", "len", "the expression gives a number, not true or false", ""},
		{"rtt.max - rtt.min < 50", "< 50", "< cannot stand between rtt.max - rtt.min (a duration) and 50 (a number)", "50ms"},
		{"len(answers) == 'x'", "== 'x'", "== cannot stand between len(answers) (a number) and 'x' (a text)", ""},
		{"title == status", "== status", "== cannot stand between title (a text) and status (a number)", ""},
		{"any(answers, # > 5)", "> 5", "> cannot stand between # (a text) and 5 (a number)", ""},
		{"json.a ?? 5 == 5", "== 5", "?? needs parentheses beside another operator", "write (a ?? b) == c"},
		{"latency * 1.5 < 1s", "* 1.5 < 1s", "a duration can only be multiplied by a whole number", "multiply the other side instead"},
		{"json.count * latency < 1s", "* latency < 1s", "a duration can only be multiplied by a whole number", "multiply the other side instead"},
		{"latency * latency < 1s", "* latency < 1s", "a duration can only be multiplied by a whole number", "multiply the other side instead"},
		{"status ==", "", "the expression ends too early", ""},
		{"status >=", "", "the expression ends too early", ""},
		{"status = 200", "= 200", "'=' does not compare", "write =="},
		{"status == ", "", "the expression ends too early", ""},
		{"(status == 200", "", "the expression ends too early", ""},
		{"status == 200 200", "200", "\"200\" is not expected here", ""},
		{"status == 5x", "5x", "\"5x\" is not a number, duration, size or status class", "300ms"},
		{"status == 9xx", "9xx", "\"9xx\" is not a status class", ""},
		{"title matches '('", "'('", "error parsing regexp: missing closing ): `(`", "RE2"},
		{"title matches title", "title", "a pattern must be a literal text", ""},
		{"let x = 1; x == status", "", "this is not part of the language", ""},
		{"status == 200; true", "", "this is not part of the language", ""},
		{"{a: 1} == json", "{", "this is not part of the language", ""},
		{"lenn(answers) > 1", "lenn", "there is no function lenn", "did you mean len?"},
		{"repeat('x', 1000000) == title", "repeat", "there is no function repeat", ""},
		{"title.Foo() == 1", "Foo", "a value has no functions", ""},
		{"any(1..1000000000, # == status)", "..1000000000", "a range has 1 to 10000 numbers", ""},
		{"any(1..status, # == 5)", "..status", "a range needs two whole numbers", ""},
		{"title + 'x' == 'y'", "+ 'x'", "texts cannot be joined", ""},
		{"true", "true", "the expression names no fact", "compare a fact"},
		{"200 == 200", "200", "the expression names no fact", ""},
		{"title == 'é' && status == 5x", "5x", "\"5x\" is not a number, duration, size or status class", ""},
		{"title == 'é' && stauts == 5", "stauts", "there is no fact stauts", "status"},
		{"headers.content-type == 'x'", "type", "there is no fact type", "write headers['content-type']"},
		{"json.a.b-c > 1", "c >", "there is no fact c", "write json.a['b-c']"},
		{"len == 5", "len", "there is no fact len", ""},
		{"json.5s == 1", "5s", "a name cannot begin with a digit", ""},
		{"len(2xx) == status", "", "", ""},
		{"$env.status == 1", "$env", "there is no fact $env.status", ""},
		{"any(answers, $env == 1)", "$env", "there is no fact $env", ""},
		{strings.Repeat("(", 60) + "status", strings.Repeat("(", 10) + "status", "brackets are nested deeper than 50", ""},
		{strings.Repeat(" ", 5000) + "status == 1", strings.Repeat(" ", 904) + "status == 1", "the expression is longer than 4096 bytes", ""},
		{strings.Repeat("status == 1 || ", 100) + "status == 2", "", "the expression has more than 64 sides", ""},
	} {
		_, err := Compile(tc.text, facts())
		var e *Error
		if !errors.As(err, &e) {
			t.Errorf("%s: error %v, want an *Error", tc.text, err)
			continue
		}
		if tc.message != "" && e.Message != tc.message {
			t.Errorf("%s: message %q, want %q", tc.text, e.Message, tc.message)
		}
		if !strings.Contains(e.Hint, tc.hint) {
			t.Errorf("%s: hint %q, want %q in it", tc.text, e.Hint, tc.hint)
		}
		if tc.at != "" && !strings.HasPrefix(tc.text[e.Offset:], tc.at) {
			t.Errorf("%s: offset %d (%q), want at %q", tc.text, e.Offset, tc.text[e.Offset:], tc.at)
		}
	}
}

// A target's data must not make an evaluation run for long, whatever it is.
func TestEvaluationIsBounded(t *testing.T) {
	many := make([]any, 100_000)
	for i := range many {
		many[i] = float64(i)
	}
	facts := check.FactsOf(map[string]any{"json": map[string]any{"list": many}, "body": strings.Repeat("x", 1<<16), "answers": make([]string, 20_000)})
	for _, text := range []string{
		"any(json.list, any(json.list, # == -1))",
		"any(json.list, -1 in json.list)",
		"any(1..10000, any(1..10000, any(1..10000, # == json.x)))",
		"any(answers, body matches '(x+x+)+y')",
		"len(filter(json.list, # >= 0)) == 1",
		"len(map(json.list, json.list)) == 1",
	} {
		out := mustCompile(t, text).Eval(look(facts))
		if out.OK {
			t.Errorf("%s: OK", text)
		}
	}
}

func TestFastPathDoesNotAllocateMoreThanGot(t *testing.T) {
	seen := look(check.FactsOf(map[string]any{"status": 200, "latency": time.Millisecond}))
	for _, text := range []string{"status == 200", "status in [2xx, 301]", "latency < 800ms", "status in 200..299"} {
		test := mustCompile(t, text)
		got := testing.AllocsPerRun(100, func() { test.Eval(seen) })
		want := testing.AllocsPerRun(100, func() { sinkMap = make(map[string]any, 1); sinkMap["status"] = seen })
		if got > want+1 {
			t.Errorf("%s: %v allocations, a map alone is %v", text, got, want)
		}
	}
}

var sinkMap map[string]any

func TestConcurrentUse(t *testing.T) {
	test := mustCompile(t, "status == 503 && len(filter(json.items, .n > 1)) == 1 && title matches '^w'")
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 100 {
				if out := test.Eval(look(observed())); !out.OK {
					t.Errorf("%+v", out)
				}
			}
		})
	}
	wg.Wait()
}

func FuzzCompile(f *testing.F) {
	for _, text := range []string{
		"status == 200", "status in [2xx, 301]", "latency < 800ms && cert.expires_in > 14d", "json.a['b'][0]?.c ?? 5 > 1",
		"any(answers, # contains 'mail')", "(json.x ?? 1) + 2 in 1..5", "not (title matches '^a') or !json.ok",
		"headers['x'] == nil ? true : len(answers) > 2", "1h30m < latency", "reverse(sort(answers))[0:2] == ['a']",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		test, err := Compile(text, facts())
		if err != nil {
			var e *Error
			if !errors.As(err, &e) || e.Message == "" || e.Offset < 0 || e.Offset > len(text) {
				t.Errorf("%q: error %#v", text, err)
			}
			return
		}
		for _, facts := range []check.Facts{observed(), {}} {
			out := test.Eval(look(facts))
			if out.OK == (out.Message != "") {
				t.Errorf("%q: %+v", text, out)
			}
		}
	})
}
