package probes

import (
	"net/netip"
	"os/exec"
	"strings"
	"testing"

	"github.com/sonde-cli/sonde/check"
)

// TestShortSecretsAreHiddenInTheirPlace looks at the lines to reproduce for
// secrets that no mask searches for in whole texts, being too short.
func TestShortSecretsAreHiddenInTheirPlace(t *testing.T) {
	t.Parallel()
	route := Route{Resolver: "127.0.0.1:1"} // nothing listens there
	via := Proxied{Proxy: "http://me:q7@127.0.0.1:1"}
	web := func(auth httpAuth, change func(*httpOptions)) *httpOptions {
		o := newHTTPOptions()
		o.URL, o.Auth = "http://127.0.0.1:1/", auth
		if change != nil {
			change(o)
		}
		return o
	}
	oauth := httpOAuth2{TokenURL: "http://127.0.0.1:1/", ClientID: "me", ClientSecret: "q7"}
	inBody := oauth
	inBody.AuthStyle = "body"
	for name, o := range map[string]check.Options{
		"redis":         &redisOptions{Host: "x.test", User: "me", Password: "q7", Route: route},
		"postgres":      &sqlOptions{Host: "x.test", User: "me", Password: "q7", Query: "SELECT 1", Route: route},
		"mysql":         &sqlOptions{Driver: "mysql", Host: "x.test", User: "me", Password: "q7", Query: "SELECT 1", Route: route},
		"digest":        web(httpAuth{Type: "digest", Username: "me", Password: "q7"}, nil),
		"oauth":         web(httpAuth{OAuth2: oauth}, nil),
		"oauth in body": web(httpAuth{OAuth2: inBody}, nil),
		"header":        web(httpAuth{}, func(o *httpOptions) { o.Headers = map[string]string{"X-Api-Key": "q7"} }),
		"form":          web(httpAuth{}, func(o *httpOptions) { o.Form = map[string][]string{"password": {"q7"}} }),
		"multipart":     web(httpAuth{}, func(o *httpOptions) { o.Multipart = []httpPart{{Name: "password", Value: "q7"}} }),
		"http proxy":    web(httpAuth{}, func(o *httpOptions) { o.Proxied = via }),
		"tcp proxy":     &tcpOptions{Host: "x.test", Port: 1, MaxBanner: 1, Proxied: via},
		"tls proxy":     &tlsOptions{Host: "x.test", Port: 1, Proxied: via, StartTLS: "smtp"},
		"exec":          &execOptions{Command: []string{"false"}, Env: map[string]string{"PASSWORD": "q7"}, MaxOutput: 1 << 10},
	} {
		plan, err := o.Build(needs())
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		line := plan.Probe.Observe(within(t, patience)).Reproduce()
		if strings.Contains(line, "q7") || !strings.Contains(line, check.Masked) {
			t.Errorf("%s: %s", name, line)
		}
	}
}

// TestShellTakesWordsAsTheyAre gives a shell that knows no $'...' words that try to
// be more than words.
func TestShellTakesWordsAsTheyAre(t *testing.T) {
	t.Parallel()
	for _, word := range []string{"it's $(echo x)", "`echo x`", "a\nb'$(echo x >&2)'", "\x1b'; echo x >&2; '", "\xff'|cat", "~", "*", "{a,b}", "if"} {
		var printed, errors strings.Builder
		cmd := exec.Command("sh", "-c", "printf %s "+shellQuote(word))
		cmd.Stdout, cmd.Stderr = &printed, &errors
		if err := cmd.Run(); err != nil || errors.Len() > 0 {
			t.Errorf("%q: %v, %s", word, err, errors.String())
		}
		if got := printed.String(); got != word && !strings.Contains(shellQuote(word), "$'") {
			t.Errorf("%q became %q", word, got)
		}
	}
}

// TestTCPReproducesTheDialogue holds the dialogue of the check, not only its
// connection.
func TestTCPReproducesTheDialogue(t *testing.T) {
	t.Parallel()
	o := tcpOptions{Host: "db.test", Port: 22, MaxBanner: 1, Steps: steps("", "^220", "it's\r\n", "x", "\x00", "")}
	for want, tls := range map[string]*TLS{
		`{ sleep 1; printf %s $'it\047s\r\n'; sleep 1; echo 00 | xxd -r -p; } | nc -v -w2 db.test 22`: nil,
		`{ sleep 1; printf %s $'it\047s\r\n'; sleep 1; echo 00 | xxd -r -p; } | openssl s_client -quiet -connect db.test:22 -servername db.test`: {
			Insecure: true,
		},
	} {
		o.TLS = tls
		plan, err := o.Build(needs())
		if err != nil {
			t.Fatal(err)
		}
		if got := reproduceLine(plan); got != want {
			t.Errorf("%s\n%s", got, want)
		}
	}
	o.TLS, o.Proxy = nil, "http://127.0.0.1:1"
	plan, err := o.Build(needs())
	if err != nil {
		t.Fatal(err)
	}
	p := plan.Probe.(*tcpProbe)
	if got := p.reproduce(netip.Addr{}); !strings.HasPrefix(got, "{ sleep 1; printf ") || !strings.HasSuffix(got, " telnet://db.test:22") {
		t.Error(got)
	}
}

// TestClientsTakeNoCommandOfTheirOwn looks at a statement that would be a command
// of the database's client, which runs programs.
func TestClientsTakeNoCommandOfTheirOwn(t *testing.T) {
	t.Parallel()
	for driver, want := range map[string]string{"postgres": `-c ' \! id'`, "mysql": `-e ' \! id'`} {
		o := &sqlOptions{Driver: driver, Host: "127.0.0.1", Port: 1, User: "me", Query: `\! id`}
		plan, err := o.Build(needs())
		if err != nil {
			t.Fatal(err)
		}
		if got := plan.Probe.Observe(within(t, patience)).Reproduce(); !strings.HasSuffix(got, want) {
			t.Errorf("%s, want %s", got, want)
		}
	}
}
