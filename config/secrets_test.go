package config

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sonde-cli/sonde/check"
)

func TestReferences(t *testing.T) {
	dir := write(t, map[string]string{"secret.txt": "from-file\n", "sub/x.txt": "deeper"})
	env := testEnv()
	env["ABS"] = filepath.Join(dir, "sub", "x.txt")
	s := scope{lookup: testLoader(env).LookupEnv, dir: dir, files: map[string]string{},
		each: &each{keys: []string{"host"}}, values: []eachValue{{text: "h.test"}}}
	for _, tt := range []struct{ text, want, secrets, err string }{
		{"plain", "plain", "", ""},
		{"", "", "", ""},
		{"$HOME $$ $1 ^x$", "$HOME $$ $1 ^x$", "", ""},
		{"a $${TOKEN} b", "a ${TOKEN} b", "", ""},
		{"a ${TOKEN} b ${PORT}", "a s3cr3t-token b 8443", "s3cr3t-token|8443", ""},
		{"${MISSING:-x}", "x", "", ""},
		{"${EMPTY:-x}", "x", "", ""},
		{"${EMPTY}", "", "", ""},
		{"${MISSING:-a${TOKEN}b}", "as3cr3t-tokenb", "s3cr3t-token", ""},
		{"${MISSING:-}", "", "", ""},
		{"${TOKEN:-x}", "s3cr3t-token", "s3cr3t-token", ""},
		{"${TOKEN:?x}", "s3cr3t-token", "s3cr3t-token", ""},
		{"${MISSING:-http://a:1/}", "http://a:1/", "", ""},
		{"${file:secret.txt}", "from-file", "from-file", ""},
		{"${file:${ABS}}", "deeper", "deeper", ""},
		{"${each.host}", "h.test", "", ""},
		{"${EVIL}", "a: b\n- '\"$HOME ${TOKEN} # c", "a: b\n- '\"$HOME ${TOKEN} # c", ""},
		{"${MISSING}", "", "", "MISSING is not set"},
		{"${MISSING:?why}", "", "", "MISSING is not set: why"},
		{"${MISSING:?}", "", "", "it is required"},
		{"${each.hots}", "", "", `no key "hots"`},
		{"${each}", "", "", "no such value"},
		{"${", "", "", "no closing brace"},
		{"${A", "", "", "no closing brace"},
		{"${A:-b", "", "", "no closing brace"},
		{"${}", "", "", "is no name"},
		{"${1A}", "", "", "is no name"},
		{"${A.b}", "", "", "is no name"},
		{"${A-b}", "", "", "is no name"},
		{"${A!}", "", "", "no reference that sonde knows"},
		{"${file:}", "", "", "cannot read the file"},
	} {
		t.Run(tt.text, func(t *testing.T) {
			parsed, bad := parseTemplate(tt.text)
			if bad != nil {
				if tt.err == "" || !strings.Contains(bad.message, tt.err) {
					t.Errorf("parse: %v, want %q", bad, tt.err)
				}
				return
			}
			got, errs := s.expand(parsed)
			if len(errs) > 0 || tt.err != "" {
				if len(errs) != 1 || tt.err == "" || !strings.Contains(errs[0].message, tt.err) {
					t.Errorf("expand: %v, want %q", errs, tt.err)
				}
				return
			}
			var secrets []string
			for _, sp := range got.spans {
				secrets = append(secrets, got.text[sp.start:sp.end])
			}
			if got.text != tt.want || strings.Join(secrets, "|") != tt.secrets {
				t.Errorf("got %q with the secrets %q", got.text, secrets)
			}
		})
	}
}

// TestMasks checks what a check hides: show is a text in which everything that
// is secret stands, want what it looks like in results.
func TestMasks(t *testing.T) {
	for _, tt := range []struct{ name, check, show, want string }{
		{"a variable in a header", `web: {url: "http://x.test", headers: {X-A: "k ${TOKEN}"}}`, "got s3cr3t-token", "got ***"},
		{"a literal header of a secret name", `web: {url: "http://x.test", headers: {X-Api-Key: "literal-key"}}`, "got literal-key", "got ***"},
		{"a literal Authorization", `web: {url: "http://x.test", headers: {Authorization: "Bearer lit-tok"}}`, "Bearer lit-tok, lit-tok", "***, ***"},
		{"a literal secret option", `web: {url: "http://x.test", password: "hunter22"}`, "hunter22", "***"},
		{"a secret that looks like a reference", `web: {url: "http://x.test", password: "abc$${DEF}ghi"}`, "abc${DEF}ghi", "***"},
		{"a default is no secret", `web: {url: "http://x.test", body: "${MISSING:-default-body}", method: POST}`, "default-body", "default-body"},
		{"a port in an address", `web: {url: "http://x.test:${PORT}/a"}`, "8443", "8443"},
		{"a host in an address", `web: {url: "http://${HOST}/a"}`, "eu.example.com", "eu.example.com"},
		{"a whole URL", `web: {url: "${URL}"}`, "https://eu.example.com/health?key=q-secret", "https://eu.example.com/health?***"},
		{"a query", `web: {url: "http://x.test/?t=${TOKEN}"}`, "http://x.test/?t=s3cr3t-token", "http://x.test/?t=***"},
		{"a path", `web: {url: "http://x.test/hook/${TOKEN}"}`, "http://x.test/hook/s3cr3t-token", "http://x.test/hook/***"},
		{"a password in a URL", `web: {url: "http://me:${TOKEN}@x.test/"}`, "http://me:s3cr3t-token@x.test/", "http://me:***@x.test/"},
		{"a literal password in a URL", `web: {url: "http://me:hunter22@x.test/"}`, "http://me:hunter22@x.test/", "http://me:***@x.test/"},
		{"a number", `web: {url: "http://x.test", hops: "${PORT}"}`, "8443", "8443"},
		{"a tag and a label", `tags: ["${HOST}"]
    labels: {a: "${HOST}"}
    ping: {host: x}`, "eu.example.com", "eu.example.com"},
		{"an expectation", `expect: "json.t == '${TOKEN}'"
    web: {url: "http://x.test"}`, "json.t == 's3cr3t-token'", "json.t == '***'"},
		{"a value of each", `each: {t: ["${TOKEN}"]}
    web: {url: "http://x.test", body: "${each.t}", method: POST}`, "s3cr3t-token", "***"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := mustLoad(t, testLoader(testEnv()), "version: 1\nchecks:\n  - name: a\n    "+tt.check+"\n").Checks[0]
			if got := c.Mask.String(tt.show); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
			if strings.Contains(c.Target, "s3cr3t") || strings.Contains(c.Target, "hunter22") {
				t.Errorf("the target shows a secret: %s", c.Target)
			}
		})
	}
}

func TestValuesAreNeverParsedAsYAML(t *testing.T) {
	c := mustLoad(t, testLoader(testEnv()), `version: 1
checks:
  - name: a
    web: {url: "http://x.test", method: POST, body: "${EVIL}", headers: {A: "${EVIL}"}}
`).Checks[0]
	want := testEnv()["EVIL"]
	if o := webOf(t, c); o.Body != want || o.Headers["A"] != want || len(o.Headers) != 2 {
		t.Errorf("options: %+v", o)
	}
}

// TestErrorsShowNoSecret puts secrets next to mistakes of every sort.
func TestErrorsShowNoSecret(t *testing.T) {
	const canary = "CANARY0123"
	env := testEnv()
	env["CANARY"] = canary
	for _, text := range []string{
		"version: 1\nchecks:\n  - name: a\n    web: {url: 'http://u:" + canary + "@x.test/ /', hops: x, steps: [{send: bad}]}",
		"version: 1\nchecks:\n  - name: a\n    web: {url: '://u:" + canary + "@', password: " + canary + ", hopps: 1}",
		"version: 1\nchecks:\n  - name: a\n    web: {hopps: 1, headers: {Authorization: Bearer " + canary + "}}",
		"version: 1\nchecks:\n  - name: a\n    web: {hopps: 1, headers: {cookie: 'a=" + canary + "'}}",
		"version: 1\nchecks:\n  - name: a: b\n    web: {headers: {Authorization: Bearer " + canary + "}}",
		"version: 1\nchecks:\n  - name: a\n    web: {headers: {Authorization: Bearer " + canary + "}",
		"version: 1\nchecks:\n  - name: a\n    web: {url: http://u:" + canary + "@x, a: b: c",
		"version: 1\nchecks:\n  - name: a\n    web:\n      headers:\n        Authorization: Bearer " + canary + ": x\n",
		"version: 1\nchecks:\n  - name: a\n    web:\n      password: |\n        " + canary + "${MISSING}\n",
		"version: 1\nchecks:\n  - name: a\n    web: {password: \"CANARY\\x30123\", hopps: 1}",
		"version: 1\nchecks:\n  - name: a\n    web: {password: 'x\n     " + canary + "\n     " + canary + "', hopps: 1}",
		"version: 1\nchecks:\n  - name: a\n    web:\n      password: >-\n        " + canary + "\n        " + canary + "\n      hopps: 1\n",
		"version: 1\nchecks:\n  - name: a\n    web: {url: '${CANARY}', hops: '${CANARY}', method: '${CANARY}', match: '(${CANARY}', pause: '${CANARY}', limit: '${CANARY}'}",
		"version: 1\nchecks:\n  - name: a\n    expect: '${CANARY} =='\n    interval: '${CANARY}'\n    enabled: true\n    web: {url: 'http://x.test'}",
		"version: 1\nchecks:\n  - name: a\n    enabled: '${CANARY}'\n    web: {url: 'http://x.test'}",
		"version: 1\nchecks:\n  - name: a\n    web: {url: 'http://x.test', body: '${file:${CANARY}}'}",
		"version: 1\nchecks:\n  - name: a\n    web: {url: 'http://x.test', body: '${MISSING:?${CANARY}}'}",
		"version: 1\nchecks:\n  - name: a\n    each: {h: {file: '${CANARY}'}}\n    web: {url: 'http://x.test'}",
		"version: 1\nchecks:\n  - name: a\n    each: {h: ['${CANARY}']}\n    web: {url: 'http://x.test', password: '${each.h}', hops: x}",
	} {
		all := loadErrors(t, testLoader(env), text)
		if strings.Contains(all.Error(), canary) {
			t.Errorf("the errors of\n%s\nshow a secret:\n%v", text, all)
		}
	}
}

func TestShortSecretIsHiddenOnItsLine(t *testing.T) {
	all := loadErrors(t, testLoader(nil), "version: 1\nchecks:\n  - name: a\n    web: {url: x, hopps: 1, password: q7}\n")
	if strings.Contains(all.Error(), "q7") || !strings.Contains(all.Error(), "hopps: 1, password: ***") {
		t.Errorf("got\n%v", all)
	}
}

func TestHideLine(t *testing.T) {
	for line, want := range map[string]string{
		"    Authorization: Bearer abc":           "    Authorization: ***",
		"  {a: b, 'X-Api-Key': abc, d: e}":        "  {a: b, 'X-Api-Key': ***",
		"  url: http://me:pass@x.test/ # a@b":     "  url: http://me:***@x.test/ # a@b",
		"  token: ${TOKEN}":                       "  token: ${TOKEN}",
		"  headers: {Accept: x}":                  "  headers: {Accept: x}",
		"  password:":                             "  password:",
		"  name: a:b":                             "  name: a:b",
		"  url: http://me:${PASSWORD}@x.test/abc": "  url: http://me:${PASSWORD}@x.test/abc",
	} {
		if got := hideLine(line); got != want {
			t.Errorf("hideLine(%q) = %q, want %q", line, got, want)
		}
	}
}

func TestAddressSecrets(t *testing.T) {
	for _, tt := range []struct{ before, variable, after, want string }{
		{"", "https://u:pw@h/p?a=1&b=two#f", "", "pw|1|two#f|a=1&b=two#f"},
		{"https://", "h", "/p?q=1", ""},
		{"https://h:", "80", "/", ""},
		{"https://u:", "pw", "@h/", "pw"},
		{"https://h/", "p", "", "p"},
		{"", "h", ":80", ""},
		{"", "192.0.2.1", "", ""},
	} {
		text := tt.before + tt.variable + tt.after
		got := strings.Join(addressSecrets(text, span{len(tt.before), len(tt.before) + len(tt.variable)}), "|")
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s: %s", text, diff)
		}
	}
	if got := hidePassword("http://a:b@c/"); got != "http://a:"+check.Masked+"@c/" {
		t.Errorf("got %s", got)
	}
}

// I1: a secret in a file that others may read.
func TestI1SecretForEverybodyToRead(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Log("the mode of a file says nothing here")
		return
	}
	for _, tt := range []struct {
		mode  fs.FileMode
		token string
		want  string
	}{
		{0o644, "hunter2-hunter2", "4:38: a secret stands in a file that others may read"},
		{0o640, "hunter2-hunter2", "4:38: a secret stands in a file that others may read"},
		{0o600, "hunter2-hunter2", ""},
		{0o644, "${A_TOKEN:-}", ""},
		{0o644, "session=${A_TOKEN:-}", ""}, // the name of a cookie
		{0o644, "id=hunter2; session=${A_TOKEN:-}", "4:38: a secret stands in a file that others may read"},
		{0o644, "session=hunter2", "4:38: a secret stands in a file that others may read"},
	} {
		path := filepath.Join(t.TempDir(), "checks.yaml")
		text := "version: 1\nchecks:\n  - name: a\n    web: {url: 'http://x', password: '" + tt.token + "'}\n"
		if err := os.WriteFile(path, []byte(text), tt.mode); err != nil {
			t.Fatal(err)
		}
		set, err := testLoader(nil).Load(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		for _, w := range set.Warnings {
			got += fmt.Sprintf("%d:%d: %s", w.Line, w.Column, w.Message)
			if strings.Contains(w.Excerpt, "hunter2") {
				t.Errorf("the warning shows the secret: %s", w.Excerpt)
			}
		}
		if got != tt.want {
			t.Errorf("mode %o, %s: warned %q, want %q", tt.mode, tt.token, got, tt.want)
		}
	}
}

// TestB20KeyForEverybodyToRead warns of a file that is a secret, once for each
// line that names it. A group may be meant to read it, unlike a secret in a file of
// checks.
func TestB20KeyForEverybodyToRead(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Log("the mode of a file says nothing here")
		return
	}
	for mode, want := range map[fs.FileMode]string{
		0o644: "5:22: everybody may read the file of this secret (chmod o-r key.pem)",
		0o640: "", 0o600: "", 0: "",
	} {
		dir := t.TempDir()
		if mode != 0 {
			if err := os.WriteFile(filepath.Join(dir, "key.pem"), nil, mode); err != nil {
				t.Fatal(err)
			}
		}
		path := filepath.Join(dir, "checks.yaml")
		text := "version: 1\nchecks:\n  - name: a\n    each: {n: [1, 2]}\n    web: {tls: {key: key.pem}, url: 'http://x'}\n"
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		set, err := testLoader(nil).Load(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, w := range set.Warnings {
			got = append(got, fmt.Sprintf("%d:%d: %s (%s)", w.Line, w.Column, w.Message, w.Hint))
		}
		if strings.Join(got, "\n") != want {
			t.Errorf("mode %o: warned %q, want %q", mode, got, want)
		}
	}
}

// TestHidePassword hides what is typed as a password, even where it makes the
// target no URL.
func TestHidePassword(t *testing.T) {
	t.Parallel()
	for target, want := range map[string]string{
		"redis://:s3cret@h":              "redis://:***@h",
		"redis://:s3 cret@h":             "redis://:***@h",
		"redis://:s3/cr?e#t@h:1":         "redis://:***@h:1",
		"mysql://u:s3\"cr@et@h/d":        "mysql://u:***@h/d",
		"http://u:s3cret@h:1/x:y@z":      "http://u:***@h:1/x:y@z",
		"http://h:80/a:b@c":              "http://h:80/a:b@c",
		"http://[::1]/a:b@c":             "http://[::1]/a:b@c",
		"http://h/a:b@c":                 "http://h/a:b@c",
		"https://h:443?user=me@mail.com": "https://h:443?user=me@mail.com",
		"h:443":                          "h:443",
		"://":                            "://",
	} {
		if got := hidePassword(target); got != want {
			t.Errorf("%s: got %s, want %s", target, got, want)
		}
	}
}
