package main

import (
	"fmt"
	"strings"
)

// tlsSlower is the part of the rate at which TLS is measured, whose handshakes
// would fill the machine at the whole rate.
const tlsSlower = 10

const (
	reuseMissing = "not available: http has no option connection: reuse"
	paceNote     = `"unpaced" programs go as fast as they can with eight probes at once (blackbox_exporter: four); a program that keeps a rate sleeps and wakes up more often for each probe, which costs, too. sonde is measured both ways.`
)

// runCPU compares the CPU per probe, a table for each kind.
func runCPU(b *bench) error {
	l, err := b.newLab()
	if err != nil {
		return err
	}
	defer l.close()
	fmt.Fprint(b.out, b.versions(), paceNote, "\n\n")
	plain, secure := local(l.httpPort), local(l.httpsPort)
	reused := b.sondeSides("http-reused", l.reused(), 17, b.rate)
	if !b.reuses() {
		reused = []*side{{name: "sonde", missing: reuseMissing}}
	}
	dns := strings.Replace(l.dns(), "server: '${each.ip}", "server: '127.0.0.1", 1)
	for _, c := range []*contest{
		{title: "http fresh", sides: append(b.sondeSides("http-fresh", l.fresh(), 16, b.rate),
			b.cloudprober(l, "fresh", 0.27), b.wrk("http://"+plain+"/", true, 1, 1.7), b.wrk("http://"+plain+"/", true, workers, 1.7),
			b.goSide("Go, own dial + http.ReadResponse", "own", plain, "", 0), b.goSide("Go net/http, fresh", "fresh", plain, "", 0),
			b.blackbox(l), b.gatus(l))},
		{title: "http reused", sides: append(reused,
			b.cloudprober(l, "reused", 0.2), b.wrk("http://"+plain+"/", false, 1, 0), b.wrk("http://"+plain+"/", false, workers, 0),
			b.goSide("Go net/http, keep-alive", "keepalive", plain, "", 0))},
		{title: "https fresh", note: "ECDSA P-256, TLS 1.3. wrk verifies no certificate.", sides: append(
			b.sondeSides("https-fresh", l.https(), 18, max(b.rate/tlsSlower, 1)),
			b.cloudprober(l, "https", 0.5), b.wrk("https://"+secure+"/", true, workers, 0),
			b.goSide("Go net/http, fresh", "https", secure, l.ca, 0))},
		{title: "tcp connect", sides: append(b.sondeSides("tcp", l.tcp(), 19, b.rate),
			b.goSide("Go net.Dial + Close", "dial", plain, "", 1.2))},
		{title: "dns", sides: append(b.sondeSides("dns", dns, 20, b.rate),
			b.goSide("miekg/dns Client.Exchange, new socket each", "dns", local(l.dnsPort), "", 0.7), b.dnsperf(l))},
	} {
		if err := b.contest(c); err != nil {
			return err
		}
	}
	return nil
}
