//go:build oracle

package probes

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/sonde-cli/sonde/check"
)

// unboundConf is a server of local data only, on one port of loopback.
const unboundConf = `
server:
  interface: 127.0.0.1@%[1]d
  port: %[1]d
  directory: "%[2]s"
  chroot: ""
  username: ""
  pidfile: ""
  use-syslog: no
  logfile: "%[2]s/log"
  do-daemonize: no
  do-ip6: no
  module-config: "iterator"
  do-not-query-localhost: no
  root-hints: ""
  local-zone: "." refuse
  local-zone: "test." static
  local-data: "test. 60 IN SOA ns.test. admin.test. 1 3600 600 86400 60"
  local-data: "web.test. 60 IN A 192.0.2.1"
  local-data: "web.test. 60 IN A 192.0.2.2"
  local-data: "web.test. 60 IN AAAA 2001:db8::1"
  local-data: "web.test. 120 IN MX 10 mail.test."
  local-data: 'web.test. 30 IN TXT "v=spf1 -all" "second; \"string\""'
  local-data: "web.test. 300 IN CAA 0 issue ca.example"
  local-data: "web.test. 300 IN SSHFP 4 2 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
  local-data: "web.test. 300 IN NAPTR 100 10 U E2U+sip !^.*$!sip:x@test! ."
  local-data: "web.test. 300 IN LOC 52 22 23.000 N 14 53 32.000 E 2.50m 0.00m 10000m 10m"
  local-data: "web.test. 300 IN TYPE65280 \# 3 0102ab"
  local-data: "_sip._tcp.test. 60 IN SRV 1 2 5060 web.test."
  local-data: "_443._tcp.test. 60 IN TLSA 3 1 1 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
  local-data: "svc.test. 60 IN HTTPS 1 . alpn=h2,h3 port=8443"
  local-data: "alias.test. 60 IN CNAME web.test."
  local-data: "test. 60 IN NS ns.test."
  local-data: "test. 60 IN NS ns2.test."
  local-data-ptr: "192.0.2.1 3600 web.test"
remote-control:
  control-enable: no
`

// need fails the test when a program of Debian is missing.
func need(t *testing.T, program, pkg string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		path = "/usr/sbin/" + program
		if _, err := os.Stat(path); err != nil {
			t.Fatalf("%s is missing, install the package %s", program, pkg)
		}
	}
	return path
}

// unbound starts the server and returns its address.
func unbound(t *testing.T) string {
	t.Helper()
	program := need(t, "unbound", "unbound")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	l.Close()
	dir := t.TempDir()
	conf := filepath.Join(dir, "unbound.conf")
	var data strings.Builder
	for line := range strings.Lines(fmt.Sprintf(unboundConf, port, dir)) {
		data.WriteString(line)
	}
	for i := range 600 {
		fmt.Fprintf(&data, "server:\n  local-data: \"large.test. 60 IN A 10.0.%d.%d\"\n", i/256, i%256)
	}
	if err := os.WriteFile(conf, []byte(data.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "-d", "-c", conf)
	out := &strings.Builder{}
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		if log, _ := os.ReadFile(filepath.Join(dir, "log")); t.Failed() {
			t.Logf("unbound: %s%s", out, log)
		}
	})
	addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	for deadline := time.Now().Add(20 * time.Second); ; {
		conn, err := net.Dial("tcp", addr)
		if err == nil {
			conn.Close()
			return addr
		}
		if time.Now().After(deadline) {
			t.Fatalf("unbound does not listen: %v", err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		<-ctx.Done()
		cancel()
	}
}

// digAnswer is what dig says of the same question.
type digAnswer struct {
	rcode      string
	flags      []string
	answers    []string
	ttls       []int
	edns       int
	truncation bool
}

var (
	digStatus = regexp.MustCompile(`status: (\w+)`)
	digFlags  = regexp.MustCompile(`;; flags: ([^;]*);`)
	digUDP    = regexp.MustCompile(`udp: (\d+)`)
)

// digs runs the reproduce line of an observation.
func digs(t *testing.T, command string) digAnswer {
	t.Helper()
	need(t, "dig", "bind9-dnsutils")
	text, err := exec.Command("sh", "-c", command+" +nocookie").CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", command, err, text)
	}
	var a digAnswer
	if m := digStatus.FindSubmatch(text); m != nil {
		a.rcode = string(m[1])
	}
	if m := digFlags.FindSubmatch(text); m != nil {
		a.flags = strings.Fields(string(m[1]))
	}
	if m := digUDP.FindSubmatch(text); m != nil {
		a.edns, _ = strconv.Atoi(string(m[1]))
	}
	a.truncation = strings.Contains(string(text), "Truncated, retrying in TCP")
	_, section, _ := strings.Cut(string(text), ";; ANSWER SECTION:\n")
	section, _, _ = strings.Cut(section, "\n\n")
	for line := range strings.Lines(section) {
		words := strings.Fields(line)
		if len(words) < 5 {
			continue
		}
		ttl, _ := strconv.Atoi(words[1])
		a.ttls = append(a.ttls, ttl)
		if strings.Contains(command, " -t "+words[3]+" ") || strings.Contains(command, " -t ANY ") {
			a.answers = append(a.answers, plainData(strings.Join(words[4:], "")))
		}
	}
	return a
}

// TestOracleDNS asks a real unbound and compares what sonde saw with what dig
// sees of the same question; the reproduce line makes dig ask it.
func TestOracleDNS(t *testing.T) {
	server := unbound(t)
	tests := []struct{ name, qtype, transport string }{
		{"web.test", "A", "auto"}, {"web.test", "A", "tcp"}, {"WEB.test", "AAAA", "udp"},
		{"web.test", "MX", "auto"}, {"web.test", "TXT", "auto"}, {"web.test", "CAA", "auto"},
		{"web.test", "SSHFP", "auto"}, {"web.test", "NAPTR", "auto"}, {"web.test", "LOC", "auto"},
		{"web.test", "TYPE65280", "auto"}, {"web.test", "ANY", "tcp"}, {"web.test", "CNAME", "auto"},
		{"_sip._tcp.test", "SRV", "auto"}, {"_443._tcp.test", "TLSA", "auto"}, {"svc.test", "HTTPS", "auto"},
		{"alias.test", "A", "auto"}, {"alias.test", "CNAME", "auto"}, {"test", "SOA", "auto"}, {"test", "NS", "auto"},
		{"192.0.2.1", "PTR", "auto"}, {"none.test", "A", "auto"}, {"refused.example", "A", "auto"},
		{"large.test", "A", "auto"}, {"large.test", "A", "tcp"},
	}
	for _, tt := range tests {
		for _, edns := range []int{0, 1232} {
			t.Run(fmt.Sprintf("%s %s %s %d", tt.name, tt.qtype, tt.transport, edns), func(t *testing.T) {
				o := observeDNS(t, buildDNS(t, server, func(o *dnsOptions) {
					o.Name, o.Type, o.Transport, o.EDNS.Size = tt.name, tt.qtype, tt.transport, edns
				}), time.Minute)
				wantFailure(t, o, "")
				dig := digs(t, o.Reproduce())
				var ttls []int
				for _, name := range []string{"ttl.min", "ttl.max"} {
					if ttl, ok := o.Facts.Get(name).(time.Duration); ok {
						ttls = append(ttls, int(ttl/time.Second))
					}
				}
				size, _ := o.Facts.Get("edns.size").(int)
				got := digAnswer{
					rcode: o.Facts.Get("rcode").(string), flags: o.Facts.Get("flags").([]string), ttls: ttls,
					answers: plainAll(o.Facts.Get("answers").([]string)), edns: size, truncation: o.Facts.Get("truncated").(bool),
				}
				dig.ttls = minmax(dig.ttls)
				sorted := cmpopts.SortSlices(func(a, b string) bool { return a < b }) // unbound rotates the records
				if diff := cmp.Diff(dig, got, cmp.AllowUnexported(digAnswer{}), sorted, cmpopts.EquateEmpty()); diff != "" {
					t.Errorf("%s\n(-dig +sonde):\n%s", o.Reproduce(), diff)
				}
			})
		}
	}
}

func minmax(n []int) []int {
	if len(n) == 0 {
		return nil
	}
	low, high := n[0], n[0]
	for _, v := range n {
		low, high = min(low, v), max(high, v)
	}
	return []int{low, high}
}

// plainData leaves out what two writers of the presentation format may do
// differently: the case of hexadecimal digits, spaces in them, quotes.
func plainData(text string) string {
	return strings.ToLower(strings.NewReplacer(" ", "", `"`, "").Replace(text))
}

func plainAll(texts []string) []string {
	out := make([]string, len(texts))
	for i, s := range texts {
		out[i] = plainData(s)
	}
	return out
}

// TestOracleResolve resolves with a real unbound as the system's resolver.
func TestOracleResolve(t *testing.T) {
	host, port, _ := strings.Cut(unbound(t), ":")
	s := testSystem(t, "nameserver ["+host+"]:"+port+"\nsearch test\n", "")
	for name, want := range map[string]int{"web.test": 3, "web": 3, "large.test": maxAddresses, "none.test": 0} {
		addrs, reason := begin().resolve(within(t, time.Minute), &router{system: s}, name)
		if len(addrs) != want || want == 0 && resolveCode(reason) != check.DNSNXDomain {
			t.Errorf("%s: %d addresses, want %d; %+v", name, len(addrs), want, reason)
		}
	}
}
