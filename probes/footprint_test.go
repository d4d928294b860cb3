package probes

import (
	"testing"
	"time"

	"github.com/sonde-cli/sonde/check"
)

func TestFootprint(t *testing.T) {
	tcp := func(change func(*tcpOptions)) check.Options {
		o := &tcpOptions{Host: "127.0.0.1", Port: 1, MaxBanner: defaultMaxBanner}
		change(o)
		return o
	}
	web := func(change func(*httpOptions)) check.Options {
		o := newHTTPOptions()
		o.URL = "http://127.0.0.1/"
		change(o)
		return o
	}
	secure := func(change func(*tlsOptions)) check.Options {
		o := &tlsOptions{Host: "127.0.0.1"}
		change(o)
		return o
	}
	name := func(transport string) check.Options {
		o := newDNSOptions()
		o.Name, o.Server, o.Transport = "example.com", "127.0.0.1", transport
		if transport == transportHTTPS {
			o.Server = "https://127.0.0.1/dns-query"
		}
		return o
	}
	servers := func(names ...string) check.Options {
		o := newDNSOptions()
		o.Name, o.Transport, o.Servers = "example.com", transportTCP, names
		return o
	}
	for what, tt := range map[string]struct {
		options check.Options
		want    check.Footprint
	}{
		"tcp":            {tcp(func(*tcpOptions) {}), check.Footprint{Ports: 1}},
		"tcp, reset":     {tcp(func(o *tcpOptions) { o.Close = closeReset }), check.Footprint{}},
		"http":           {web(func(*httpOptions) {}), check.Footprint{Ports: 1}},
		"http, reset":    {web(func(o *httpOptions) { o.Close = closeReset }), check.Footprint{}},
		"http, reuse":    {web(func(o *httpOptions) { o.Connection = "reuse" }), check.Footprint{Kept: 1}},
		"http, digest":   {web(func(o *httpOptions) { digestOf("me", "secret")(o) }), check.Footprint{Ports: 2}},
		"http, unix":     {web(func(o *httpOptions) { o.Unix = "/run/a.sock" }), check.Footprint{}},
		"http, twice":    {web(both), check.Footprint{Ports: 1}},
		"http, QUIC":     {web(func(o *httpOptions) { o.URL, o.Version = "https://127.0.0.1/", "3" }), check.Footprint{}},
		"http, families": {web(func(o *httpOptions) { o.URL, o.Family = "http://localhost/", "both" }), check.Footprint{Ports: 3, Probes: 3, AtOnce: 3}},
		"tls":            {secure(func(*tlsOptions) {}), check.Footprint{Ports: 1}},
		"tls, reset":     {secure(func(o *tlsOptions) { o.Scan, o.Close = true, closeReset }), check.Footprint{}},
		"tls, scan":      {secure(func(o *tlsOptions) { o.Scan = true }), check.Footprint{Ports: 2 + len(tlsVersions)}},
		"dns over HTTPS": {name(transportHTTPS), check.Footprint{Ports: 1}},
		"dns":            {name(transportAuto), check.Footprint{}},
		"dns over TCP":   {name(transportTCP), check.Footprint{Ports: 1}},
		"dns over TLS":   {name(transportTLS), check.Footprint{Ports: 1}},
		"all addresses":  {tcp(func(o *tcpOptions) { o.Host, o.Address = "name.example", "all" }), check.Footprint{Ports: 1, Probes: 64, AtOnce: 64}},
		"all of one":     {tcp(func(o *tcpOptions) { o.Address = "all" }), check.Footprint{Ports: 1}},
		"both families":  {tcp(func(o *tcpOptions) { o.Host, o.Family = "name.example", "both" }), check.Footprint{Ports: 3, Probes: 3, AtOnce: 3}},
		"dns, servers":   {servers("192.0.2.1", "192.0.2.2"), check.Footprint{Ports: 2, Probes: 2, AtOnce: 2}},
		"icmp, no ports": {&icmpOptions{Host: "127.0.0.1", Count: 1, Interval: time.Second, Size: 56}, check.Footprint{}},
	} {
		plan, err := tt.options.Build(check.Setup{Needs: func(string) bool { return false }, Getenv: func(string) string { return "" }})
		if err != nil {
			t.Errorf("%s: %v", what, err)
			continue
		}
		c := check.Check{Probe: plan.Probe}
		if got := c.Footprint(); got != tt.want {
			t.Errorf("%s: %+v, want %+v", what, got, tt.want)
		}
	}
}
