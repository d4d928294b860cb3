package probes

import (
	"strings"
	"testing"
)

// TestStepsLint finds what is wrong with the expressions of a journey that is
// disabled, in it and about it, as far as they need no values of variables.
func TestStepsLint(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ steps, rest, want string }{
		"expect":         {login + `        - {name: b, url: "/${X}", expect: "statuss == 200"}`, "", "<stdin>:13:44: there is no fact statuss"},
		"prefer":         {login + `        - {name: b, url: /b, prefer: "${X}"}` + "\n" + `        - {name: c, url: /c, prefer: "latency < 'x'"}`, "", "cannot compare latency"},
		"capture":        {login + `        - {name: b, url: /b, capture: {x: jsn.a}}`, "", "did you mean json.a?"},
		"a later step":   {login + `        - {name: b, url: /b, expect: "steps.c.status == 200"}`, "", "there is no fact steps.c.status"},
		"cleanup":        {login + "      cleanup: [{url: /b, expect: \"statuss == 200\"}]", "", "there is no fact statuss"},
		"of the check":   {login, "    expect: [\"steps.logn.status == 200\"]\n", "did you mean steps.login.status?"},
		"all is well":    {login + `        - {name: b, url: "${X}", redirects: "${N}", expect: "steps.login.json.a == ${N}"}`, "    expect: [\"steps.b.status == 200\", \"steps.login.json.a == 1\"]\n", ""},
		"captures":       {login + `        - {name: b, url: /b, capture: {x: "${X}"}, extract: {y: "${Y}"}, prefer: "status == 201"}`, "", ""},
		"unknown name":   {login + `        - {name: "${X}", url: /b, expect: "statuss == 200"}`, "    expect: [\"steps.x.status == 200\"]\n", ""},
		"each's name":    {login + `        - {name: "${each.x}", url: /b}`, "    each: {x: [a, b]}\n    expect: [\"steps.a.status == 200\"]\n", ""},
		"no steps":       {"      requests: []", "    expect: [\"statuss == 200\"]\n", "there is no fact statuss"},
		"no such step":   {login + `        - {name: b, url: "/${steps.lgin.status}"}`, "", `<stdin>:13:28: there is no step "lgin" before`},
		"a later value":  {login + `        - {name: b, url: "/${steps.c.status}"}` + "\n" + `        - {name: c, url: /c}`, "", "<stdin>:13:28: the step c has not been made by then"},
		"in a header":    {login + `        - {name: b, url: "${X}", headers: {A: "a ${steps.login.jsn.id}"}}`, "", "did you mean json.id?"},
		"in JSON":        {login + `        - {name: b, url: /b, method: POST, json: {a: ["x", "${steps.login.captures.x}"]}}`, "", `<stdin>:13:61: the step login captures no "x"`},
		"in cleanup":     {login + "      cleanup: [{url: \"/${steps.lgin.status}\"}]", "", `<stdin>:13:25: there is no step "lgin" before`},
		"in the host":    {login + `        - {name: b, url: "http://${steps.login.json.x}/"}`, "", "where a request goes must be known before the run"},
		"a number":       {login + `        - {name: b, url: /b, redirects: "${steps.login.status}"}`, "", "redirects must be known before the run"},
		"values":         {strings.Replace(login, "base: ", "base: ${BASE} # ", 1) + `        - {name: b, url: "/${steps.login.json.a}", body: "${X}-${steps.login.status}", capture: {x: "${X}"}}` + "\n" + `        - {name: c, url: "${steps.b.json.x}", body: "${steps.b.captures.x}"}`, "", ""},
		"a wrong option": {login + `        - {name: b, url: /b, redirects: many, expect: "statuss == 200"}`, "", "<stdin>:13:41: redirects: "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := loadSteps(t, "http://x.test", "\n"+strings.TrimPrefix(c.steps, "\n"), "\n    enabled: false\n"+c.rest)
			switch {
			case c.want == "" && err != nil:
				t.Errorf("got %v", err)
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
				t.Errorf("got %v\nwant %s", err, c.want)
			}
		})
	}
}
