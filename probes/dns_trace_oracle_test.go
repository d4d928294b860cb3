//go:build oracle && linux

package probes

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sonde-cli/sonde/check"
)

const digTraceChild = "SONDE_TEST_DIG_TRACE"

// TestOracleDigTrace walks from the root beside dig +trace, in a network namespace
// where one of the root's addresses is ours and the resolver is a BIND.
func TestOracleDigTrace(t *testing.T) {
	if os.Getenv(digTraceChild) != "" {
		digTrace(t)
		return
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	conf := tempFile(t, "resolv.conf", []byte("nameserver 127.0.0.1\n"))
	cmd := exec.CommandContext(t.Context(), "unshare", "-n", "-m", "sh", "-c",
		`ip link set lo up && ip addr add "$1/32" dev lo && mount --bind "$2" /etc/resolv.conf && exec "$0" -test.run '^TestOracleDigTrace$'`, self, rootServers[0], conf)
	cmd.Env = append(os.Environ(), digTraceChild+"=1")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

// startTree runs a root, two top level domains, and below them a zone whose
// servers have glue and one whose server is in the other domain.
func startTree(t *testing.T) {
	t.Helper()
	nsd(t, rootServers[0], dnsPort, ".", "@ NS a.root.test.\na.root.test. A "+rootServers[0]+"\ntest. NS ns.test.\nns.test. A 127.0.0.3\nexample. NS ns.example.\nns.example. A 127.0.0.4\n")
	nsd(t, "127.0.0.3", dnsPort, "test.", "@ NS ns\nns A 127.0.0.3\na.root A "+rootServers[0]+"\nweb NS ns1.web\nns1.web A 127.0.0.5\nout NS ns.out.example.\n")
	nsd(t, "127.0.0.4", dnsPort, "example.", "@ NS ns\nns A 127.0.0.4\nns.out A 127.0.0.6\n")
	nsd(t, "127.0.0.5", dnsPort, "web.test.", "@ NS ns1\nns1 A 127.0.0.5\nwww A 192.0.2.1\nwww A 192.0.2.2\n")
	nsd(t, "127.0.0.6", dnsPort, "out.test.", "@ NS ns.out.example.\nwww A 192.0.2.3\n")
	dir := t.TempDir()
	conf, hints := filepath.Join(dir, "named.conf"), filepath.Join(dir, "hints")
	write(t, hints, ". 60 NS a.root.test.\na.root.test. 60 A "+rootServers[0]+"\n")
	write(t, conf, fmt.Sprintf(`
options {
	directory %q; pid-file none; session-keyfile none; recursion yes; dnssec-validation no; empty-zones-enable no;
	listen-on { 127.0.0.1; }; listen-on-v6 { none; };
};
controls { };
zone "." { type hint; file %q; };
`, dir, hints))
	start(t, dnsPort, "", need(t, "named", "bind9"), "-g", "-c", conf)
	awaitZone(t, "127.0.0.1:53", "test.")
}

// digStep is what one server said to dig +trace.
type digStep struct {
	from     string
	zone     string // of the NS records
	ns, data []string
}

var (
	digFrom = regexp.MustCompile(`^;; Received \d+ bytes from ([^#]+)#53`)
	digRR   = regexp.MustCompile(`^(\S+)\s+\d+\s+IN\s+(NS|A)\s+(\S+)$`)
)

// digSteps reads the output of dig +trace, without the resolver's part.
func digSteps(text string) (steps []digStep) {
	var step digStep
	for line := range strings.SplitSeq(text, "\n") {
		if m := digFrom.FindStringSubmatch(line); m != nil {
			step.from = m[1]
			slices.Sort(step.ns)
			slices.Sort(step.data)
			steps, step = append(steps, step), digStep{}
		} else if m := digRR.FindStringSubmatch(line); m != nil && m[2] == "NS" {
			step.zone, step.ns = m[1], append(step.ns, m[3])
		} else if m != nil {
			step.data = append(step.data, m[3])
		}
	}
	return steps[min(1, len(steps)):]
}

// digTrace is the part of the process in the namespace.
func digTrace(t *testing.T) {
	startTree(t)
	for _, name := range []string{"www.web.test", "www.out.test"} {
		text := run(t, "", need(t, "dig", "bind9-dnsutils"), "+trace", "+nodnssec", name)
		steps := digSteps(text)
		if len(steps) != 3 {
			t.Fatalf("dig took %d steps:\n%s", len(steps), text)
		}
		o := observeDNS(t, buildDNS(t, "", func(o *dnsOptions) { o.Name, o.Trace = name, true }), time.Minute)
		wantFailure(t, o, "")
		servers, _ := o.Facts.Get("delegation.servers").([]string)
		for i, server := range servers {
			_, addr, named := strings.Cut(strings.TrimSuffix(server, ")"), "(")
			if named {
				servers[i] = addr
			}
		}
		if diff := cmp.Diff([]string{steps[0].from, steps[1].from, steps[2].from}, servers); diff != "" {
			t.Errorf("%s: servers (-dig +sonde):\n%s\n%s", name, diff, text)
		}
		answers := slices.Sorted(slices.Values(o.Facts.Get("answers").([]string)))
		if diff := cmp.Diff(steps[2].data, answers); diff != "" {
			t.Errorf("%s: answers (-dig +sonde):\n%s\n%s", name, diff, text)
		}
		wantFacts(t, o, check.FactsOf(map[string]any{
			"delegation.path":      []string{".", steps[0].zone, steps[1].zone},
			"delegation.parent_ns": steps[1].ns, "delegation.consistent": true, "delegation.lame": []string{},
		}))
	}
}
