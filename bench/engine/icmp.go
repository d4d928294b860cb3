package main

import (
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

const hosts = 10_000

// runICMP compares with fping and counts the healthy hosts that each reports
// as lost: every host of 127.0.0.0/8 is healthy.
func runICMP(b *bench) error {
	echoes := max(int(b.span.Seconds()), 1)
	one, err := b.checks("icmp", group{name: "icmp", count: hosts, block: 40, interval: time.Second, probe: icmp})
	if err != nil {
		return err
	}
	long := strings.Replace(icmp, "count: 1", "count: 10, interval: 1s", 1)
	ten, err := b.checks("icmp10", group{name: "icmp", count: hosts, block: 40, interval: 10 * time.Second, timeout: 9900 * time.Millisecond, probe: long})
	if err != nil {
		return err
	}
	list := filepath.Join(b.dir, "icmp-0.txt")
	argv := []string{"fping", "-q", "-c", fmt.Sprint(echoes), "-i", "0.1", "-p", "1000", "-t", "900", "-f", list}
	fping := &side{name: "fping", missing: needs("fping"), goal: 1, command: strings.Join(argv, " ")}
	if fping.missing == "" {
		fping.version = b.version("fping", "--version")
	}
	fping.measure = func() (measure, error) { return b.fping(argv) }
	err = b.contest(&contest{
		title: fmt.Sprintf("icmp, %d hosts, one echo a run", hosts),
		note:  "A failed probe is a healthy host reported lost. A probe is one echo.",
		sides: []*side{b.icmpSide("icmp", one, "interval 1s, "+icmp, 0, 1), fping},
	})
	if err != nil {
		return err
	}
	again := *fping
	again.measured = nil
	return b.contest(&contest{
		title: fmt.Sprintf("icmp, %d runs in flight, ten echoes a run", hosts),
		note:  "Each run takes nine seconds of its ten, so that nine tenths of the hosts are in flight at any time. A probe is one echo.",
		sides: []*side{b.icmpSide("icmp10", ten, "interval 10s, "+long, 12_000, 10), &again},
	})
}

func (b *bench) icmpSide(name, file, command string, inFlight int, echoes uint64) *side {
	s := &side{name: "sonde", profile: name, command: fmt.Sprintf("%d checks, %s", hosts, command)}
	s.measure = func() (measure, error) {
		o := childOptions{config: file, warmup: 2 * time.Second, span: b.span, inFlight: inFlight, profile: name}
		if echoes > 1 {
			o.warmup = 11 * time.Second
		}
		r, err := b.sonde(o, nil, nil)
		if err != nil {
			return measure{}, err
		}
		m := r.measure()
		m.probes *= echoes
		b.remark(r)
		return m, nil
	}
	return s
}

var fpingLine = regexp.MustCompile(`xmt/rcv/%loss = (\d+)/(\d+)/`)

// fping runs it and adds up its summary: one line a host. It ends with a
// failure when a host was lost, which is a result.
func (b *bench) fping(argv []string) (m measure, err error) {
	began := time.Now()
	out, cpu, err := b.complete(argv...)
	m.cpu, m.window = cpu, time.Since(began)
	lines := fpingLine.FindAllStringSubmatch(out, -1)
	for _, line := range lines {
		var sent, received uint64
		if _, err := fmt.Sscan(line[1]+" "+line[2], &sent, &received); err != nil {
			return m, err
		}
		m.probes += sent
		m.failed += sent - min(received, sent)
	}
	if len(lines) > 0 {
		err = nil
	}
	return m, err
}
