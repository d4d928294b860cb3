package probes

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/sonde-cli/sonde/check"
	"github.com/sonde-cli/sonde/probes/ntp"
)

func init() {
	register(check.Kind{
		Name:    "ntp",
		Doc:     "asks a time server once and compares its clock with this machine's",
		Schemes: []string{"ntp"},
		Facts:   ntpFacts(),
		New:     func() check.Options { return &ntpOptions{Port: 123} },
	})
}

func ntpFacts() []check.Fact {
	return append(connectFacts(),
		check.Fact{Name: "offset", Type: check.Duration, Doc: "the server's clock minus this machine's; negative when the server is behind"},
		check.Fact{Name: "off_by", Type: check.Duration, Doc: "amount of offset, without its sign"},
		check.Fact{Name: "rtt", Type: check.Duration, Doc: "time to the server and back, without the server's own; offset is off by half of it at most"},
		check.Fact{Name: "stratum", Type: check.Int, Doc: "steps to a reference clock: 1 has one, 16 or 0 is not synchronised"},
		check.Fact{Name: "leap", Type: check.String, Doc: "leap second at the end of the day: none, insert or delete; unsynchronised when the server's clock is not set"},
		check.Fact{Name: "kiss", Type: check.String, Doc: "code of a kiss-o'-death, such as RATE or DENY, by which the server refuses to tell the time; '' for none"},
		check.Fact{Name: "reference_id", Type: check.String, Doc: "what the server's clock is set by: a name such as GPS or PPS at stratum 1, or else an IPv4 address, or four bytes that stand for an IPv6 address"},
		check.Fact{Name: "reference_age", Type: check.Duration, Doc: "time since the server's clock was last set"},
		check.Fact{Name: "root.delay", Type: check.Duration, Doc: "round trip from the server to the reference clock"},
		check.Fact{Name: "root.dispersion", Type: check.Duration, Doc: "error that the server's clock may have gathered since it was set"},
		check.Fact{Name: "root.distance", Type: check.Duration, Doc: "most that the measured time may be wrong: half of root.delay and of rtt, and root.dispersion"},
		check.Fact{Name: "precision", Type: check.Duration, Doc: "precision of the server's clock"},
		check.Fact{Name: "version", Type: check.Int, Doc: "version of NTP that the server speaks"},
		check.Fact{Name: "mismatched", Type: check.Int, Doc: "datagrams that were passed over, because they do not answer the request"},
	)
}

// Values of the fact leap.
const (
	leapNone           = "none"
	leapInsert         = "insert"
	leapDelete         = "delete"
	leapUnsynchronised = "unsynchronised"
)

// ntpOptions are the options of the kind ntp.
type ntpOptions struct {
	Host  string `yaml:"host" address:"true" required:"true" doc:"name or IP address of a time server"`
	Port  int    `yaml:"port" doc:"its UDP port"`
	Route `yaml:",inline"`
}

// SetTarget reads ntp://host[:port].
func (o *ntpOptions) SetTarget(target string) error {
	u, err := url.Parse(target)
	switch {
	case err != nil:
		return fmt.Errorf("%q is not a target such as ntp://host", target)
	case u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.Path != "" && u.Path != "/":
		return errors.New("ntp://host takes nothing but a port, and no user")
	case u.Hostname() == "":
		return fmt.Errorf("%q needs a host: ntp://host", target)
	}
	if u.Port() != "" {
		if o.Port, err = strconv.Atoi(u.Port()); err != nil {
			return fmt.Errorf("%q is not a port number", u.Port())
		}
	}
	o.Host = u.Hostname()
	return nil
}

// ntpProbe is a built check of the kind ntp.
type ntpProbe struct {
	host, port string
	route      *router
}

// Build validates the options.
func (o *ntpOptions) Build(check.Setup) (check.Plan, error) {
	errs := validateHostPort(o.Host, o.Port)
	route, err := o.Route.build()
	errs = append(errs, err, route.reaches("host", o.Host))
	route.network = "udp"
	p := &ntpProbe{host: o.Host, port: strconv.Itoa(o.Port), route: route}
	return check.Plan{
		Probe: p, Target: net.JoinHostPort(o.Host, p.port),
		Defaults: []check.Default{
			{Expect: "kiss == ''"}, // which explains the stratum 0 that comes with it
			{Expect: "leap != '" + leapUnsynchronised + "'", WhenSeen: true},
			{Expect: "stratum in 1..15", WhenSeen: true},
		},
	}, errors.Join(errs...)
}

// Observe asks once. A request or an answer that is lost is no answer.
func (p *ntpProbe) Observe(ctx context.Context) check.Observation {
	j := begin()
	j.obs.Reproduce = p.reproduce
	conn, reason := j.connect(ctx, p.route, p.host, p.port)
	if reason != nil {
		return j.stop(reason)
	}
	defer conn.Close()
	if reason := p.ask(j, conn); reason != nil {
		return j.stop(reason)
	}
	return j.end()
}

// ask sends the request and waits for its answer.
func (p *ntpProbe) ask(j *journey, conn net.Conn) *check.Reason {
	nonce := ntp.Nonce()
	request := ntp.Request(nonce)
	sent := time.Now()
	_, err := conn.Write(request[:])
	j.timed(check.PhaseSend, sent)
	defer j.timed(check.PhaseWait, time.Now())
	var buf [ntp.MaxSize]byte
	mismatched := 0
	why := ""
	for err == nil {
		var n int
		if n, err = conn.Read(buf[:]); err != nil {
			break
		}
		// Both of our times are of one reading of the clock and a difference that
		// setting the clock does not change.
		took := time.Since(sent)
		answer, wrong := ntp.Parse(buf[:n], nonce)
		if wrong == "" {
			j.obs.Set("mismatched", mismatched)
			reportNTP(&answer, &j.obs, sent, took)
			return nil
		}
		mismatched++
		why = wrong
	}
	j.obs.Set("mismatched", mismatched)
	took := time.Since(sent)
	reason := j.unreached(p.route, p.host, conn, err, took)
	if isTimeout(err) && reason.Code == check.ConnectTimeout {
		reason.Message = "no answer of a time server within " + check.FormatDuration(took)
		if mismatched > 0 {
			reason.Message += fmt.Sprintf("; passed over %d datagrams that do not answer the request, the last one is %s", mismatched, why)
		}
	}
	return reason
}

// reportNTP sets the facts of an answer to what was sent at a time and took so long.
func reportNTP(m *ntp.Message, o *check.Observation, sent time.Time, took time.Duration) {
	kiss := m.Kiss()
	o.Set("kiss", kiss)
	if kiss != "" {
		o.Explain("kiss", check.ExpectCode("kiss"), "the server refuses: "+kissMeaning(kiss))
	}
	o.Set("stratum", m.Stratum)
	o.Set("version", m.Version)
	leap := [...]string{leapNone, leapInsert, leapDelete, leapUnsynchronised}[m.Leap]
	o.Set("leap", leap)
	if leap == leapUnsynchronised {
		o.Explain("leap", check.ExpectCode("leap"), fmt.Sprintf("the server says that its own clock is not synchronised (stratum %d)", m.Stratum))
	}
	if m.Stratum == 0 { // it tells no time (RFC 5905 section 7.4)
		return
	}
	// RFC 5905 section 8. The two halves may each be 68 years.
	ahead, back := m.Received.Since(ntp.StampOf(sent)), m.Sent.Since(ntp.StampOf(sent.Add(took)))
	offset := ahead/2 + back/2
	rtt := max(0, took-m.Sent.Since(m.Received)) // clocks of different speed may make it negative
	o.Set("offset", offset)
	o.Set("off_by", max(offset, -offset))
	o.Set("rtt", rtt)
	o.Set("reference_id", m.ReferenceID())
	if m.Set != 0 {
		o.Set("reference_age", m.Sent.Since(m.Set))
	}
	o.Set("root.delay", m.RootDelay)
	o.Set("root.dispersion", m.RootDispersion)
	o.Set("root.distance", m.RootDelay/2+rtt/2+m.RootDispersion)
	if m.Precision < 0 && m.Precision > -64 {
		o.Set("precision", time.Duration(uint64(time.Second)>>-m.Precision))
	}
}

// kissMeaning says what a kiss-o'-death means.
func kissMeaning(code string) string {
	switch code {
	case "RATE":
		return "RATE, it is asked too often"
	case "DENY", "RSTR":
		return code + ", it gives no access to this machine"
	case "INIT", "STEP":
		return code + ", it has no time yet"
	default:
		return code
	}
}

// reproduce returns a shell line that shows the offset and sets no clock.
func (p *ntpProbe) reproduce() string {
	host := p.route.to(p.host)
	c := shellLine{"chronyd", "-Q", "-t", "5"}
	if _, err := netip.ParseAddr(host); err != nil && p.route.family != 0 {
		c.add("-" + strconv.Itoa(int(p.route.family)))
	}
	c.add(strings.Join([]string{"server", host, "port", p.port, "iburst", "maxsamples", "1"}, " "))
	return c.String()
}
