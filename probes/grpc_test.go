package probes

import (
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/http2"

	"github.com/sonde-cli/sonde/check"
	"github.com/sonde-cli/sonde/internal/testnet"
)

// observeGRPC asks the server at the URL once.
func observeGRPC(t *testing.T, site string, d time.Duration, change func(*grpcOptions)) check.Observation {
	t.Helper()
	o := new(grpcOptions)
	if err := o.SetTarget(strings.Replace(site, "http", "grpc", 1)); err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(o)
	}
	setup := needs()
	setup.Version = "test"
	plan, err := o.Build(setup)
	if err != nil {
		t.Fatal(err)
	}
	return plan.Probe.Observe(timeout(t, d))
}

func TestGRPCHealth(t *testing.T) {
	t.Parallel()
	server := testnet.GRPCHealth(map[string]byte{"": 1, "a.Up": 1, "a.Down": 2, "a.Unset": 0, "a.Odd": 9})
	plain := httpSite(t, nil, server)
	secure := httpSite(t, serverConfig(t, testnet.CertOptions{Names: []string{"127.0.0.1"}}), server)
	for service, want := range map[string]check.Facts{
		"":        check.FactsOf(map[string]any{"status": "serving", "grpc_status": 0, "grpc_status_name": "OK", "message": ""}),
		"a.Up":    check.FactsOf(map[string]any{"status": "serving", "grpc_status": 0}),
		"a.Down":  check.FactsOf(map[string]any{"status": "not_serving", "grpc_status": 0}),
		"a.Unset": check.FactsOf(map[string]any{"status": "unknown", "grpc_status": 0}),
		"a.Odd":   check.FactsOf(map[string]any{"status": "unknown", "grpc_status": 0}),
		"a.None":  check.FactsOf(map[string]any{"status": "service_unknown", "grpc_status": 5, "grpc_status_name": "NOT_FOUND", "message": "unknown service: 100%"}),
	} {
		for _, site := range []string{plain, secure} {
			o := observeGRPC(t, site+"/"+service, patience, func(o *grpcOptions) {
				if o.TLS != nil {
					o.TLS.CA = caFile(t)
				}
			})
			wantFailure(t, o, "")
			wantFacts(t, o, want)
		}
	}
	wantFailure(t, observeGRPC(t, secure, patience, nil), check.TLSUntrusted)
	down := observeGRPC(t, plain+"/a.Down", patience, nil)
	if got := down.Because["status"].Message; got != `the service "a.Down" is not_serving` {
		t.Error(got)
	}
}

func TestGRPCRequest(t *testing.T) {
	t.Parallel()
	requests := make(chan *http.Request, 1)
	site := httpSite(t, nil, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests <- r
		w.Header().Set("Content-Type", "application/grpc")
		w.Header().Set("Grpc-Status", "16")
	}))
	o := observeGRPC(t, site, time.Minute, func(o *grpcOptions) {
		o.Authority, o.Metadata = "orders.test", map[string]string{"Authorization": "Bearer x", "trace-bin": "AAE="}
	})
	wantFacts(t, o, check.FactsOf(map[string]any{"status": "unknown", "grpc_status": 16, "grpc_status_name": "UNAUTHENTICATED"}))
	r := <-requests
	limit := r.Header.Get("Grpc-Timeout")
	r.Header.Del("Grpc-Timeout")
	want := http.Header{
		"Content-Type": {"application/grpc"}, "Te": {"trailers"}, "User-Agent": {"sonde/test"},
		"Authorization": {"Bearer x"}, "Trace-Bin": {"AAE="},
	}
	if diff := cmp.Diff(want, r.Header); diff != "" || r.Host != "orders.test" || r.Method != "POST" {
		t.Errorf("%s %s (-want +got):\n%s", r.Method, r.Host, diff)
	}
	if len(limit) != len("59999m") || !strings.HasSuffix(limit, "m") {
		t.Errorf("grpc-timeout %q", limit)
	}
}

const grpcType = "application/grpc"

// answers is a server that sends a head, a body and trailers; nil sends none.
func answers(t *testing.T, head []byte, body string, trailers []byte) string {
	t.Helper()
	return h2Site(t, func(f *http2.Framer) {
		_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: head, EndHeaders: true, EndStream: body == "" && trailers == nil})
		for len(body) > 0 {
			n := min(len(body), h2MaxFrame)
			_ = f.WriteData(1, n == len(body) && trailers == nil, []byte(body[:n]))
			body = body[n:]
		}
		if trailers != nil {
			_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: trailers, EndHeaders: true, EndStream: true})
		}
	})
}

func TestGRPCBadResponses(t *testing.T) {
	t.Parallel()
	good, ok := block(":status", "200", "content-type", grpcType), block("grpc-status", "0")
	serving := testnet.GRPCMessage("\x08\x01")
	for name, c := range map[string]struct {
		site string
		code check.Code
		part string
	}{
		"HTTP 503":       {answers(t, block(":status", "503"), "", nil), check.HTTPStatus, "HTTP status 503"},
		"a web page":     {answers(t, block(":status", "200", "content-type", "text/html"), "hi", nil), check.HTTPMalformed, "text/html"},
		"no trailers":    {answers(t, good, serving, nil), check.HTTPMalformed, "no grpc-status"},
		"nothing":        {answers(t, good, "", nil), check.HTTPMalformed, "no grpc-status"},
		"empty trailers": {answers(t, good, serving, block("a", "b")), check.HTTPMalformed, "no grpc-status"},
		"bad status":     {answers(t, good, serving, block("grpc-status", "-1")), check.HTTPMalformed, `grpc-status "-1"`},
		"no message":     {answers(t, good, "", ok), check.HTTPMalformed, "without a message"},
		"two messages":   {answers(t, good, serving+serving, ok), check.HTTPMalformed, "more than one"},
		"compressed":     {answers(t, good, "\x01\x00\x00\x00\x00", ok), check.HTTPMalformed, "compression flag 1"},
		"half a head":    {answers(t, good, "\x00\x00", ok), check.HTTPMalformed, "inside a message"},
		"half a message": {answers(t, good, serving[:6], ok), check.HTTPMalformed, "inside a message"},
		"huge message":   {answers(t, good, "\x00\xff\xff\xff\xff", ok), check.HTTPBodyTooLarge, "4294967295 bytes"},
		"large message":  {answers(t, good, testnet.GRPCMessage(strings.Repeat("x", 60_000)), ok), check.HTTPBodyTooLarge, "60000 bytes"},
		"no protobuf":    {answers(t, good, testnet.GRPCMessage("\x08\xff"), ok), check.HTTPMalformed, "no protocol buffer"},
		"huge trailers":  {answers(t, good, serving, block("grpc-status", "0", "grpc-message", strings.Repeat("x", 14_000), "a", "b")), "", ""},
		"reset":          {h2Site(t, func(f *http2.Framer) { _ = f.WriteRSTStream(1, http2.ErrCodeRefusedStream) }), check.HTTPStreamReset, "REFUSED_STREAM"},
		"going away":     {h2Site(t, func(f *http2.Framer) { _ = f.WriteGoAway(0, http2.ErrCodeEnhanceYourCalm, []byte("too_many_pings")) }), check.HTTPGoAway, "too_many_pings"},
		"reset in between": {h2Site(t, func(f *http2.Framer) {
			_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: good, EndHeaders: true})
			_ = f.WriteRSTStream(1, http2.ErrCodeInternal)
		}), check.HTTPStreamReset, "INTERNAL_ERROR"},
		"empty frames": {h2Site(t, func(f *http2.Framer) {
			_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: good, EndHeaders: true})
			for f.WriteData(1, false, nil) == nil {
			}
		}), check.HTTPMalformed, "carry nothing"},
		"HTTP/1.1": {rawSite(t, testnet.Say("HTTP/1.1 400 Bad Request\r\n\r\n")), check.HTTPMalformed, "not HTTP/2"},
		"no ALPN":  {"https" + strings.TrimPrefix(rawTLSSite(t), "http"), check.HTTPMalformed, "does not offer HTTP/2"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := observeGRPC(t, c.site, patience, func(o *grpcOptions) {
				if o.TLS != nil {
					o.TLS.CA = caFile(t)
				}
			})
			wantFailure(t, o, c.code, c.part)
			if strings.Contains(o.Failure.Message, "version: auto") {
				t.Errorf("a hint to an option that grpc does not have: %s", o.Failure.Message)
			}
		})
	}
}

// rawTLSSite shakes hands without ALPN.
func rawTLSSite(t *testing.T) string {
	t.Helper()
	host, port := listenTLS(t, serverConfig(t, testnet.CertOptions{Names: []string{"127.0.0.1"}}), testnet.Silence)
	return "http://" + net.JoinHostPort(host, port)
}

func TestGRPCFailedCall(t *testing.T) {
	t.Parallel()
	for head, want := range map[*[]string]check.Facts{
		{":status", "200", "content-type", grpcType, "grpc-status", "14", "grpc-message", "no%20backend%0A"}: check.FactsOf(map[string]any{
			"status": "unknown", "grpc_status": 14, "grpc_status_name": "UNAVAILABLE", "message": "no backend\n",
		}),
		{":status", "404", "grpc-status", "12"}: check.FactsOf(map[string]any{"status": "unknown", "grpc_status": 12, "message": ""}),
		{":status", "200", "content-type", grpcType, "grpc-status", "99", "grpc-message", "%zz\xff"}: check.FactsOf(map[string]any{
			"status": "unknown", "grpc_status": 99, "grpc_status_name": "UNKNOWN", "message": "%zz\uFFFD",
		}),
	} {
		o := observeGRPC(t, answers(t, block(*head...), "", nil), patience, nil)
		wantFailure(t, o, "")
		wantFacts(t, o, want)
	}
}

func TestGRPCSilence(t *testing.T) {
	t.Parallel()
	hold := func(script func(*http2.Framer), code check.Code, part string) {
		site := h2Site(t, script)
		o := inTime(brief, func(d time.Duration) check.Observation { return observeGRPC(t, site, d, nil) }, endsAs(code, part))
		wantFailure(t, o, code, part)
	}
	hold(func(*http2.Framer) {}, check.HTTPHeaderTimeout, "no response in time")
	hold(func(f *http2.Framer) {
		_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block(":status", "200", "content-type", grpcType), EndHeaders: true})
	}, check.HTTPBodyTimeout, "not complete in time")
}

func TestGRPCOptions(t *testing.T) {
	t.Parallel()
	for want, change := range map[string]func(*grpcOptions){
		"host: ":                    func(o *grpcOptions) { o.Host = "a b" },
		"host: \"a..b\"":            func(o *grpcOptions) { o.Host = "a..b" },
		"port: 0":                   func(o *grpcOptions) { o.Port = 0 },
		"service: is longer":        func(o *grpcOptions) { o.Service = strings.Repeat("x", 3000) },
		"authority: ":               func(o *grpcOptions) { o.Authority = "a b" },
		"metadata.grpc-timeout: is": func(o *grpcOptions) { o.Metadata = map[string]string{"grpc-timeout": "1m"} },
		"metadata.a: the value":     func(o *grpcOptions) { o.Metadata = map[string]string{"a": "ö"} },
		"metadata.te: sonde":        func(o *grpcOptions) { o.Metadata = map[string]string{"te": "x"} },
		"metadata.a b: ":            func(o *grpcOptions) { o.Metadata = map[string]string{"a b": "x"} },
		"family: ":                  func(o *grpcOptions) { o.Family = "5" },
		"tls.min_version: ":         func(o *grpcOptions) { o.TLS = &TLS{MinVersion: "9"} },
	} {
		o := &grpcOptions{Host: "x.test", Port: 1}
		change(o)
		_, err := o.Build(needs())
		if err == nil || !slices.ContainsFunc(check.OptionErrors(err), func(e *check.OptionError) bool { return strings.HasPrefix(e.Error(), want) }) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	for _, target := range []string{"grpc://x", "grpc://u@x:1", "grpc://x:1?a", "grpc://:1", "grpc://x:99999999999999999999"} {
		if err := new(grpcOptions).SetTarget(target); err == nil {
			t.Errorf("%s is taken", target)
		}
	}
}

func TestGRPCReproduce(t *testing.T) {
	t.Parallel()
	o := &grpcOptions{
		Host: "x.test", Port: 443, Service: "a.B", TLS: &TLS{Insecure: true}, Route: Route{Address: "192.0.2.1"},
		Metadata: map[string]string{"authorization": "Bearer hidden"},
	}
	plan, err := o.Build(needs())
	if err != nil {
		t.Fatal(err)
	}
	if plan.Target != "grpcs://x.test:443/a.B" || !slices.Contains(plan.Secrets, "hidden") {
		t.Errorf("%s %q", plan.Target, plan.Secrets)
	}
	const want = "grpc_health_probe -addr=192.0.2.1:443 -service=a.B -connect-timeout=1s -rpc-timeout=1s " +
		"'-rpc-header=authorization: Bearer hidden' -tls -tls-server-name=x.test -tls-no-verify"
	if got := plan.Probe.(*grpcProbe).reproduce(time.Second); got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
}

func FuzzGRPCHealth(f *testing.F) {
	for _, seed := range []string{"", "\x08\x01", "\x10\x01\x08\x02", "\x0a\x01x", "\x08\xff"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, message []byte) {
		if status, err := parseHealth(message); err != nil && status != 0 {
			t.Errorf("status %d and %v", status, err)
		}
	})
}
