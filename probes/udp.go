package probes

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"strconv"
	"time"

	"github.com/sonde-cli/sonde/check"
)

func init() {
	register(check.Kind{
		Name:    "udp",
		Doc:     "sends datagrams to a UDP port and waits for the answers that it expects",
		Schemes: []string{"udp"},
		Facts:   udpFacts(),
		New:     func() check.Options { return &udpOptions{MaxDatagram: defaultMaxDatagram} },
	})
}

const answerHexFact = "answer_hex"

func udpFacts() []check.Fact {
	return append(connectFacts(),
		check.Fact{Name: "answer", Type: check.String, Doc: "text of the last datagram that a step with expect received"},
		check.Fact{Name: answerHexFact, Type: check.String, Doc: "its bytes, in hexadecimal; only when an expectation names it"},
		check.Fact{Name: "bytes", Type: check.Int, Unit: "bytes", Doc: "its size"},
		check.Fact{Name: "rtt", Type: check.Duration, Doc: "time from the last step's datagram to the answer that it expects"},
		check.Fact{Name: "captures", Type: check.Map, Doc: "groups that the steps' regular expressions captured, by name or number"},
		check.Fact{Name: "dialogue", Type: check.Bool, Doc: "every step of the dialogue went as expected"},
	)
}

// Limits of a datagram. The largest is more than UDP can carry over IPv4 (65,507
// bytes).
const (
	defaultMaxDatagram check.Size = 4 << 10
	largestMaxDatagram check.Size = 64 << 10
	// largestSend is what fits a UDP datagram over IPv4 (RFC 768, RFC 791).
	largestSend = 65_507
)

// udpOptions are the options of the kind udp.
type udpOptions struct {
	Host        string `yaml:"host" address:"true" required:"true" doc:"name or IP address"`
	Port        int    `yaml:"port" required:"true" doc:"port to send to"`
	Route       `yaml:",inline"`
	Steps       []turn     `yaml:"steps" doc:"dialogue, step by step; each send is a datagram, and an expect waits for one that matches"`
	MaxDatagram check.Size `yaml:"max_datagram" doc:"largest datagram that can be an answer"`
}

// SetTarget reads udp://host:port?send=TEXT&expect=REGEXP, with send_hex in
// place of send where the bytes are no text.
func (o *udpOptions) SetTarget(target string) error {
	u, err := url.Parse(target)
	switch {
	case err != nil:
		return fmt.Errorf("%q is not a target such as udp://host:port?send=ping&expect=pong", target)
	case u.User != nil || u.Fragment != "" || u.Path != "" && u.Path != "/":
		return errors.New("udp://host:port takes no user, path or fragment")
	case u.Hostname() == "" || u.Port() == "":
		return fmt.Errorf("%q needs a host and a port: udp://host:port?send=ping&expect=pong", target)
	}
	if o.Port, err = strconv.Atoi(u.Port()); err != nil {
		return fmt.Errorf("%q is not a port number", u.Port())
	}
	o.Host = u.Hostname()
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil || len(query) == 0 {
		return err
	}
	var s turn
	for key, values := range query {
		switch {
		case len(values) != 1:
			return fmt.Errorf("udp://host:port takes %s once", key)
		case key == "send":
			s.Send = values[0]
		case key == "send_hex":
			s.SendHex = values[0]
		case key == "expect":
			if s.Expect, err = regexp.Compile(values[0]); err != nil {
				return fmt.Errorf("expect: %w", err)
			}
		default:
			return fmt.Errorf("udp://host:port takes send, send_hex and expect, not %q", key)
		}
	}
	o.Steps = []turn{s}
	return nil
}

// udpProbe is a built check of the kind udp.
type udpProbe struct {
	host, port string
	route      *router
	steps      []turn
	max        int
	hex        bool // wanted by an expectation
}

// Build validates the options.
func (o *udpOptions) Build(setup check.Setup) (check.Plan, error) {
	steps, errs := payloads(o.Steps)
	errs = append(errs, o.validate(steps)...)
	route, err := o.Route.build()
	errs = append(errs, err, route.reaches("host", o.Host))
	route.network = "udp"
	p := &udpProbe{
		host: o.Host, port: strconv.Itoa(o.Port), route: route,
		steps: steps, max: int(o.MaxDatagram), hex: setup.Needs(answerHexFact),
	}
	return check.Plan{
		Probe: p, Target: net.JoinHostPort(o.Host, p.port), Defaults: []check.Default{{Expect: "dialogue"}},
	}, errors.Join(errs...)
}

// validate demands an answer: a UDP port that says nothing looks the same as a
// host that is gone.
func (o *udpOptions) validate(steps []turn) []error {
	errs := validateHostPort(o.Host, o.Port)
	if o.MaxDatagram < 1 || o.MaxDatagram > largestMaxDatagram {
		errs = append(errs, check.OptionErrorf("max_datagram", "%s is not from 1B to %s", o.MaxDatagram, largestMaxDatagram))
	}
	answered := false
	for i, s := range steps {
		answered = answered || s.Expect != nil
		if len(s.Send) > largestSend {
			errs = append(errs, check.OptionErrorf(fmt.Sprintf("steps[%d].send", i), "%d bytes are more than a datagram carries (%d)", len(s.Send), largestSend))
		}
	}
	switch {
	case !answered:
		errs = append(errs, check.OptionErrorf("steps", "needs a step with send and expect, for without an answer UDP cannot tell a service from a host that is gone"))
	case steps[0].Send == "":
		errs = append(errs, check.OptionErrorf("steps[0]", "needs send or send_hex, for a UDP service answers only who has sent something"))
	}
	return errs
}

// Observe makes the dialogue. Nothing is sent twice: a datagram that was lost is
// an answer that does not come.
func (p *udpProbe) Observe(ctx context.Context) check.Observation {
	j := begin()
	j.from = p.route.from()
	from := j.from
	j.obs.Reproduce = func() string { return p.reproduce(from) }
	conn, reason := j.connect(ctx, p.route, p.host, p.port)
	if reason != nil {
		return j.stop(reason)
	}
	defer conn.Close()
	h := &hearing{conn: conn, ctx: ctx, max: p.max, packets: true}
	start := time.Now()
	if err := j.talk(h, p.steps, false); err != nil {
		return j.stop(j.unreached(p.route, p.host, conn, err, time.Since(start)))
	}
	if h.received > 0 {
		j.obs.Set("bytes", len(h.text))
		if p.hex {
			j.obs.Set(answerHexFact, hex.EncodeToString(h.text))
		}
	}
	switch ok := j.obs.Facts.Get("dialogue"); {
	case ok == true:
		j.obs.Set("rtt", h.took)
	case h.received == 0: // nobody was there to talk to
		message := j.obs.Because["dialogue"].Message
		j.obs.Facts.Delete("dialogue")
		delete(j.obs.Because, "dialogue")
		return j.fail(check.ConnectTimeout, message)
	}
	return j.end()
}

// unreached tells why a connected UDP socket failed: the system hands it what
// routers and the host have said of its datagrams (RFC 1122 section 4.1.3.3).
func (j *journey) unreached(route *router, host string, conn net.Conn, err error, took time.Duration) *check.Reason {
	to, ok := conn.RemoteAddr().(*net.UDPAddr)
	if !ok { // a socket that is closed by now
		reason := j.cause(err, check.ConnectTimeout)
		return &reason
	}
	where := to.AddrPort()
	where = netip.AddrPortFrom(where.Addr().Unmap(), where.Port())
	reason := route.attemptReason(attempt{from: j.from, addr: where.Addr(), err: err, took: took}, where.Port())
	if reason.Code == check.ConnectRefused {
		reason.Message = fmt.Sprintf("nothing listens on UDP port %d of %s (port unreachable)", where.Port(), where.Addr())
		if _, err := netip.ParseAddr(host); err != nil && route.family == 0 && !route.address.IsValid() {
			reason.Message += "\nhint: of several addresses the first is used; family or address chooses another"
		}
	}
	return &reason
}

// reproduce returns a shell line that sends the first step's datagram and shows
// what comes back.
func (p *udpProbe) reproduce(from netip.Addr) string {
	c := shellLine{printed(p.steps[0].Send), "|", "nc", "-u", "-w2"}
	host := p.route.to(p.host)
	if p.route.family != 0 {
		c.add("-" + strconv.Itoa(int(p.route.family)))
	}
	if from.IsValid() {
		c.add("-s", from.String())
	}
	c.add(host, p.port)
	return c.String()
}
