package cmd

import (
	"net/url"
	"strings"
	"testing"

	"github.com/sonde-cli/sonde/config"
	"github.com/sonde-cli/sonde/probes"
)

// FuzzTarget takes anything for a target of the command line, of every kind:
// there is a check or an error, and neither shows the password of a URL.
func FuzzTarget(f *testing.F) {
	for _, target := range []string{
		"https://user:hunter22@example.com/a?b=c#d", "example.com", "db:5432", "[::1]:443", "tcp://a:1", "tls://a?starttls=smtp",
		"dns://1.1.1.1/example.com?type=MX", "dns:a?type=A", "icmp://[fe80::1%25eth0]", "icmp://192.0.2.0/28", "wss://a/b", "grpc://h:1/s",
		"exec://x", "://", "http://%zz", "https://${HOST}/", "${file:/dev/null}", "a b", "\x00", "icmp://münchen.example",
	} {
		f.Add(target)
	}
	kinds := probes.Kinds()
	f.Fuzz(func(t *testing.T, target string) {
		loader := config.Loader{Kinds: kinds, LookupEnv: func(string) (string, bool) { return "", false }}
		c, err := loader.Target(target, config.TargetOptions{})
		if (c == nil) == (err == nil) {
			t.Fatalf("check %v, error %v", c, err)
		}
		shown := ""
		if err != nil {
			shown = err.Error()
		} else {
			shown = c.ID + c.Name + c.Target
			if c.Probe == nil || c.Kind == "" || c.Target == "" {
				t.Errorf("%+v", c)
			}
		}
		u, err := url.Parse(target)
		if err != nil || u.User == nil {
			return
		}
		// One that also stands elsewhere in the target says nothing.
		password, _ := u.User.Password()
		if len(password) >= 8 && strings.Count(target, password) == 1 && strings.Contains(shown, password) {
			t.Errorf("%q is in %q", password, shown)
		}
	})
}
