package config

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sonde-cli/sonde/check"
)

func TestTargetPicksTheKind(t *testing.T) {
	for _, tt := range []struct{ target, kind, err string }{
		{"https://x.test/", "web", ""},
		{"HTTP://x.test/", "web", ""},
		{"dns:x.test?type=A", "web", "no URL with a host"},
		{"icmp://x.test", "ping", ""},
		{"x.test", "ping", ""},
		{"192.0.2.1", "ping", ""},
		{"2001:db8::1", "ping", ""},
		{"[::1]", "ping", ""},
		{"htps://x.test", "", "htps://x.test: unknown scheme \"htps\"\nhint: did you mean \"https\"?"},
		{"gopher://x.test", "", "hint: known here: dns, http, https, icmp, tcp"},
		{"x.test:80", "web", ""},
		{"dns:53", "web", ""},
		{"[2001:db8::1]:53", "web", ""},
		{"x.test:http", "", "x.test:http: the target has no scheme\nhint: a host and a port are host:443"},
		{":80", "", "the target has no scheme"},
		{"x.test/a", "", "did you mean https://x.test/a?"},
		{"checks.yaml", "", "sonde run checks.yaml"},
		{"/etc/sonde", "", "a target is no file; to run the checks of one: sonde run /etc/sonde"},
		{"./checks", "", "sonde run ./checks"},
		{"", "", "the target is empty"},
		{"http://u:pass word@x.test/ ", "", "has a space"},
		{"htps://u:hunter22@x.test/", "", "htps://u:***@x.test/: unknown scheme"},
		{"a_b", "", `a_b: host: "a_b" is no host name`},
	} {
		t.Run(tt.target, func(t *testing.T) {
			c, err := testLoader(nil).Target(tt.target, TargetOptions{})
			switch {
			case tt.err != "":
				var all Errors
				if !errors.As(err, &all) || !strings.Contains(err.Error(), tt.err) {
					t.Errorf("got %v, want %s", err, tt.err)
				}
				if err != nil && strings.Contains(err.Error(), "hunter22") {
					t.Errorf("a password is shown: %v", err)
				}
			case err != nil:
				t.Error(err)
			case c.Kind != tt.kind || c.ID != tt.target || c.Name != tt.target:
				t.Errorf("got %+v, want the kind %s", c, tt.kind)
			}
		})
	}
}

func TestTargetOptions(t *testing.T) {
	c, err := testLoader(testEnv()).Target("https://me:hunter22@x.test/", TargetOptions{
		Expect: []string{"status == 200"}, Prefer: []string{"latency < 1s"}, Tags: []string{"t"},
		Timeout: 2 * time.Second, Retry: check.Retry{Attempts: 3, Wait: time.Second},
		Settings: []Setting{
			{"method", "HEAD", "-I"}, {"method", "POST", "--method"},
			{"headers.X-A.b", "1", "--header"}, {"headers.X-C", "${TOKEN}", "--header"},
			{"names", "a", "--name"}, {"names", "b", "--name"},
			{"hops", "3", "--hops"}, {"follow", "true", "--follow"}, {"pause", "3s", "--pause"},
			{"tls.insecure", "true", "--insecure"}, {"tls.ca", "a/ca.pem", "--ca"}, {"proxy.url", "http://p", "--proxy"},
			{"password", "1234567", "--password"}, {"match", "a+", "--match"}, {"family", "4", "-4"},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	o := webOf(t, c)
	if o.Method != "POST" || o.Hops != 3 || !o.Follow || o.Pause != 3*time.Second || !o.TLS.Insecure || o.TLS.CA != "a/ca.pem" ||
		o.Proxy == nil || o.Proxy.URL != "http://p" || o.Match.String() != "a+" || o.Family != "4" {
		t.Errorf("options: %+v", o)
	}
	if diff := cmp.Diff(map[string]string{"Accept": "*/*", "X-A.b": "1", "X-C": "s3cr3t-token"}, o.Headers); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"a", "b"}, o.Names); diff != "" {
		t.Error(diff)
	}
	if c.ID != "https://me:***@x.test/" || c.Target != c.ID || c.Timeout != 2*time.Second || c.Retry.Attempts != 3 || c.File != "" {
		t.Errorf("check: %+v", c)
	}
	if got := c.Mask.String("hunter22 1234567 s3cr3t-token"); got != "*** *** ***" {
		t.Errorf("the mask leaves %q", got)
	}
	if diff := cmp.Diff([]string{"expect cert.trusted 0", "expect status == 200 0", "prefer latency < 1s 0"}, expectationList(c)); diff != "" {
		t.Error(diff)
	}
}

func TestTargetReferences(t *testing.T) {
	for _, tt := range []struct{ value, want string }{
		{"${MISSING}", "--body: the variable MISSING is not set\nhint: set it"},
		{"${MISSING:?set it: now}", "--body: the variable MISSING is not set: set it: now"},
		{"${file:none.txt}", `--body: cannot read the file "none.txt"`},
		{"${TOKEN}", "--body: must not be ***"},
	} {
		_, err := testLoader(testEnv()).Target("https://x.test/", TargetOptions{Settings: []Setting{{"body", tt.value, "--body"}}})
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want %s", tt.value, err, tt.want)
		}
	}
}

// TestTargetOptionsAsInAFile sets what is no scalar as a file has it.
func TestTargetOptionsAsInAFile(t *testing.T) {
	for value, want := range map[string]string{
		"{A: b, C: d}":        "",
		`{"A": "${TOKEN}"}`:   "",
		"{A: [b]}":            "--headers: ",
		"{A: b":               "--headers: the value is no YAML on one line",
		"{A: &x b, C: *x}":    "",
		"{A: !!str b}":        "--headers: YAML tags",
		"":                    "--headers: the value is no YAML on one line",
		"text":                "--headers does not apply",
		"{A: \"${MISSING}\"}": "--headers: the variable MISSING is not set",
		"{A: b, A: c}":        `--headers: the key "A" stands here twice`,
		"[A, b]":              "--headers: headers must be a map",
	} {
		_, err := testLoader(testEnv()).Target("https://x.test/", TargetOptions{Settings: []Setting{{"headers", value, "--headers"}}})
		var all Errors
		if want == "" && err != nil || want != "" && (!errors.As(err, &all) || len(all) != 1 || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: got %v, want %q", value, err, want)
		}
	}
}

func TestTargetErrorsComeAllAtOnce(t *testing.T) {
	_, err := testLoader(nil).Target("https://x.test/", TargetOptions{
		Expect: []string{"status == 200", "status == 200 && statsu > 3"}, Prefer: []string{"("},
		Settings: []Setting{
			{"hops", "three", "--hops"}, {"method", "GETT", "--method"}, {"count", "3", "--count"}, {"tls", "x", "--tls"},
			{"headers", "x", "--headers"}, {"tls.insecure", "yes", "--insecure"}, {"match", "(", "--match"},
		},
	})
	var all Errors
	if !errors.As(err, &all) || len(all) != 9 {
		t.Fatalf("%d errors: %v", len(all), err)
	}
	for _, want := range []string{
		`--hops: "three" is not a whole number`,
		"--method: \"GETT\" is not one of GET, HEAD, POST\nhint: did you mean \"GET\"?",
		"--count does not apply to https://x.test/: the kind web has no option count",
		"--tls does not apply", "--headers does not apply",
		"--insecure: \"yes\" is not true or false\nhint: write true",
		"--match: \"(\" is not a regular expression",
		"    status == 200 && statsu > 3\n                     ^",
		"--prefer: ",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in\n%v", want, err)
		}
	}
}
