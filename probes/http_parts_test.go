package probes

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"testing"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"

	"github.com/sonde-cli/sonde/check"
	"github.com/sonde-cli/sonde/internal/testnet"
)

func TestWindowsAreCut(t *testing.T) {
	t.Parallel()
	text := strings.Repeat("hello from a window ", 1000)
	var wide bytes.Buffer
	w := brotli.NewWriterOptions(&wide, brotli.WriterOptions{Quality: 5, LGWin: 24})
	_, err := io.WriteString(w, text)
	if err = errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	for limit, reach := range map[int64]int64{100: 1<<18 - 16, 1 << 20: 1<<20 - 16, 1<<20 + 1: 1<<21 - 16, 1 << 30: -1} {
		r, got, err := limitBrotliWindow(bufio.NewReader(bytes.NewReader(wide.Bytes())), limit)
		if err != nil || got != reach {
			t.Errorf("brotli, limit %d: reach %d, %v, want %d", limit, got, err, reach)
			continue
		}
		if out, err := io.ReadAll(brotli.NewReader(r)); err != nil || string(out) != text {
			t.Errorf("brotli, limit %d: %d bytes, %v", limit, len(out), err)
		}
	}
	framed := squeeze(t, "zstd", text)
	for _, limit := range []int64{0, 100, 1 << 20, 3 << 20} {
		most, size := zstdWindow(limit)
		if size < uint64(limit)+zstdBlock || size > 2*uint64(limit)+2*zstdBlock {
			t.Errorf("zstd, limit %d: a window of %d", limit, size)
		}
		r, err := limitZstdWindow(bufio.NewReader(strings.NewReader(framed)), most)
		if err != nil {
			t.Fatal(err)
		}
		d, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(size))
		if err != nil {
			t.Fatal(err)
		}
		if out, err := io.ReadAll(d); err != nil || string(out) != text {
			t.Errorf("zstd, limit %d: %d bytes, %v", limit, len(out), err)
		}
		d.Close()
	}
}

func TestExcerpt(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"":                      `""`,
		"SSH-2.0\r\n":           `"SSH-2.0.."`,
		"a\x00b\x1b[31m\xffc":   `"a.b.[31m.c"`,
		"Zürich":                `"Zürich"`,
		strings.Repeat("a", 80): `"` + strings.Repeat("a", 80) + `"`,
		strings.Repeat("a", 81): `"…"`,
		strings.Repeat("ab ", 9) + strings.Repeat("c", 80): `"` + strings.Repeat("ab ", 9) + `…"`,
	} {
		if got := excerpt([]byte(in)); got != want {
			t.Errorf("%q: %s, want %s", in, got, want)
		}
	}
}

func TestShellQuote(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"": "''", "https://a.test/x?y=1": "'https://a.test/x?y=1'", "a-b_c./:@%+=,": "a-b_c./:@%+=,",
		"it's $x": `'it'\''s $x'`, "a\nb'\\": `$'a\nb\047\\'`, "\x1b[m\xff": `$'\033[m\377'`, "*": "'*'",
	} {
		if got := shellQuote(in); got != want {
			t.Errorf("%q: %s, want %s", in, got, want)
		}
	}
}

// TestPromise5HTTPSecrets plants a canary wherever a secret can stand, and
// looks for it in the result of a check whose server sends all of it back.
func TestPromise5HTTPSecrets(t *testing.T) {
	t.Parallel()
	const canary = "canary-5e4d3c2b1a"
	site := httpSite(t, nil, testnet.Site())
	withUser := strings.Replace(site, "http://", "http://me:"+canary+"@", 1)
	file := tempFile(t, "headers", []byte("X-Api-Key: "+canary+"\n"))
	for name, c := range map[string]struct {
		url    string
		change func(*httpOptions)
	}{
		"URL":          {withUser, nil},
		"basic":        {site, func(o *httpOptions) { o.Auth = httpAuth{Username: "me", Password: canary} }},
		"bearer":       {site, func(o *httpOptions) { o.Auth.Token = canary }},
		"header":       {site, func(o *httpOptions) { o.Headers = map[string]string{"authorization": "Token " + canary} }},
		"basic header": {site, func(o *httpOptions) { o.Headers = map[string]string{"Authorization": basicAuth("me", canary)} }},
		"cookie":       {site, func(o *httpOptions) { o.Headers = map[string]string{"Cookie": "a=1; session=" + canary} }},
		"headers file": {site, func(o *httpOptions) { o.HeadersFile = file }},
		"proxy":        {"https://far.test", func(o *httpOptions) { o.Proxy = strings.Replace(withUser, "127.0.0.1", "localhost", 1) }},
	} {
		plan := buildHTTP(t, c.url+"/echo", c.change, "body", "json", "headers")
		o := plan.Probe.Observe(timeout(t, patience))
		facts := httpFacts()
		for i := range facts {
			facts[i].Hidden = false
		}
		chk := &check.Check{Target: plan.Target, Probe: plan.Probe, FactList: facts, Mask: check.NewMask(plan.Secrets...)}
		result := chk.Result(&o, check.Judgement{Verdict: check.Down, Reason: check.Reason{Code: check.HTTPStatus, Message: fmt.Sprint(o.Failure, o.Because)}})
		text := fmt.Sprintf("%+v", result)
		for _, form := range []string{canary, basicAuth("me", canary)[len("Basic "):]} {
			if strings.Contains(text, form) {
				t.Errorf("%s: %q is in %s", name, form, text)
			}
		}
		if strings.Contains(plan.Target, canary) {
			t.Errorf("%s: target %s", name, plan.Target)
		}
		if result.Reproduce == "" || !strings.Contains(result.Reproduce, check.Masked) {
			t.Errorf("%s: reproduce %s", name, result.Reproduce)
		}
	}
}

// TestPromise5StrangeSpellings has secrets that are escaped otherwise than Go
// would.
func TestPromise5StrangeSpellings(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ url, proxy, shown string }{
		{"http://a.test/?token=first%2bsecond", "", "first%2bsecond first+second first%2Bsecond"},
		{"http://a.test/?token=fir%73t;second", "", "fir%73t;second first;second"},
		{"http://a.test/?x=1;token=first%2bsecond", "", "first%2bsecond first+second"},
		{"http://a.test/?api%5fkey=first+second", "", "first+second"},
		{"http://a.test/?token=%zzfirst&x=1", "", "%zzfirst"},
		{"http://a.test/?%zz=1&token=first", "", "first"},
		{"http://a.test/?token=a b", "", "a%20b"},
		{"http://me:first%2bsecond@a.test/", "", "first%2bsecond first+second"},
		{"http://a.test/", "http://me:first%2bsecond@proxy.test:3128", "first%2bsecond first+second"},
		{"http://a.test/", "me:fir%73t@proxy.test:3128", "fir%73t first"},
	} {
		plan := buildHTTP(t, c.url, func(o *httpOptions) { o.Proxy = c.proxy })
		mask := check.NewMask(plan.Secrets...)
		for form := range strings.SplitSeq(c.shown, " ") {
			if got := mask.String("<" + form + ">"); got != "<***>" {
				t.Errorf("%s through %q: %s is shown as %s", c.url, c.proxy, form, got)
			}
		}
		if got := mask.String(plan.Probe.(*httpProbe).reproduce(0, netip.Addr{})); strings.Contains(got, "first") || strings.Contains(got, "fir%73t") {
			t.Errorf("%s through %q: %s", c.url, c.proxy, got)
		}
	}
}

func TestWrittenPassword(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"http://me:p%40w@a.test/x@y": "p%40w", "me:a:b@a.test": "a:b", "http://a@b:c@d.test?e:f@g": "c",
		"http://me@a.test": "", "http://a.test:80/x:y@z": "", "": "", "env": "",
	} {
		if got := writtenPassword(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}
