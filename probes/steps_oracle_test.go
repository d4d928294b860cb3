//go:build oracle

package probes

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sonde-cli/sonde/check"
)

// TestOracleCookiesAsCurl sets cookies of all sorts and compares what comes back
// from sonde and from curl with its cookie engine on.
func TestOracleCookiesAsCurl(t *testing.T) {
	n := startNginx(t)
	ca := caFile(t)
	for _, c := range []struct{ set, to string }{
		{"a=1", "/show"},
		{"a=1; Path=/", "/show"},
		{"a=1; Path=/show", "/show/deep"},
		{"a=1; Path=/show/deep", "/show"},
		{"a=1; Path=/sho", "/show"},
		{"a=1; Max-Age=0; Path=/", "/show"},
		{"a=1; Max-Age=60; Path=/", "/show"},
		{"a=1; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Path=/", "/show"},
		{"a=1; Secure; Path=/", "/show"},
		{"a=1; HttpOnly; SameSite=Strict; Path=/", "/show"},
		{"a=1; Domain=example.com; Path=/", "/show"},
		{"a=1; Domain=127.0.0.1; Path=/", "/show"},
		{"__Host-a=1; Path=/", "/show"},
		{"__Host-a=1; Secure; Path=/", "/show"},
		{"__Secure-a=1; Path=/", "/show"},
		{`a="quoted"; Path=/`, "/show"},
		{`a={"x": [1,2]}; Path=/`, "/show"},
		{"a = spaced ; Path=/", "/show"},
		{"a=x=y==; Path=/", "/show"},
		{"a=; Path=/", "/show"},
	} {
		for _, base := range []string{n.http, n.https} {
			want, exit := curl(t, "-sS", "-L", "-b", "", "--noproxy", "*", "--cacert", ca, "-H", "X-Set: "+c.set, "-H", "X-To: "+base+c.to, base+"/set")
			if exit != 0 {
				t.Fatalf("curl ended with %d", exit)
			}
			o := observeHTTP(t, base+"/set", patience, func(o *httpOptions) {
				o.TLS.CA, o.Headers = ca, map[string]string{"X-Set": c.set, "X-To": base + c.to}
			}, "body")
			wantFailure(t, o, "")
			if got := o.Facts.Get("body"); got != want {
				t.Errorf("%s, %q to %s: sonde sent %q, curl %q", base, c.set, c.to, got, want)
			}
		}
	}
}

// TestOracleCookieGuard goes to a page that only who has a cookie sees: along
// redirects as curl with its engine on does, without cookies as curl -L does, and in two steps as
// curl -c and then -b do. The line that reproduces a step gets curl in, too.
func TestOracleCookieGuard(t *testing.T) {
	n := startNginx(t)
	for cookies, args := range map[bool][]string{true: {"-b", ""}, false: nil} {
		want, exit := curl(t, append(args, "-sS", "-L", "--max-redirs", "10", "--noproxy", "*", n.http+"/guard")...)
		o := observeHTTP(t, n.http+"/guard", patience, func(o *httpOptions) { o.Cookies = cookies }, "body")
		if cookies && (exit != 0 || o.Facts.Get("body") != want || want != "welcome") {
			t.Errorf("sonde saw %v, curl %q (%d)", o.Facts, want, exit)
		}
		if !cookies && (exit != 47 || o.Failure.Code != check.HTTPRedirectLoop) {
			t.Errorf("sonde says %v, curl ended with %d", o.Failure, exit)
		}
	}
	jar := filepath.Join(t.TempDir(), "jar")
	curl(t, "-sS", "-c", jar, "--noproxy", "*", n.http+"/guard-login")
	want, _ := curl(t, "-sS", "-b", jar, "--noproxy", "*", "-o", os.DevNull, "-w", "%{http_code}", n.http+"/guard")
	c, err := loadSteps(t, n.http, `
      base: "SHOP"
      defaults: {redirects: 0}
      requests:
        - {name: login, url: /guard-login, expect: "status == 302"}
        - {name: page, url: /guard, expect: ["status == `+want+`", "body == 'something else'"]}
`, "")
	if err != nil {
		t.Fatal(err)
	}
	o := c.Probe.Observe(timeout(t, patience))
	j := c.Judge(&o)
	if want != "200" || j.Verdict != check.Down || !strings.Contains(j.Reason.Message, "step page: body of 7 bytes") {
		t.Errorf("curl got %s, sonde says %v", want, j.Reason)
	}
	out, err := exec.CommandContext(t.Context(), "bash", "-c", o.Reproduce()+" -sS -o /dev/null -w '%{http_code}'").Output()
	if err != nil || string(out) != want {
		t.Errorf("%s\ngave %s, %v", o.Reproduce(), out, err)
	}
}
