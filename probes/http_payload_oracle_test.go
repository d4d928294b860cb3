//go:build oracle

package probes

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sonde-cli/sonde/check"
	"github.com/sonde-cli/sonde/internal/testnet"
)

// rawRecorder is a site over TCP, and over a Unix socket, that keeps the header
// fields which tell about the body, and the body. What is random in a boundary
// is the same for all.
func rawRecorder(t *testing.T) (site, socket string, last func() string) {
	t.Helper()
	got := make(chan string, 16)
	boundary := regexp.MustCompile(`-*(sonde-[0-9a-f]{32}|-{20,}[0-9A-Za-z]+)`)
	handler := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		head := fmt.Sprintf("%s %s %s\n%s\n%s\n", r.Method, r.Host, r.RequestURI, r.Header["Content-Type"], r.Header["Accept"])
		if coding := r.Header.Get("Content-Encoding"); coding != "" { // encoders differ, what they encode does not
			reader, done, err := decode(strings.NewReader(string(body)), coding, 1<<20)
			if err == nil {
				body, _ = io.ReadAll(reader)
				done()
			}
			head += coding + "\n"
		}
		got <- boundary.ReplaceAllString(head+string(body), "BOUNDARY")
	})
	return httpSite(t, nil, handler), socketSite(t, handler), func() string { return <-got }
}

// TestOracleCurlBodies sends each body and has curl send it, by the line that
// reproduces the check: the server sees the same, byte by byte.
func TestOracleCurlBodies(t *testing.T) {
	site, socket, last := rawRecorder(t)
	file := tempFile(t, "a file.bin", []byte("\x00\x01\r\n--boundary\r\n"))
	for name, change := range map[string]func(*httpOptions){
		"json":                 func(o *httpOptions) { o.JSON = `{"it's":"ü $HOME","n":1.50,"list":[null,true]}` },
		"json, another method": func(o *httpOptions) { o.JSON, o.Method = `[]`, "PUT" },
		"json, own type": func(o *httpOptions) {
			o.JSON, o.Headers = `{}`, map[string]string{"Content-Type": "application/vnd.api+json", "Accept": "text/html"}
		},
		"form": func(o *httpOptions) {
			o.Form = map[string][]string{"name": {"it's $HOME&=+ü", "", "@x"}, "a b&": {"1"}}
		},
		"multipart": func(o *httpOptions) {
			o.Multipart = []httpPart{
				{Name: "title", Value: "@it's; type=x\n\"$HOME\" ü"}, {Name: `a"b`, Value: "<x"}, {Name: "doc", Value: `{"a;b": "c\"d\\e"}`, Type: "application/json"},
				{Name: "file", File: file}, {Name: "file", File: file, Filename: `x "y".png`, Type: "image/png"}, {Name: "named", Value: "v", Filename: "v.txt"},
			}
		},
		"gzip":         func(o *httpOptions) { o.Body, o.RequestCompression = "it's\nhello", "gzip" },
		"deflate form": func(o *httpOptions) { o.Form, o.RequestCompression = map[string][]string{"a": {"ü &"}}, "deflate" },
		"br json":      func(o *httpOptions) { o.JSON, o.RequestCompression = `{"a":"it's"}`, "br" },
		"zstd file":    func(o *httpOptions) { o.BodyFile, o.RequestCompression = file, "zstd" },
		"unix socket":  func(o *httpOptions) { o.JSON, o.Unix = `1`, socket },
	} {
		t.Run(name, func(t *testing.T) {
			o := observeHTTP(t, site+"/x?y", patience, change)
			wantFailure(t, o, "")
			want := last()
			line := o.Reproduce()
			if out, err := exec.CommandContext(t.Context(), "bash", "-c", line+" -sSf").CombinedOutput(); err != nil {
				t.Fatalf("%s: %v\n%s", line, err, out)
			}
			if diff := cmp.Diff(want, last()); diff != "" {
				t.Errorf("%s\nsonde and curl differ (-sonde +curl):\n%s", line, diff)
			}
		})
	}
}

// TestOracleCurlTokens runs the reproduce lines that get a token first.
func TestOracleCurlTokens(t *testing.T) {
	echo := httpSite(t, nil, testnet.Site()) + "/echo"
	s := newIssuer(t, `,"expires_in":3600`)
	for name, c := range map[string]struct {
		change func(*httpOptions)
		token  string
	}{
		"file":   {func(o *httpOptions) { o.Auth.TokenFile = tempFile(t, "to k", []byte("filed-t0ken\n")) }, "Bearer filed-t0ken"},
		"header": {grantOf(s.url), "Bearer t0ken-2"},
		"body": {func(o *httpOptions) {
			grantOf(s.url)(o)
			o.Auth.OAuth2.AuthStyle, o.Auth.OAuth2.Scopes = "body", []string{"a", "b"}
		}, "Bearer t0ken-"},
	} {
		o := observeHTTP(t, echo, patience, c.change, "json")
		if !strings.HasPrefix(bearer(o), "Bearer ") {
			t.Errorf("%s: sent %q", name, bearer(o))
		}
		out, err := exec.CommandContext(t.Context(), "bash", "-c", o.Reproduce()+" -sS").Output()
		if err != nil || !strings.Contains(string(out), "Bearer ") || name == "file" && !strings.Contains(string(out), c.token) {
			t.Errorf("%s: %s\n%v, %s", name, o.Reproduce(), err, out)
		}
	}
	for i := 0; i+1 < len(s.asked); i += 2 { // what sonde asked, and then curl
		if s.asked[i] != s.asked[i+1] && !sameForm(s.asked[i], s.asked[i+1]) {
			t.Errorf("sonde asked %s\ncurl %s", s.asked[i], s.asked[i+1])
		}
	}
}

// sameForm compares token requests whatever the order of their parameters.
func sameForm(a, b string) bool { return cmp.Equal(strings.Fields(a), strings.Fields(b)) }

// lighttpdConfig demands a digest of each request below /md5 and /sha256, both
// of lighttpd's own making.
const lighttpdConfig = `
server.document-root = "%[1]s/root"
server.port = %[2]s
server.bind = "127.0.0.1"
server.errorlog = "%[1]s/error.log"
server.modules = ("mod_auth", "mod_authn_file")
auth.backend = "plain"
auth.backend.plain.userfile = "%[1]s/users"
auth.require = (
	"/md5" => ("method" => "digest", "realm" => "the realm", "require" => "valid-user", "algorithm" => "MD5"),
	"/sha256" => ("method" => "digest", "realm" => "sonde", "require" => "valid-user", "algorithm" => "SHA-256"),
	"/both" => ("method" => "digest", "realm" => "sonde", "require" => "valid-user", "algorithm" => "MD5|SHA-256")
)
`

// startLighttpd runs lighttpd on loopback until the test ends.
func startLighttpd(t *testing.T) string {
	t.Helper()
	program, err := exec.LookPath("lighttpd")
	if err != nil {
		if program, err = exec.LookPath("/usr/sbin/lighttpd"); err != nil {
			t.Fatal("lighttpd is missing: install lighttpd")
		}
	}
	dir, port := t.TempDir(), freePort(t)
	for name, text := range map[string]string{
		"lighttpd.conf": fmt.Sprintf(lighttpdConfig, dir, port), "users": "me:s3cret\n",
		"root/md5": "md5", "root/sha256": "sha256", "root/both": "both", "root/open": "open",
	} {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(program, "-D", "-f", filepath.Join(dir, "lighttpd.conf"))
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	awaitPort(t, port, filepath.Join(dir, "error.log"))
	return "http://" + net.JoinHostPort("127.0.0.1", port)
}

// TestOracleDigest logs in at lighttpd, as curl does.
func TestOracleDigest(t *testing.T) {
	site := startLighttpd(t)
	for _, c := range []struct {
		path, password string
		status         int
		challenged     bool
	}{
		{"/md5", "s3cret", 200, true}, {"/sha256", "s3cret", 200, true}, {"/both?a=\"b,c", "s3cret", 200, true},
		{"/md5", "wrong", 401, true}, {"/sha256", "wrong", 401, true}, {"/open", "s3cret", 200, false},
	} {
		o := observeHTTP(t, site+c.path, patience, digestOf("me", c.password), "body")
		wantFacts(t, o, check.FactsOf(map[string]any{"status": c.status, "auth.challenged": c.challenged}))
		out, err := exec.CommandContext(t.Context(), "bash", "-c", o.Reproduce()+" -sS -o /dev/null -w '%{http_code}'").Output()
		if want := fmt.Sprint(c.status); err != nil || string(out) != want {
			t.Errorf("%s\n%v, status %s, want %s", o.Reproduce(), err, out, want)
		}
		wantBody := strings.Split(c.path[1:], "?")[0]
		if body := o.Facts.Get("body"); c.status == 200 && body != wantBody {
			t.Errorf("%s: body %q", c.path, body)
		}
	}
}
