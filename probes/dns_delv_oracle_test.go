//go:build oracle && linux

package probes

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sonde-cli/sonde/probes/dnssec"
)

// delvAnchors writes the trust anchors of the lab as delv reads them.
func (lab *dnssecLab) delvAnchors(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(lab.anchors)
	if err != nil {
		t.Fatal(err)
	}
	var conf strings.Builder
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line) // test. IN DS tag algorithm type digest...
		fmt.Fprintf(&conf, "trust-anchors { %q static-ds %s %s %s %q; };\n", f[0], f[3], f[4], f[5], strings.Join(f[6:], ""))
	}
	file := filepath.Join(lab.dir, "delv.keys")
	write(t, file, conf.String())
	return file
}

// delvVerdict is what delv says of an answer, all parts of it together.
func delvVerdict(text string) string {
	switch {
	case strings.Contains(text, "unsigned answer"):
		return dnssec.Insecure
	case strings.Contains(text, "fully validated"):
		return dnssec.Secure
	case strings.Contains(text, "resolution failed"): // as it says of a denial, too
		return dnssec.Bogus
	}
	return "nothing"
}

// TestOracleDelv validates what BIND's own validator does, up to the same anchor
// and at the same server.
func TestOracleDelv(t *testing.T) {
	lab := startLab(t)
	anchors, delv := lab.delvAnchors(t), need(t, "delv", "bind9-dnsutils")
	seen := make(map[string]int)
	for _, z := range labZones() {
		for _, q := range []struct{ name, qtype string }{
			{"www", "A"}, {"www", "AAAA"}, {"none", "A"}, {"x.y.none", "A"}, {"a.wild", "A"}, {"a.wild", "MX"}, {"b.ent", "A"},
			{"alias", "A"}, {"ns", "DS"}, {"", "DNSKEY"}, {"", "SOA"},
		} {
			name := strings.TrimPrefix(q.name+"."+z.name, ".")
			// It fails where the answer is bogus.
			text, _ := exec.Command(delv, "-a", anchors, "+root=test", "@127.0.0.1", "-p", strings.TrimPrefix(lab.unbound, "127.0.0.1:"), name, q.qtype).CombinedOutput()
			want := delvVerdict(string(text))
			if z.algo == "RSASHA1" && want == dnssec.Secure {
				want = dnssec.Insecure // RFC 9905, which is younger than Debian's BIND
			}
			denied := q.name == "none" || q.name == "x.y.none" || q.name == "a.wild" && q.qtype == "MX"
			if z.name == "optout.test." && denied && want == dnssec.Secure {
				want = dnssec.Insecure // RFC 5155 section 9.2: no AD where there may be a delegation, as unbound has it
			}
			seen[want]++
			o := lab.validates(t, lab.unbound, name, q.qtype)
			wantFailure(t, o, "")
			if got := o.Facts.Get("dnssec.status"); got != want {
				t.Errorf("%s %s: %v (%v), delv says %s\n%s", name, q.qtype, got, o.Facts.Get("dnssec.reason"), want, text)
			}
			if exp, ok := o.Facts.Get("dnssec.expires_in").(time.Duration); want == dnssec.Secure && (!ok || exp <= 0) {
				t.Errorf("%s %s: expires in %v", name, q.qtype, exp)
			}
		}
	}
	for _, verdict := range []string{dnssec.Secure, dnssec.Insecure, dnssec.Bogus} {
		if seen[verdict] < 10 {
			t.Errorf("delv said %s %d times: %v", verdict, seen[verdict], seen)
		}
	}
}
