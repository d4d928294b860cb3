package probes

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/sonde-cli/sonde/check"
)

func init() {
	register(check.Kind{
		Name:    "websocket",
		Doc:     "opens a WebSocket, talks over it and closes it",
		Schemes: []string{"ws", "wss"},
		Facts:   wsFacts(),
		New:     func() check.Options { return &wsOptions{MaxMessage: defaultMaxMessage} },
	})
}

func wsFacts() []check.Fact {
	facts := []check.Fact{
		{Name: "status", Type: check.Int, Code: check.HTTPStatus, Doc: "status code of the response to the upgrade, 101 when there is a WebSocket"},
		{Name: "status_text", Type: check.String, Doc: "its reason phrase"},
		{Name: "subprotocol", Type: check.String, Doc: "the one of subprotocols that the server chose, '' for none"},
		{Name: "answer", Type: check.String, Doc: "the last message that a step with expect received"},
		{Name: "captures", Type: check.Map, Doc: "groups that the steps' regular expressions captured, by name or number"},
		{Name: "dialogue", Type: check.Bool, Doc: "every step of the dialogue went as expected"},
		{Name: "pong", Type: check.Bool, Doc: "the server answered the ping; only with ping", Option: "ping"},
		{Name: "ping.rtt", Type: check.Duration, Doc: "time from the ping to its pong; only with ping", Option: "ping"},
		{Name: "close.code", Type: check.Int, Doc: "the server's status code of the closing handshake (RFC 6455 section 7.4); 1005 when it gave none, 1006 when the connection ended without one"},
		{Name: "close.reason", Type: check.String, Doc: "the server's reason beside the code"},
	}
	return append(append(facts, connectFacts()...), tlsFacts()...)
}

// Limits of a message; what is larger is refused before it is read.
const (
	defaultMaxMessage check.Size = 64 << 10
	largestMaxMessage check.Size = 256 << 10
)

// wsOptions are the options of the kind websocket.
type wsOptions struct {
	URL          string            `yaml:"url" address:"true" required:"true" doc:"where to connect to, ws:// or wss://"`
	Headers      map[string]string `yaml:"headers" doc:"header fields of the upgrade request"`
	Auth         plainAuth         `yaml:"auth" doc:"basic or bearer authentication"`
	Origin       string            `yaml:"origin" doc:"header field Origin, such as https://example.com, which browsers send and servers may insist on"`
	Subprotocols []string          `yaml:"subprotocols" doc:"subprotocols to offer, the preferred one first"`
	Steps        []wsStep          `yaml:"steps" doc:"dialogue over the WebSocket, step by step"`
	Ping         bool              `yaml:"ping" doc:"send a ping after the steps and measure the time to its pong"`
	MaxMessage   check.Size        `yaml:"max_message" doc:"largest message to accept from the server"`
	Close        string            `yaml:"close" enum:"normal,reset" doc:"how to end the TCP connection after the closing handshake; reset leaves no port in TIME_WAIT, see docs/connections.md"`
	TLS          TLS               `yaml:"tls" doc:"TLS of wss:// URLs"`
	Route        `yaml:",inline"`
	Proxied      `yaml:",inline"`
}

// wsStep sends, then waits for what it expects.
type wsStep struct {
	Send   string         `yaml:"send" doc:"text message to send"`
	Expect *regexp.Regexp `yaml:"expect" doc:"regular expression (RE2) that a message from the server must match; others before it are skipped"`
}

// SetTarget takes a ws:// or wss:// URL.
func (o *wsOptions) SetTarget(target string) error {
	if _, err := url.Parse(target); err != nil {
		return badURL(err)
	}
	o.URL = target
	return nil
}

// wsProbe is a built check of the kind websocket.
type wsProbe struct {
	upgrade      *httpProbe // the request that opens the WebSocket
	shown        *httpProbe // the same, with all header fields
	origin       string
	subprotocols []string
	steps        []wsStep
	ping         bool
	awaitClose   bool // an expectation is about the closing handshake
	max          int
}

// Build validates the options.
func (o *wsOptions) Build(s check.Setup) (check.Plan, error) {
	var errs []error
	address, err := httpURLOf(o.URL)
	if err != nil {
		return check.Plan{}, check.OptionErrorf("url", "%w", err)
	}
	b := &httpBuilder{
		setup: s,
		options: &httpOptions{
			URL: address, Headers: o.Headers, Auth: o.Auth.http(), Version: "1.1", Close: o.Close, TLS: o.TLS, Route: o.Route, Proxied: o.Proxied,
		},
		probe: &httpProbe{httpPlan: &httpPlan{method: "GET", version: "1.1", agent: "sonde/" + s.Version, insecure: o.TLS.Insecure, tunnels: true}},
	}
	b.probe.options = *b.options
	for _, step := range []func() error{b.url, b.headers, b.auth, b.paths, b.reaches, b.proxy} {
		errs = append(errs, step())
	}
	errs = append(errs, o.validate(b.probe)...)
	if err := errors.Join(errs...); err != nil {
		return check.Plan{}, err
	}
	if password := writtenPassword(o.URL); password != "" {
		b.secrets = append(b.secrets, password)
	}
	p := &wsProbe{
		upgrade: b.probe, origin: o.Origin, subprotocols: o.Subprotocols, steps: o.Steps, ping: o.Ping, max: int(o.MaxMessage),
		awaitClose: s.Needs("close.code") || s.Needs("close.reason"),
	}
	p.shown = p.withFields(sampleKey)
	return check.Plan{
		Probe: spreadOver(p, b.probe.home.route, b.probe.start.Hostname()), Target: "ws" + strings.TrimPrefix(b.probe.target, "http"), Secrets: b.secrets,
		Defaults: append(p.defaults(), b.probe.home.tls.defaults()...),
	}, nil
}

// httpURLOf returns the URL of the upgrade request.
func httpURLOf(target string) (string, error) {
	scheme, rest, ok := strings.Cut(target, "://")
	switch {
	case ok && strings.EqualFold(scheme, "ws"):
		return "http://" + rest, nil
	case ok && strings.EqualFold(scheme, "wss"):
		return "https://" + rest, nil
	default:
		return "", fmt.Errorf("needs ws:// or wss:// in front, it begins with %s", excerpt([]byte(target)))
	}
}

func (o *wsOptions) validate(p *httpProbe) []error {
	var errs []error
	for name := range o.Headers {
		if strings.HasPrefix(strings.ToLower(name), "sec-websocket-") {
			errs = append(errs, check.OptionErrorf("headers."+name, "sonde sets this header itself"))
		}
	}
	if strings.ContainsFunc(o.Origin, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
		errs = append(errs, check.OptionErrorf("origin", "holds a space or a control character"))
	}
	if _, twice := p.header("Origin"); twice && o.Origin != "" {
		errs = append(errs, check.OptionErrorf("origin", "the header Origin is set too, give one of the two"))
	}
	for i, name := range o.Subprotocols {
		if !isToken(name) || slices.Contains(o.Subprotocols[:i], name) {
			errs = append(errs, check.OptionErrorf(fmt.Sprintf("subprotocols[%d]", i), "%s is no name, or stands twice", excerpt([]byte(name))))
		}
	}
	for i, s := range o.Steps {
		if s.Send == "" && s.Expect == nil {
			errs = append(errs, check.OptionErrorf(fmt.Sprintf("steps[%d]", i), "a step needs send or expect"))
		}
	}
	if o.MaxMessage < 1 || o.MaxMessage > largestMaxMessage {
		errs = append(errs, check.OptionErrorf("max_message", "%s is not from 1B to %s", o.MaxMessage, largestMaxMessage))
	}
	return errs
}

// defaults are strict: what was asked for is wanted. A browser, too, gives up
// when the server takes none of the subprotocols.
func (p *wsProbe) defaults() []check.Default {
	defaults := []check.Default{{Expect: "status == 101"}}
	if len(p.subprotocols) > 0 {
		defaults = append(defaults, check.Default{Expect: "subprotocol != ''", WhenSeen: true})
	}
	if len(p.steps) > 0 {
		defaults = append(defaults, check.Default{Expect: "dialogue", WhenSeen: true})
	}
	if p.ping {
		defaults = append(defaults, check.Default{Expect: "pong", WhenSeen: true})
	}
	return defaults
}

// fields are those that make the request one for a WebSocket (RFC 6455 section
// 4.1). No extension is offered, so that none may be used.
func (p *wsProbe) fields(key string) []field {
	fields := []field{
		{"Connection", "Upgrade"}, {"Upgrade", "websocket"}, {"Sec-WebSocket-Version", "13"}, {"Sec-WebSocket-Key", key},
	}
	if p.origin != "" {
		fields = append(fields, field{"Origin", p.origin})
	}
	if len(p.subprotocols) > 0 {
		fields = append(fields, field{"Sec-WebSocket-Protocol", strings.Join(p.subprotocols, ", ")})
	}
	return fields
}

// sampleKey is that of RFC 6455 section 1.3, for the line that reproduces the
// upgrade.
const sampleKey = "dGhlIHNhbXBsZSBub25jZQ=="

// withFields returns the upgrade request with all its fields among the user's.
func (p *wsProbe) withFields(key string) *httpProbe {
	plan := *p.upgrade.httpPlan
	plan.headers = append(slices.Clip(plan.headers), p.fields(key)...)
	return &httpProbe{httpPlan: &plan, start: p.upgrade.start, target: p.upgrade.target}
}

// Footprint is that of the connection.
func (p *wsProbe) Footprint() check.Footprint { return p.upgrade.Footprint() }
