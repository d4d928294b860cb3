package probes

import (
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sonde-cli/sonde/check"
)

// sent is a request as a server got it.
type sent struct {
	Method, Type, Encoding, Body string
}

// recorder is a site that answers 200 and keeps the last request.
func recorder(t *testing.T) (site string, last func() sent) {
	t.Helper()
	got := make(chan sent, 16)
	site = httpSite(t, nil, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got <- sent{r.Method, r.Header.Get("Content-Type"), r.Header.Get("Content-Encoding"), string(body)}
	}))
	return site, func() sent { return <-got }
}

func TestHTTPBodies(t *testing.T) {
	t.Parallel()
	site, last := recorder(t)
	for name, c := range map[string]struct {
		change func(*httpOptions)
		want   sent
	}{
		"json":       {func(o *httpOptions) { o.JSON = `{"b":1,"a":[true]}` }, sent{"POST", "application/json", "", `{"b":1,"a":[true]}`}},
		"json patch": {func(o *httpOptions) { o.JSON, o.Method = `[]`, "PATCH" }, sent{"PATCH", "application/json", "", `[]`}},
		"own type": {func(o *httpOptions) {
			o.JSON, o.Headers = `1`, map[string]string{"content-type": "application/vnd.api+json"}
		}, sent{"POST", "application/vnd.api+json", "", "1"}},
		"form": {func(o *httpOptions) {
			o.Form = map[string][]string{"z": {"1", "2"}, "a b": {"ü&="}, "e": {""}}
		}, sent{"POST", "application/x-www-form-urlencoded", "", "a+b=%C3%BC%26%3D&e=&z=1&z=2"}},
	} {
		wantFailure(t, observeHTTP(t, site, patience, c.change), "")
		if diff := cmp.Diff(c.want, last()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// TestHTTPRequestCompression decodes what a server got.
func TestHTTPRequestCompression(t *testing.T) {
	t.Parallel()
	site, last := recorder(t)
	text := strings.Repeat("all work and no play ", 500)
	for _, coding := range []string{"gzip", "deflate", "br", "zstd"} {
		for name, change := range map[string]func(*httpOptions){
			"text/plain":       func(o *httpOptions) { o.Body, o.Headers = text, map[string]string{"Content-Type": "text/plain"} },
			"application/json": func(o *httpOptions) { o.JSON = check.JSON(`"` + text + `"`) },
		} {
			o := observeHTTP(t, site, patience, func(o *httpOptions) { change(o); o.RequestCompression = coding })
			wantFailure(t, o, "")
			got := last()
			if got.Encoding != coding || got.Type != name || len(got.Body) > len(text)/10 {
				t.Errorf("%s %s: type %s, encoding %s, %d bytes", coding, name, got.Type, got.Encoding, len(got.Body))
			}
			reader, done, err := decode(strings.NewReader(got.Body), coding, 1<<20)
			if err != nil {
				t.Fatal(err)
			}
			plain, err := io.ReadAll(reader)
			done()
			if err != nil || strings.Trim(string(plain), `"`) != text {
				t.Errorf("%s %s: %d bytes, %v", coding, name, len(plain), err)
			}
		}
	}
}

// TestHTTPMultipart reads the parts with Go's own reader.
func TestHTTPMultipart(t *testing.T) {
	t.Parallel()
	site, last := recorder(t)
	file := tempFile(t, "lo\"go.bin", []byte("\x00\r\n--sonde"))
	change := func(o *httpOptions) {
		o.Multipart = []httpPart{
			{Name: "title", Value: "ü \r\n b"}, {Name: "a\"b\nc"}, {Name: "doc", Value: "{}", Type: "application/json"},
			{Name: "file", File: file}, {Name: "file", File: file, Filename: "x.png", Type: "image/png"},
		}
	}
	wantFailure(t, observeHTTP(t, site, patience, change), "")
	first := last()
	_, params, err := mime.ParseMediaType(first.Type)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	reader := multipart.NewReader(strings.NewReader(first.Body), params["boundary"])
	for {
		part, err := reader.NextRawPart()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(part)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, part.Header.Get("Content-Disposition")+" "+part.Header.Get("Content-Type")+" "+string(content))
	}
	want := []string{
		"form-data; name=\"title\"  ü \r\n b", "form-data; name=\"a%22b%0Ac\"  ", "form-data; name=\"doc\" application/json {}",
		"form-data; name=\"file\"; filename=\"lo%22go.bin\" application/octet-stream \x00\r\n--sonde",
		"form-data; name=\"file\"; filename=\"x.png\" image/png \x00\r\n--sonde",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("parts (-want +got):\n%s", diff)
	}
	wantFailure(t, observeHTTP(t, site, patience, change), "")
	if again := last(); again != first {
		t.Error("the same parts make another body")
	}
}

// TestHTTPBodyBounds refuses what is too large before it is in memory.
func TestHTTPBodyBounds(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "large")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(file, maxPayload-1000); err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func(*httpOptions){
		"multipart[1]: makes the body larger than the limit of 64MiB": func(o *httpOptions) { o.Multipart = []httpPart{{Name: "a", File: file}, {Name: "b", File: file}} },
		"body: makes a body larger than the limit of 64MiB":           func(o *httpOptions) { o.Body = strings.Repeat("x", maxPayload+1) },
		"form: makes a body larger than the limit of 64MiB":           func(o *httpOptions) { o.Form = map[string][]string{"a": {strings.Repeat("&", maxPayload/3)}} },
	} {
		wantOptionError(t, want, change)
	}
}

func wantOptionError(t *testing.T, want string, change func(*httpOptions)) {
	t.Helper()
	o := newHTTPOptions()
	o.URL = "http://example.com/"
	change(o)
	_, err := o.Build(needs())
	var oe *check.OptionError
	if !errors.As(err, &oe) || !strings.Contains(err.Error(), want) {
		t.Errorf("error %v, want %q", err, want)
	}
}

func TestHTTPPayloadErrors(t *testing.T) {
	t.Parallel()
	for want, change := range map[string]func(*httpOptions){
		"json: there is a body too, give one of the two":      func(o *httpOptions) { o.Body, o.JSON = "x", "1" },
		"multipart: there is a form too, give one of the two": func(o *httpOptions) { o.Form, o.Multipart = map[string][]string{"a": {"b"}}, []httpPart{{Name: "x"}} },
		"multipart[0].name: is empty":                         func(o *httpOptions) { o.Multipart = []httpPart{{Value: "x"}} },
		"multipart[0].file: there is a value too":             func(o *httpOptions) { o.Multipart = []httpPart{{Name: "x", Value: "x", File: "y"}} },
		"multipart[0].file: ":                                 func(o *httpOptions) { o.Multipart = []httpPart{{Name: "x", File: "/nowhere"}} },
		"multipart[0].type: \"plain\" is no content type":     func(o *httpOptions) { o.Multipart = []httpPart{{Name: "x", Type: "plain"}} },
		"multipart[0].type: holds a line break":               func(o *httpOptions) { o.Multipart = []httpPart{{Name: "x", Type: "a/b\r\nX: y"}} },
		"multipart: the header Content-Type is set": func(o *httpOptions) {
			o.Multipart, o.Headers = []httpPart{{Name: "x"}}, map[string]string{"Content-Type": "a/b"}
		},
		"request_compression: there is no request body": func(o *httpOptions) { o.RequestCompression = "gzip" },
		"request_compression: the header Content-Encoding is set": func(o *httpOptions) {
			o.Body, o.RequestCompression, o.Headers = "x", "gzip", map[string]string{"content-encoding": "gzip"}
		},
		"request_compression: \"lzma\" is none of none, gzip, deflate, br, zs": func(o *httpOptions) { o.Body, o.RequestCompression = "x", "lzma" },
	} {
		wantOptionError(t, want, change)
	}
}

// TestHTTPReproduceBodies shows each body as curl takes it.
func TestHTTPReproduceBodies(t *testing.T) {
	t.Parallel()
	for want, change := range map[string]func(*httpOptions){
		`curl -v -A sonde/ -H 'Accept: */*' --json '{"a":1}' `:            func(o *httpOptions) { o.JSON = `{"a":1}` },
		`curl -v -A sonde/ --data-urlencode a+b=@c --data-urlencode z=1 `: func(o *httpOptions) { o.Form = map[string][]string{"z": {"1"}, "a b": {"@c"}} },
		`curl -v -A sonde/ --form-string a=@b --form 'c="d;e";type=text/x' `: func(o *httpOptions) {
			o.Multipart = []httpPart{{Name: "a", Value: "@b"}, {Name: "c", Value: "d;e", Type: "text/x"}}
		},
		`printf %s '"a"' | zstd -c | curl -v -A sonde/ -H 'Content-Type: application/json' -H 'Content-Enco`: func(o *httpOptions) { o.JSON, o.RequestCompression = `"a"`, "zstd" },
		`curl -v -A sonde/ --digest -u me:secret `:                                                           func(o *httpOptions) { o.Auth = httpAuth{Type: "digest", Username: "me", Password: "secret"} },
		`curl -v -A sonde/ -H "Authorization: Bearer $(cat '/to k')" `:                                       func(o *httpOptions) { o.Auth.TokenFile = "/to k" },
		`curl -v -A sonde/ -L --max-redirs 10 --unix-socket /run/x.sock `:                                    func(o *httpOptions) { o.Unix = "/run/x.sock" },
	} {
		plan := buildHTTP(t, "http://x.test/", change)
		line := strings.Replace(plan.Probe.(*httpProbe).reproduce(0, netip.Addr{}), "sonde/test", "sonde/", 1)
		if !strings.HasPrefix(line, want) {
			t.Errorf("%s\nwant %s", line, want)
		}
	}
	plan := buildHTTP(t, "http://x.test/", func(o *httpOptions) { o.Multipart, o.RequestCompression = []httpPart{{Name: "a"}}, "gzip" })
	if line := plan.Probe.(*httpProbe).reproduce(0, netip.Addr{}); line != "" {
		t.Errorf("no command does this, but there is %s", line)
	}
}

// TestHTTPBodyIsNotSentToStrangers holds for bodies that are made, too.
func TestHTTPBodyIsNotSentToStrangers(t *testing.T) {
	t.Parallel()
	other, last := recorder(t)
	site := httpSite(t, nil, http.RedirectHandler(other, http.StatusTemporaryRedirect))
	o := observeHTTP(t, site, patience, func(o *httpOptions) { o.JSON = `{"secret":1}` })
	wantFacts(t, o, check.FactsOf(map[string]any{"status": 307}))
	site = httpSite(t, nil, http.RedirectHandler(other, http.StatusSeeOther))
	o = observeHTTP(t, site, patience, func(o *httpOptions) { o.JSON, o.RequestCompression = `{"secret":1}`, "gzip" })
	wantFacts(t, o, check.FactsOf(map[string]any{"status": 200}))
	if got, want := last(), (sent{Method: "GET"}); got != want {
		t.Errorf("the stranger got %+v", got)
	}
}
