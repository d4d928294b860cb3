package probes

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"maps"
	"net"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sonde-cli/sonde/check"
	"github.com/sonde-cli/sonde/internal/testnet"
)

// needs is a Setup whose expectations name the facts.
func needs(facts ...string) check.Setup {
	return check.Setup{
		Needs: func(fact string) bool {
			for _, f := range facts {
				if f == fact {
					return true
				}
			}
			return false
		},
		Getenv: func(string) string { return "" },
	}
}

// observeTCP builds the options for the address and observes once.
func observeTCP(t *testing.T, o tcpOptions, host, port string, d time.Duration, facts ...string) check.Observation {
	t.Helper()
	var err error
	o.Host = host
	if o.Port, err = strconv.Atoi(port); err != nil {
		t.Fatal(err)
	}
	if o.MaxBanner == 0 {
		o.MaxBanner = defaultMaxBanner
	}
	plan, err := o.Build(needs(facts...))
	if err != nil {
		t.Fatal(err)
	}
	return plan.Probe.Observe(timeout(t, d))
}

func steps(pairs ...string) []turn {
	var out []turn
	for i := 0; i < len(pairs); i += 2 {
		s := turn{Send: pairs[i]}
		if pairs[i+1] != "" {
			s.Expect = regexp.MustCompile(pairs[i+1])
		}
		out = append(out, s)
	}
	return out
}

func TestA4SilentServerIsUp(t *testing.T) {
	t.Parallel()
	host, port := listen(t, testnet.Silence)
	o := observeTCP(t, tcpOptions{}, host, port, patience)
	if !o.Failure.IsZero() || o.Latency <= 0 {
		t.Errorf("%+v", o)
	}
}

func TestA4SilentServerWithABannerWanted(t *testing.T) {
	t.Parallel()
	host, port := listen(t, testnet.Silence)
	o := inTime(brief, func(d time.Duration) check.Observation { return observeTCP(t, tcpOptions{}, host, port, d, "banner") }, endsAs(""))
	if !o.Failure.IsZero() || o.Because["banner"].Code != "expect.banner" || o.Latency > hung {
		t.Errorf("%+v", o)
	}
}

func TestBanner(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		handler func(net.Conn)
		max     check.Size
		want    any
	}{
		"a line":            {testnet.Say("220 mail.test ESMTP\r\n"), 0, "220 mail.test ESMTP"},
		"two lines":         {testnet.Say("220-mail\r\n220 ready\r\n"), 0, "220-mail\r\n220 ready"},
		"no line end":       {testnet.Say("login: "), 0, "login: "},
		"then the end":      {func(c net.Conn) { io.WriteString(c, "bye") }, 0, "bye"},
		"A5 FIN":            {func(net.Conn) {}, 0, nil},
		"no UTF-8":          {testnet.Say("a\xffb\n"), 0, "a\uFFFDb"},
		"A19 no newline":    {testnet.Say(strings.Repeat("x", 100<<10)), 0, strings.Repeat("x", 64<<10)},
		"A19 a lower limit": {testnet.Say(strings.Repeat("x", 100)), 10, "xxxxxxxxxx"},
	}
	for title, tt := range tests {
		t.Run(title, func(t *testing.T) {
			t.Parallel()
			host, port := listen(t, tt.handler)
			o := observeTCP(t, tcpOptions{MaxBanner: tt.max}, host, port, patience, "banner")
			if !o.Failure.IsZero() || o.Facts.Get("banner") != tt.want {
				t.Errorf("failure %v, got %.40q, want %.40q", o.Failure, o.Facts.Get("banner"), tt.want)
			}
		})
	}
}

func TestA6ResetAfterAccept(t *testing.T) {
	t.Parallel()
	host, port := listen(t, testnet.Reset)
	if o := observeTCP(t, tcpOptions{}, host, port, patience, "banner"); o.Failure.Code != check.ConnectReset {
		t.Errorf("%+v", o)
	}
}

// mail answers as an SMTP server that says goodbye to whoever quits.
func mail(conn net.Conn) {
	lines := bufio.NewReader(conn)
	io.WriteString(conn, "220 mail.test ESMTP\r\n")
	for {
		line, err := lines.ReadString('\n')
		switch {
		case err != nil:
			return
		case strings.HasPrefix(line, "QUIT"):
			io.WriteString(conn, "221 bye\r\n")
			return
		default:
			io.WriteString(conn, "250-mail.test\r\n250-SIZE 1000\r\n250 HELP\r\n")
		}
	}
}

func TestDialogue(t *testing.T) {
	t.Parallel()
	host, port := listen(t, mail)
	o := observeTCP(t, tcpOptions{Steps: steps(
		"", `^220 (?P<host>\S+) ESMTP`,
		"EHLO probe\r\n", `(?m)^250-SIZE (\d+)\r?\n[^$]*^250 `,
		"QUIT\r\n", `^[^2]*221`,
	)}, host, port, patience)
	want := map[string]any{
		"ip": "127.0.0.1", "family": 4, "dialogue": true,
		"banner": "220 mail.test ESMTP", "answer": "HELP\r\n221 bye",
		"captures": map[string]string{"host": "mail.test", "1": "1000"},
	}
	if diff := cmp.Diff(want, maps.Collect(o.Facts.All())); diff != "" || !o.Failure.IsZero() {
		t.Errorf("failure %v\n%s", o.Failure, diff)
	}
}

// TestDialogueOfBytes sends what is no text.
func TestDialogueOfBytes(t *testing.T) {
	t.Parallel()
	host, port := listen(t, func(conn net.Conn) {
		sent := make([]byte, 8)
		if _, err := io.ReadFull(conn, sent); err == nil && string(sent) == "\x00\x00\x00\x08\x04\xd2\x16\x2f" {
			_, _ = io.WriteString(conn, "N")
		}
	})
	o := observeTCP(t, tcpOptions{Steps: []turn{{SendHex: "00000008 04D2162f", Expect: regexp.MustCompile("^[SN]")}}}, host, port, patience)
	wantFailure(t, o, "")
	wantFacts(t, o, check.FactsOf(map[string]any{"dialogue": true, "answer": "N"}))
}

func TestDialogueGoesWrong(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		handler func(net.Conn)
		steps   []turn
		brief   bool
		says    string
	}{
		"another answer": {testnet.Say("-ERR unknown\r\n"), steps("PING\r\n", "PONG"), true, `step 1: got "-ERR unknown..", want a match of PONG`},
		"silence":        {testnet.Silence, steps("PING\r\n", "PONG"), true, "step 1: no answer within"},
		"A5 FIN":         {func(net.Conn) {}, steps("", "220"), false, "step 1: the peer closed the connection"},
		"second step":    {testnet.Say("220 hi\r\n"), steps("", "220 .*\r\n", "", "250"), true, "step 2: no answer"},
		"A19 too much":   {testnet.Say(strings.Repeat("x", 70<<10)), steps("", "y"), false, "no match of y in the first 64KiB"},
		"A20 regexp of exponential time elsewhere": {
			testnet.Say(strings.Repeat("a", 70<<10)), steps("", "(a*)*(a|aa)+$b"), false, "no match"},
	}
	for title, tt := range tests {
		t.Run(title, func(t *testing.T) {
			t.Parallel()
			host, port := listen(t, tt.handler)
			d := patience
			if tt.brief {
				d = brief
			}
			o := inTime(d, func(d time.Duration) check.Observation {
				return observeTCP(t, tcpOptions{Steps: tt.steps}, host, port, d)
			},
				func(o *check.Observation) bool { return strings.Contains(o.Because["dialogue"].Message, tt.says) })
			because := o.Because["dialogue"]
			if !o.Failure.IsZero() || o.Facts.Get("dialogue") != false || because.Code != "expect.dialogue" || !strings.Contains(because.Message, tt.says) {
				t.Errorf("failure %v, dialogue %v because %v", o.Failure, o.Facts.Get("dialogue"), because)
			}
			if tt.brief && o.Latency > hung {
				t.Errorf("took %v", o.Latency)
			}
		})
	}
}

func TestDialogueMatchIsNotCutShort(t *testing.T) {
	t.Parallel()
	host, port := listen(t, func(conn net.Conn) {
		io.WriteString(conn, "version 1")
		time.AfterFunc(time.Millisecond, func() { io.WriteString(conn, "0.4\n") })
		testnet.Silence(conn)
	})
	o := observeTCP(t, tcpOptions{Steps: steps("", `version (?P<v>[\d.]+)`)}, host, port, patience)
	if got := o.Facts.Get("captures"); !cmp.Equal(got, map[string]string{"v": "10.4"}) {
		t.Errorf("captures %v", got)
	}
}

func TestA18DribblingPeerEndsInTime(t *testing.T) {
	t.Parallel()
	host, port := listen(t, testnet.Drip("x", time.Millisecond))
	o := inTime(brief, func(d time.Duration) check.Observation {
		return observeTCP(t, tcpOptions{Steps: steps("", "never")}, host, port, d)
	}, endsAs(""))
	if o.Latency > hung || o.Facts.Get("dialogue") != false {
		t.Errorf("%+v", o)
	}
}

func TestA10ZeroWindow(t *testing.T) {
	t.Parallel()
	ended := make(chan struct{})
	host, port := listen(t, func(net.Conn) { <-ended }) // reads nothing
	defer close(ended)
	o := observeTCP(t, tcpOptions{Steps: steps(strings.Repeat("x", 32<<20), "")}, host, port, brief)
	if o.Failure.Code != check.ConnectTimeout || o.Latency > hung {
		t.Errorf("%v after %v", o.Failure, o.Latency)
	}
}

func TestDialogueOverTLS(t *testing.T) {
	t.Parallel()
	host, port := listenTLS(t, serverConfig(t, testnet.CertOptions{Names: []string{"127.0.0.1"}}), mail)
	o := observeTCP(t, tcpOptions{TLS: &TLS{CA: caFile(t)}, Steps: steps("", "^220 .*\n", "QUIT\r\n", "^221")}, host, port, patience)
	if !o.Failure.IsZero() || o.Facts.Get("dialogue") != true || o.Facts.Get("cert.hostname_ok") != true {
		t.Errorf("%+v", o)
	}
}

func TestCancelDuringADialogue(t *testing.T) {
	t.Parallel()
	reached := make(chan struct{})
	host, port := listen(t, func(conn net.Conn) {
		close(reached)
		testnet.Silence(conn)
	})
	options := tcpOptions{Host: host, MaxBanner: defaultMaxBanner, Steps: steps("", "220")}
	options.Port, _ = strconv.Atoi(port)
	plan, err := options.Build(needs())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	go func() {
		<-reached
		cancel()
	}()
	if o := plan.Probe.Observe(ctx); o.Failure.Code != check.LocalShutdown {
		t.Errorf("%+v", o)
	}
}

func TestTCPOptionErrors(t *testing.T) {
	t.Parallel()
	good := func(change func(*tcpOptions)) *tcpOptions {
		o := &tcpOptions{Host: "db.test", Port: 5432, MaxBanner: defaultMaxBanner}
		change(o)
		return o
	}
	tests := map[string]struct {
		options *tcpOptions
		option  string
	}{
		"":                  {good(func(*tcpOptions) {}), ""},
		"no host":           {good(func(o *tcpOptions) { o.Host = "" }), "host"},
		"a URL as host":     {good(func(o *tcpOptions) { o.Host = "http://x" }), "host"},
		"a shell in host":   {good(func(o *tcpOptions) { o.Host = "x;reboot" }), "host"},
		"port 0":            {good(func(o *tcpOptions) { o.Port = 0 }), "port"},
		"port 65536":        {good(func(o *tcpOptions) { o.Port = 65536 }), "port"},
		"banner too large":  {good(func(o *tcpOptions) { o.MaxBanner = 2 << 20 }), "max_banner"},
		"an empty step":     {good(func(o *tcpOptions) { o.Steps = make([]turn, 1) }), "steps[0]"},
		"family 5":          {good(func(o *tcpOptions) { o.Family = "5" }), "family"},
		"a name as address": {good(func(o *tcpOptions) { o.Address = "db" }), "address"},
		"another family":    {good(func(o *tcpOptions) { o.Family, o.Address = "6", "127.0.0.1" }), "address"},
		"host of another":   {good(func(o *tcpOptions) { o.Family, o.Host = "6", "127.0.0.1" }), "host"},
		"source of another": {good(func(o *tcpOptions) { o.Source, o.Address = []string{"::1"}, "127.0.0.1" }), "source"},
		"a bad TLS version": {good(func(o *tcpOptions) { o.TLS = &TLS{MinVersion: "3"} }), "tls.min_version"},
	}
	for title, tt := range tests {
		_, err := tt.options.Build(needs())
		got := check.OptionErrors(err)
		if tt.option == "" {
			if err != nil {
				t.Errorf("%s: %v", title, err)
			}
			continue
		}
		if len(got) != 1 || got[0].Option != tt.option {
			t.Errorf("%s: %v", title, err)
		}
	}
}

func TestTCPTargets(t *testing.T) {
	t.Parallel()
	for target, want := range map[string]string{
		"tcp://db.test:5432": "nc -vz db.test 5432",
		"tcp://[::1]:22":     "nc -vz ::1 22",
		"tcp://db.test":      "",
		"tcp://:80":          "",
		"tcp://db.test:x":    "",
		"tcp://a@db.test:80": "",
		"tcp://db.test:80/x": "",
	} {
		o := &tcpOptions{MaxBanner: defaultMaxBanner}
		err := o.SetTarget(target)
		if want == "" {
			if err == nil {
				t.Errorf("%s: no error", target)
			}
			continue
		}
		plan, buildErr := o.Build(needs())
		if err != nil || buildErr != nil {
			t.Errorf("%s: %v, %v", target, err, buildErr)
			continue
		}
		if got := reproduceLine(plan); got != want {
			t.Errorf("%s: %s", target, got)
		}
	}
}

func TestTCPReproduce(t *testing.T) {
	t.Parallel()
	for want, o := range map[string]tcpOptions{
		"nc -vz -4 -s 127.0.0.1 192.0.2.1 22": {Host: "db.test", Port: 22, Route: Route{Source: []string{"127.0.0.1"}, Address: "192.0.2.1"}},
		"nc -vz -6 db.test 22":                {Host: "db.test", Port: 22, Route: Route{Family: "6"}},
		"openssl s_client -4 -bind 127.0.0.1:0 -connect db.test:443 -servername x.test -min_protocol TLSv1 -max_protocol TLSv1.2 </dev/null": {
			Host: "db.test", Port: 443, Route: Route{Source: []string{"127.0.0.1"}},
			TLS: &TLS{ServerName: "x.test", MinVersion: "1.0", MaxVersion: "1.2", Insecure: true},
		},
	} {
		o.MaxBanner = defaultMaxBanner
		plan, err := o.Build(needs())
		if err != nil {
			t.Errorf("%s: %v", want, err)
			continue
		}
		if got := reproduceLine(plan); got != want {
			t.Errorf("%s\n%s", got, want)
		}
	}
}

func FuzzTCPTarget(f *testing.F) {
	f.Add("tcp://db.test:5432")
	f.Add("tcp://:db.test:54")
	f.Add("tcp://[fe80::1%25eth0]:443/")
	f.Fuzz(func(t *testing.T, target string) {
		o := &tcpOptions{MaxBanner: defaultMaxBanner}
		if o.SetTarget(target) != nil {
			return
		}
		plan, err := o.Build(needs())
		if err != nil {
			return
		}
		again := &tcpOptions{MaxBanner: defaultMaxBanner}
		if err := again.SetTarget("tcp://" + strings.ReplaceAll(plan.Target, "%", "%25")); err != nil || again.Host != o.Host || again.Port != o.Port {
			t.Errorf("%q becomes %q becomes %q port %d, %v", target, plan.Target, again.Host, again.Port, err)
		}
	})
}

// FuzzHearing feeds a dialogue whatever a peer may send, in pieces.
func FuzzHearing(f *testing.F) {
	f.Add([]byte("220 mail\r\n250 ok\r\n"), 3)
	f.Fuzz(func(t *testing.T, sent []byte, piece int) {
		client, server := net.Pipe()
		defer client.Close()
		go func() {
			defer server.Close()
			for rest := sent; len(rest) > 0; {
				n := min(max(1, piece), len(rest))
				if _, err := server.Write(rest[:n]); err != nil {
					return
				}
				rest = rest[n:]
			}
		}()
		h := &hearing{conn: client, ctx: t.Context(), max: 1 << 10}
		err := h.until(func(text []byte, _ bool) bool { return bytes.Contains(text, []byte("\n\n")) })
		if len(h.text) > h.max || !bytes.HasPrefix(sent, h.text) {
			t.Errorf("heard %q of %q", h.text, sent)
		}
		if found := bytes.Contains(h.text, []byte("\n\n")); found != (err == nil) {
			t.Errorf("found %v, error %v", found, err)
		}
	})
}

// reproduceLine is the line of the check's next run.
func reproduceLine(plan check.Plan) string {
	p := plan.Probe.(*tcpProbe)
	return p.reproduce(p.route.from())
}
