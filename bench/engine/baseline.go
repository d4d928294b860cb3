package main

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"
)

// Baseline is what a bare loop in Go tells at its end, as JSON.
type Baseline struct {
	Probes, Failed uint64
	CPU            time.Duration // of the whole process
	Window         time.Duration
}

// baselineOptions say what a bare loop does.
type baselineOptions struct {
	kind, address, ca string
	span              time.Duration
	workers           int
}

// baseline runs one of the loops that somebody would write by hand, as fast as
// the workers can: one probe after the other each, nothing judged or kept.
func baseline(args []string, w io.Writer) error {
	var o baselineOptions
	flags := flag.NewFlagSet("baseline", flag.ContinueOnError)
	flags.StringVar(&o.kind, "kind", "dial", "dial, own, fresh, keepalive, https or dns")
	flags.StringVar(&o.address, "address", "", "host:port of the target")
	flags.StringVar(&o.ca, "ca", "", "file with the authority of https")
	flags.DurationVar(&o.span, "span", time.Second, "how long")
	flags.IntVar(&o.workers, "workers", 8, "loops at once")
	if err := flags.Parse(args); err != nil {
		return err
	}
	probe, err := o.probe()
	if err != nil {
		return err
	}
	var r Baseline
	began, cpu := time.Now(), time.Duration(0)
	if cpu, err = cpuOf("self"); err != nil {
		return err
	}
	var loops sync.WaitGroup
	for range o.workers {
		loops.Go(func() {
			for time.Since(began) < o.span {
				if probe() != nil {
					atomic.AddUint64(&r.Failed, 1)
				}
				atomic.AddUint64(&r.Probes, 1)
			}
		})
	}
	loops.Wait()
	end, err := cpuOf("self")
	r.CPU, r.Window = end-cpu, time.Since(began)
	if err != nil {
		return err
	}
	return json.NewEncoder(w).Encode(r)
}

func (o *baselineOptions) probe() (func() error, error) {
	switch o.kind {
	case "dial":
		return o.dial, nil
	case "own":
		return o.own, nil
	case "fresh":
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		return func() error { return get(client, "http://"+o.address+"/") }, nil
	case "keepalive":
		client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: o.workers}}
		return func() error { return get(client, "http://"+o.address+"/") }, nil
	case "https":
		return o.https()
	case "dns":
		client, message := new(dns.Client), new(dns.Msg)
		message.SetQuestion("host.bench.test.", dns.TypeA)
		return func() error {
			_, _, err := client.Exchange(message, o.address)
			return err
		}, nil
	default:
		return nil, fmt.Errorf("there is no baseline %q", o.kind)
	}
}

func (o *baselineOptions) dial() error {
	conn, err := net.Dial("tcp", o.address)
	if err != nil {
		return err
	}
	return conn.Close()
}

// own is a request over a connection of its own without net/http's client.
func (o *baselineOptions) own() error {
	conn, err := net.Dial("tcp", o.address)
	if err != nil {
		return err
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: "+o.address+"\r\nConnection: close\r\n\r\n"); err != nil {
		return err
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return err
	}
	return drain(resp)
}

func (o *baselineOptions) https() (func() error, error) {
	text, err := os.ReadFile(o.ca)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(text)
	client := &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: certName},
	}}
	return func() error { return get(client, "https://"+o.address+"/") }, nil
}

func get(client *http.Client, url string) error {
	resp, err := client.Get(url)
	if err != nil {
		return err
	}
	return drain(resp)
}

func drain(resp *http.Response) error {
	defer resp.Body.Close()
	_, err := io.Copy(io.Discard, resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("status %d", resp.StatusCode)
	}
	return err
}
