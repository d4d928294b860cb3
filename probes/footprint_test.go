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
	name := func(transport string) check.Options {
		o := newDNSOptions()
		o.Name, o.Server, o.Transport = "example.com", "127.0.0.1", transport
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
		"dns":            {name(transportAuto), check.Footprint{}},
		"dns over TCP":   {name(transportTCP), check.Footprint{Ports: 1}},
		"dns over TLS":   {name(transportTLS), check.Footprint{Ports: 1}},
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
