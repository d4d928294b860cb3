//go:build oracle && linux

package probes

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"

	"github.com/sonde-cli/sonde/check"
	"github.com/sonde-cli/sonde/internal/testnet"
)

// labSOA begins the zones of a lab.
const labSOA = "$TTL 60\n@ SOA ns.test. admin.test. 9 1 2 3 4\n"

// awaitZone waits until a server has loaded the zone.
func awaitZone(t *testing.T, addr, zone string) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); <-tick.C {
		m, err := dns.Exchange(new(dns.Msg).SetQuestion(zone, dns.TypeSOA), addr)
		if err == nil && m.Rcode == dns.RcodeSuccess {
			return
		}
	}
	t.Fatalf("%s does not answer for %s", addr, zone)
}

// bind is a BIND with DNS over HTTPS.
type bind struct {
	plain, https string // addresses
	roots        string // file of the certificate's authority
}

func startBind(t *testing.T) bind {
	t.Helper()
	dir := t.TempDir()
	ca, err := testnet.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	cert, err := ca.Issue(testnet.CertOptions{Names: []string{"127.0.0.1"}})
	if err != nil {
		t.Fatal(err)
	}
	chain, key, err := testnet.KeyPEM(cert)
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "cert.pem"), string(chain))
	write(t, filepath.Join(dir, "key.pem"), string(key))
	write(t, filepath.Join(dir, "ca.pem"), string(ca.PEM()))
	write(t, filepath.Join(dir, "test"), labSOA+"@ NS ns\nns A 127.0.0.2\nwww A 192.0.2.1\nwww A 192.0.2.2\n")
	port, secure := labPort(t), labPort(t)
	conf := filepath.Join(dir, "named.conf")
	write(t, conf, fmt.Sprintf(`
tls lab { cert-file "%[1]s/cert.pem"; key-file "%[1]s/key.pem"; };
options {
	directory "%[1]s"; pid-file none; session-keyfile none; recursion no; dnssec-validation no; minimal-responses no;
	listen-on port %[2]d { 127.0.0.1; };
	listen-on port %[3]d tls lab http default { 127.0.0.1; };
	listen-on-v6 { none; };
	server-id "lab1"; version "lab 9"; response-padding { any; } block-size 468;
};
controls { };
zone "test" { type primary; file "test"; };
`, dir, port, secure))
	b := bind{https: fmt.Sprintf("127.0.0.1:%d", secure), roots: filepath.Join(dir, "ca.pem")}
	b.plain = start(t, port, "", need(t, "named", "bind9"), "-g", "-c", conf)
	awaitZone(t, b.plain, "test.")
	return b
}

// reproduced runs the reproduce line.
func reproduced(t *testing.T, o check.Observation) string {
	t.Helper()
	need(t, "dig", "bind9-dnsutils")
	out, err := exec.Command("sh", "-c", o.Reproduce()).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", o.Reproduce(), err, out)
	}
	return string(out)
}

func TestOracleDNSOverHTTPS(t *testing.T) {
	b := startBind(t)
	for _, method := range []string{"GET", "POST"} {
		for _, name := range []string{"test", "none", "."} {
			o := observeDNS(t, buildDNS(t, "https://"+b.https, func(o *dnsOptions) {
				o.Name, o.Type, o.Method, o.TLS.CA = name, "NS", method, b.roots
			}), time.Minute)
			wantFailure(t, o, "")
			wantFacts(t, o, check.FactsOf(map[string]any{"http.status": 200, "http.version": "2", "cert.trusted": true, "cert.hostname_ok": true}))
			text := reproduced(t, o)
			if want := "status: " + o.Facts.Get("rcode").(string); !strings.Contains(text, want) {
				t.Errorf("want %s in\n%s", want, text)
			}
			for _, answer := range o.Facts.Get("answers").([]string) {
				if !strings.Contains(text, answer) {
					t.Errorf("want %s in\n%s", answer, text)
				}
			}
			if want := "(HTTPS"; !strings.Contains(text, want) {
				t.Errorf("dig did not use HTTPS:\n%s", text)
			}
		}
	}
}

func TestOracleEDNS(t *testing.T) {
	b := startBind(t)
	o := observeDNS(t, buildDNS(t, b.plain, func(o *dnsOptions) {
		o.Name, o.Transport = "www.test", "tcp"
		o.EDNS = dnsEDNS{Size: 1232, Subnet: "198.51.100.0/24", NSID: true, Cookie: true, Padding: 128}
	}), time.Minute)
	wantFailure(t, o, "")
	text := reproduced(t, o)
	got := map[string]any{"edns.nsid": nil, "edns.cookie": strings.Contains(text, "(good)")}
	if m := regexp.MustCompile(`NSID: .*\("(.*)"\)`).FindStringSubmatch(text); m != nil {
		got["edns.nsid"] = m[1]
	}
	if m := regexp.MustCompile(`CLIENT-SUBNET: (\S+)/(\d+)\n`).FindStringSubmatch(text); m != nil {
		got["edns.subnet"] = m[1]
	}
	if got["edns.nsid"] == nil || got["edns.cookie"] != true {
		t.Fatalf("dig shows no NSID or cookie:\n%s", text)
	}
	if diff := cmp.Diff(got["edns.subnet"], o.Facts.Get("edns.subnet")); diff != "" {
		t.Errorf("client subnet (-dig +sonde):\n%s\n%s", diff, text)
	}
	wantFacts(t, o, check.FactsOf(map[string]any{"edns.nsid": got["edns.nsid"], "edns.cookie": got["edns.cookie"]}))
	for name, want := range map[string]string{"version.bind": `"lab 9"`, "id.server": `"lab1"`} {
		o := observeDNS(t, buildDNS(t, b.plain, func(o *dnsOptions) { o.Name, o.Type, o.Class = name, "TXT", "CH" }), time.Minute)
		if text := reproduced(t, o); !strings.Contains(text, want) {
			t.Errorf("dig does not show %s:\n%s", want, text)
		}
		wantFacts(t, o, check.FactsOf(map[string]any{"answers": []string{want}}))
	}
}

// nsd runs an authority at an address of loopback, of one zone.
func nsd(t *testing.T, ip string, port int, zone, records string) {
	t.Helper()
	dir := t.TempDir()
	conf, file := filepath.Join(dir, "nsd.conf"), filepath.Join(dir, "zone")
	write(t, file, "$ORIGIN "+zone+"\n"+labSOA+records)
	write(t, conf, fmt.Sprintf(`
server:
  ip-address: %[1]s@%[2]d
  port: %[2]d
  username: ""
  zonesdir: "%[3]s"
  pidfile: ""
  xfrdfile: ""
  xfrdir: "%[3]s"
  zonelistfile: "%[3]s/zones"
  server-count: 1
remote-control:
  control-enable: no
zone:
  name: "%[4]s"
  zonefile: "%[5]s"
`, ip, port, dir, zone, file))
	start(t, port, "", need(t, "nsd", "nsd"), "-d", "-c", conf)
	awaitZone(t, fmt.Sprintf("%s:%d", ip, port), zone)
}

// TestOracleTrace walks through real authorities, of which one is lame.
func TestOracleTrace(t *testing.T) {
	port := labPort(t)
	nsd(t, "127.0.0.1", port, ".", "@ NS ns.test.\ntest. NS ns.test.\nns.test. A 127.0.0.2\n")
	nsd(t, "127.0.0.2", port, "test.", "@ NS ns\nns A 127.0.0.2\nweb NS ns1.web\nweb NS ns2.web\nns1.web A 127.0.0.3\nns2.web A 127.0.0.4\n")
	nsd(t, "127.0.0.3", port, "web.test.", "@ NS ns1\nns1 A 127.0.0.3\nwww A 192.0.2.1\nwww A 192.0.2.2\n")
	nsd(t, "127.0.0.4", port, "other.test.", "@ NS ns1\nns1 A 127.0.0.4\n")
	o := observeDNS(t, buildDNS(t, fmt.Sprintf("127.0.0.1:%d", port), func(o *dnsOptions) {
		o.Name, o.Trace = "www.web.test", true
	}), time.Minute)
	wantFailure(t, o, "")
	path := o.Facts.Get("delegation.path").([]string)
	wantFacts(t, o, check.FactsOf(map[string]any{
		"delegation.path":       []string{".", "test.", "web.test."},
		"delegation.parent_ns":  []string{"ns1.web.test.", "ns2.web.test."},
		"delegation.child_ns":   []string{"ns1.web.test."},
		"delegation.consistent": false,
		"answer_count":          2,
	}))
	lame := o.Facts.Get("delegation.lame").([]string)
	if len(lame) == 0 || !strings.HasPrefix(lame[0], "ns2.web.test (127.0.0.4) for web.test: ") {
		t.Errorf("lame %q", lame)
	}
	// dig sees the same of each server on the way.
	for i, ip := range []string{"127.0.0.1", "127.0.0.2"} {
		text := run(t, "", need(t, "dig", "bind9-dnsutils"), "@"+ip, "-p", fmt.Sprint(port), "+norecurse", "www.web.test")
		if !strings.Contains(text, "\n"+path[i+1]) || !strings.Contains(text, "\tNS\t") {
			t.Errorf("no delegation to %s at %s:\n%s", path[i+1], ip, text)
		}
	}
}
