package probes

import (
	"encoding/binary"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/sonde-cli/sonde/check"
	"github.com/sonde-cli/sonde/internal/testnet"
	"github.com/sonde-cli/sonde/probes/dnsmsg"
)

// E5: forgeries are passed over and counted, and the wait for the answer goes
// on until the time is up.
func TestE5Forgeries(t *testing.T) {
	z := zone(t, "web.test. 60 IN A 192.0.2.1")
	forge := func(q *testnet.DNSQuery) {
		wrongID := q.Answer()
		wrongID.Id++
		q.ReplyMsg(wrongID)
		wrongName := q.Answer()
		wrongName.Question[0].Name = "other.test."
		q.ReplyMsg(wrongName)
		wrongType := q.Answer()
		wrongType.Question[0].Qtype = dns.TypeAAAA
		q.ReplyMsg(wrongType)
		noQuestion := q.Answer()
		noQuestion.Question = nil
		q.ReplyMsg(noQuestion)
		query := q.Answer()
		query.Response = false
		q.ReplyMsg(query)
		q.Reply([]byte{1})
		if q.Network == "udp" {
			forgeSource(q)
		}
	}
	for _, transport := range []string{"udp", "tcp"} {
		t.Run(transport, func(t *testing.T) {
			t.Parallel()
			good := dnsServer(t, func(q *testnet.DNSQuery) { forge(q); z.Serve(q) })
			o := observeDNS(t, buildDNS(t, good.Addr(), func(o *dnsOptions) { o.Transport = transport }), time.Minute)
			wantFailure(t, o, "")
			wantFacts(t, o, check.FactsOf(map[string]any{"answers": []string{"192.0.2.1"}, "mismatched": 6}))

			bad := dnsServer(t, forge)
			p := buildDNS(t, bad.Addr(), func(o *dnsOptions) { o.Transport = transport })
			o = inTime(short, func(d time.Duration) check.Observation { return observeDNS(t, p, d) },
				func(o *check.Observation) bool { return o.Facts.Get("mismatched").(int) >= 6 })
			wantFailure(t, o, check.DNSTimeout)
			if n := o.Facts.Get("mismatched").(int); n < 6 {
				t.Errorf("%d mismatched", n)
			}
		})
	}
}

// forgeSource sends an answer with everything right but the source.
func forgeSource(q *testnet.DNSQuery) {
	conn, err := net.Dial("udp", q.Client.String())
	if err != nil {
		return
	}
	defer conn.Close()
	m := q.Answer()
	m.Rcode = dns.RcodeNameError
	if raw, err := m.Pack(); err == nil {
		_, _ = conn.Write(raw) // the client may be gone
	}
}

// rawAnswer makes an answer of the query's id and question, with the counts and the
// bytes that follow.
func rawAnswer(q *testnet.DNSQuery, answers, authority, additional uint16, body ...byte) []byte {
	end := dnsmsg.HeaderSize
	for q.Raw[end] != 0 {
		end += int(q.Raw[end]) + 1
	}
	end += 5
	msg := slices.Clone(q.Raw[:end])
	msg[2], msg[3] = 0x84, 0x80
	binary.BigEndian.PutUint16(msg[6:], answers)
	binary.BigEndian.PutUint16(msg[8:], authority)
	binary.BigEndian.PutUint16(msg[10:], additional)
	return append(msg, body...)
}

// rawRecord is the wire form of a record; the owner is wire form too.
func rawRecord(owner []byte, rrtype uint16, data ...byte) []byte {
	b := slices.Clone(owner)
	b = binary.BigEndian.AppendUint16(b, rrtype)
	b = append(b, 0, 1, 0, 0, 0, 60)
	b = binary.BigEndian.AppendUint16(b, uint16(len(data)))
	return append(b, data...)
}

// E6 and E7: answers that break the protocol in every way.
func TestE6E7Malformed(t *testing.T) {
	self := []byte{0xC0, dnsmsg.HeaderSize} // a pointer to the question's name
	withCount := func(q *testnet.DNSQuery, n uint16) []byte {
		msg := rawAnswer(q, 0, 0, 0)
		binary.BigEndian.PutUint16(msg[4:], n)
		return msg
	}
	longName := func() []byte {
		var b []byte
		for range 5 {
			b = append(b, 63)
			b = append(b, strings.Repeat("x", 63)...)
		}
		return append(b, 0)
	}
	tests := map[string]func(q *testnet.DNSQuery) []byte{
		"short header":         func(q *testnet.DNSQuery) []byte { return q.Raw[:5] },
		"header only":          func(q *testnet.DNSQuery) []byte { return rawAnswer(q, 1, 0, 0)[:dnsmsg.HeaderSize] },
		"two questions":        func(q *testnet.DNSQuery) []byte { return withCount(q, 2) },
		"65535 questions":      func(q *testnet.DNSQuery) []byte { return withCount(q, 65535) },
		"more records counted": func(q *testnet.DNSQuery) []byte { return rawAnswer(q, 65535, 65535, 65535) },
		"cut record": func(q *testnet.DNSQuery) []byte {
			return rawAnswer(q, 1, 0, 0, rawRecord(self, dns.TypeA, 1, 2, 3, 4)[:13]...)
		},
		"short address": func(q *testnet.DNSQuery) []byte { return rawAnswer(q, 1, 0, 0, rawRecord(self, dns.TypeA, 1, 2, 3)...) },
		"long address": func(q *testnet.DNSQuery) []byte {
			return rawAnswer(q, 1, 0, 0, rawRecord(self, dns.TypeA, 1, 2, 3, 4, 5)...)
		},
		"label of 64": func(q *testnet.DNSQuery) []byte {
			return rawAnswer(q, 1, 0, 0, rawRecord([]byte{64, 'x', 0}, dns.TypeA, 1, 2, 3, 4)...)
		},
		"label of 191": func(q *testnet.DNSQuery) []byte {
			return rawAnswer(q, 1, 0, 0, rawRecord([]byte{191, 'x', 0}, dns.TypeA, 1, 2, 3, 4)...)
		},
		"name over 255": func(q *testnet.DNSQuery) []byte {
			return rawAnswer(q, 1, 0, 0, rawRecord(longName(), dns.TypeA, 1, 2, 3, 4)...)
		},
		"pointer to itself": func(q *testnet.DNSQuery) []byte {
			here := len(rawAnswer(q, 1, 0, 0))
			return rawAnswer(q, 1, 0, 0, rawRecord([]byte{0xC0 | byte(here>>8), byte(here)}, dns.TypeA, 1, 2, 3, 4)...)
		},
		"two pointers in a loop": func(q *testnet.DNSQuery) []byte {
			here := len(rawAnswer(q, 1, 0, 0))
			data := []byte{0xC0, byte(here + 14), 0xC0, byte(here + 12)}
			return rawAnswer(q, 1, 0, 0, rawRecord([]byte{0xC0, byte(here + 12)}, dns.TypeA, data...)...)
		},
		"pointer past the end": func(q *testnet.DNSQuery) []byte {
			return rawAnswer(q, 1, 0, 0, rawRecord([]byte{0xFF, 0xFF}, dns.TypeA, 1, 2, 3, 4)...)
		},
		"target loops": func(q *testnet.DNSQuery) []byte {
			here := byte(len(rawAnswer(q, 1, 0, 0)) + 12)
			return rawAnswer(q, 1, 0, 0, rawRecord(self, dns.TypeCNAME, 0xC0, here)...)
		},
	}
	for name, answer := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := dnsServer(t, func(q *testnet.DNSQuery) { q.Reply(answer(q)) })
			for _, transport := range []string{"udp", "tcp"} {
				o := observeDNS(t, buildDNS(t, server.Addr(), func(o *dnsOptions) { o.Transport = transport }), time.Minute)
				wantFailure(t, o, check.DNSMalformed)
			}
			_, reason := begin().resolve(within(t, time.Minute), &router{resolver: mustServer(t, server.Addr())}, "web.test")
			if resolveCode(reason) != check.DNSMalformed {
				t.Errorf("resolve: %+v", reason)
			}
		})
	}
}

// The stream ends inside a message, or is no DNS at all.
func TestDNSBrokenStream(t *testing.T) {
	for name, tt := range map[string]struct {
		send string
		want check.Code
	}{
		"empty":          {"", check.DNSMalformed},
		"half a length":  {"\x01", check.DNSMalformed},
		"half a message": {"\x01\x00abc", check.DNSMalformed},
		"SSH banner":     {"SSH-2.0-OpenSSH_9.6\r\n", check.DNSMalformed},
		"message of 0":   {"\x00\x00", check.DNSMalformed},
		"message of 1":   {"\x00\x01a", check.DNSMalformed},
	} {
		t.Run(name, func(t *testing.T) {
			server := dnsServer(t, func(q *testnet.DNSQuery) {
				fmt.Fprint(q.Conn(), tt.send)
				q.Conn().Close()
			})
			o := observeDNS(t, buildDNS(t, server.Addr(), func(o *dnsOptions) { o.Transport = "tcp" }), time.Minute)
			wantFailure(t, o, tt.want)
		})
	}
}

// E8: aliases that loop, or follow each other without end.
func TestE8Aliases(t *testing.T) {
	chainOf := func(n int) []string {
		records := []string{"web.test. 60 IN CNAME c1.test."}
		for i := 1; i < n; i++ {
			records = append(records, fmt.Sprintf("c%d.test. 60 IN CNAME c%d.test.", i, i+1))
		}
		return append(records, fmt.Sprintf("c%d.test. 60 IN A 192.0.2.1", n))
	}
	tests := []struct {
		name    string
		records []string
		want    check.Code
	}{
		{"to itself", []string{"web.test. 60 IN CNAME web.test."}, check.DNSMalformed},
		{"two in a loop", []string{"web.test. 60 IN CNAME b.test.", "b.test. 60 IN CNAME WEB.test."}, check.DNSMalformed},
		{"50 in a row", chainOf(50), check.DNSMalformed},
		{"16 in a row", chainOf(16), ""},
		{"17 in a row", chainOf(17), check.DNSMalformed},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			server := dnsServer(t, zone(t, tt.records...).Serve)
			o := observeDNS(t, buildDNS(t, server.Addr(), nil), time.Minute)
			wantFailure(t, o, tt.want)
			if tt.want == "" {
				wantFacts(t, o, check.FactsOf(map[string]any{"answers": []string{"192.0.2.1"}}))
			}
			_, reason := begin().resolve(within(t, time.Minute), &router{family: 4, resolver: mustServer(t, server.Addr())}, "web.test")
			if resolveCode(reason) != tt.want {
				t.Errorf("resolve: %+v", reason)
			}
		})
	}
}

// E9: the largest answer there is.
func TestE9LargeAnswer(t *testing.T) {
	const records = 4000
	server := dnsServer(t, func(q *testnet.DNSQuery) {
		m := q.Answer()
		if q.Network == "udp" {
			m.Truncated = true
			q.ReplyMsg(m)
			return
		}
		m.Compress = true
		for i := range records {
			m.Answer = append(m.Answer, &dns.A{
				Hdr: dns.RR_Header{Name: m.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 60},
				A:   net.IPv4(10, 0, byte(i>>8), byte(i)),
			})
		}
		q.ReplyMsg(m)
	})
	o := observeDNS(t, buildDNS(t, server.Addr(), nil), time.Minute)
	wantFailure(t, o, "")
	wantFacts(t, o, check.FactsOf(map[string]any{"answer_count": records, "truncated": true, "transport": "tcp"}))
	if size := o.Facts.Get("size").(int); size < 64000 {
		t.Errorf("size %d", size)
	}
	addrs, reason := begin().resolve(within(t, time.Minute), &router{family: 4, resolver: mustServer(t, server.Addr())}, "web.test")
	if reason != nil || len(addrs) != maxAddresses {
		t.Errorf("resolve: %d addresses, %+v", len(addrs), reason)
	}
}

// Names of 255 bytes, each written with four characters for a byte, in every
// record of an answer of 64 KiB: what is kept of it is bounded.
func TestDNSAnswerIsBounded(t *testing.T) {
	server := dnsServer(t, func(q *testnet.DNSQuery) {
		at := len(rawAnswer(q, 0, 0, 0)) + 12 // the first record's data
		var name []byte
		for range 3 {
			name = append(append(name, 63), strings.Repeat("\x01", 63)...)
		}
		name = append(append(name, 54), strings.Repeat("\x01", 54)...)
		body := rawRecord([]byte{0xC0, dnsmsg.HeaderSize}, dns.TypeNS, append(name, 0)...)
		count := uint16(1)
		for ; len(body)+at < 65000; count++ {
			body = append(body, rawRecord([]byte{0xC0, dnsmsg.HeaderSize}, dns.TypeNS, 0xC0|byte(at>>8), byte(at))...)
		}
		q.Reply(rawAnswer(q, count, 0, 0, body...))
	})
	o := observeDNS(t, buildDNS(t, server.Addr(), func(o *dnsOptions) { o.Type, o.Transport = "NS", "tcp" }), time.Minute)
	wantFailure(t, o, "")
	size := 0
	for _, s := range o.Facts.Get("answers").([]string) {
		size += len(s)
	}
	if n := o.Facts.Get("answer_count").(int); n < 4000 || size == 0 || size > maxAnswerText {
		t.Errorf("%d answers, %d bytes kept", n, size)
	}
}

// E10: what is new or odd but no harm.
func TestE10Tolerated(t *testing.T) {
	address := func(q *testnet.DNSQuery) []byte {
		return rawRecord([]byte{0xC0, dnsmsg.HeaderSize}, dns.TypeA, 192, 0, 2, 1)
	}
	withOPT := func(q *testnet.DNSQuery, options ...byte) []byte {
		opt := rawRecord([]byte{0}, dns.TypeOPT, options...)
		copy(opt[3:], []byte{0x10, 0, 0, 0, 0, 0})
		return rawAnswer(q, 1, 0, 1, append(address(q), opt...)...)
	}
	tests := []struct {
		name   string
		answer func(*testnet.DNSQuery) []byte
		qtype  string
		want   []string
	}{
		{"cookie", func(q *testnet.DNSQuery) []byte { return withOPT(q, 0, 10, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8) }, "A", []string{"192.0.2.1"}},
		{"unknown option", func(q *testnet.DNSQuery) []byte { return withOPT(q, 0xFD, 0xE9, 0, 1, 1) }, "A", []string{"192.0.2.1"}},
		{"option that overruns", func(q *testnet.DNSQuery) []byte { return withOPT(q, 0, 10, 0xFF, 0xFF, 1) }, "A", []string{"192.0.2.1"}},
		{"option of a wrong size", func(q *testnet.DNSQuery) []byte { return withOPT(q, 0, 11, 0, 1, 1) }, "A", []string{"192.0.2.1"}},
		{"bytes after the message", func(q *testnet.DNSQuery) []byte { return append(rawAnswer(q, 1, 0, 0, address(q)...), 1, 2, 3) }, "A", []string{"192.0.2.1"}},
		{
			"unknown type",
			func(q *testnet.DNSQuery) []byte {
				return rawAnswer(q, 1, 0, 0, rawRecord([]byte{0xC0, dnsmsg.HeaderSize}, 65280, 1, 2, 0xAB)...)
			},
			"TYPE65280", []string{`\# 3 0102ab`},
		},
		{
			"record of another type and owner",
			func(q *testnet.DNSQuery) []byte {
				return rawAnswer(q, 3, 0, 0, slices.Concat(address(q), rawRecord([]byte{0xC0, dnsmsg.HeaderSize}, 65280, 1), rawRecord([]byte{0}, dns.TypeA, 1, 2, 3, 4))...)
			},
			"A", []string{"192.0.2.1"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			server := dnsServer(t, func(q *testnet.DNSQuery) { q.Reply(tt.answer(q)) })
			o := observeDNS(t, buildDNS(t, server.Addr(), func(o *dnsOptions) { o.Type = tt.qtype }), time.Minute)
			wantFailure(t, o, "")
			wantFacts(t, o, check.FactsOf(map[string]any{"answers": tt.want}))
		})
	}
}

// E10: a server that does not know EDNS is asked without it, visibly.
func TestE10WithoutEDNS(t *testing.T) {
	z := zone(t, "web.test. 60 IN A 192.0.2.1")
	for _, rcode := range []int{dns.RcodeFormatError, dns.RcodeNotImplemented, dns.RcodeBadVers} {
		t.Run(dnsmsg.RcodeName(rcode), func(t *testing.T) {
			server := dnsServer(t, func(q *testnet.DNSQuery) {
				if q.Msg.IsEdns0() == nil {
					z.Serve(q)
					return
				}
				m := q.Answer()
				if rcode > 0xF {
					m.SetEdns0(1232, false)
				}
				m.Rcode = rcode
				if rcode == dns.RcodeFormatError {
					m.Question = nil // not even the question was understood
				}
				q.ReplyMsg(m)
			})
			o := observeDNS(t, buildDNS(t, server.Addr(), nil), time.Minute)
			wantFailure(t, o, "")
			wantFacts(t, o, check.FactsOf(map[string]any{"rcode": "NOERROR", "answer_count": 1, "edns.fallback": true}))
			o = observeDNS(t, buildDNS(t, server.Addr(), func(o *dnsOptions) { o.EDNS.DO = true }), time.Minute)
			wantFailure(t, o, "")
			wantFacts(t, o, check.FactsOf(map[string]any{"rcode": dnsmsg.RcodeName(rcode), "edns.fallback": false}))
		})
	}
}

// E11: names are equal whatever the case of their letters.
func TestE11Case(t *testing.T) {
	server := dnsServer(t, func(q *testnet.DNSQuery) {
		m := q.Answer()
		m.Question[0].Name = "wEB.TeST."
		for _, text := range []string{"Web.TEST. 60 IN CNAME A.Test.", "a.tEST. 60 IN A 192.0.2.1"} {
			rr, _ := dns.NewRR(text)
			m.Answer = append(m.Answer, rr)
		}
		q.ReplyMsg(m)
	})
	o := observeDNS(t, buildDNS(t, server.Addr(), nil), time.Minute)
	wantFailure(t, o, "")
	wantFacts(t, o, check.FactsOf(map[string]any{"answers": []string{"192.0.2.1"}, "cnames": []string{"A.Test."}, "mismatched": 0}))
	if addrs, reason := begin().resolve(within(t, time.Minute), &router{family: 4, resolver: mustServer(t, server.Addr())}, "web.test"); reason != nil || len(addrs) != 1 {
		t.Errorf("resolve: %v %+v", addrs, reason)
	}
}

// E12: an alias whose end has no record of the type is no answer.
func TestE12NoData(t *testing.T) {
	server := dnsServer(t, zone(t, "web.test. 60 IN CNAME end.test.", "end.test. 60 IN TXT x").Serve)
	o := observeDNS(t, buildDNS(t, server.Addr(), nil), time.Minute)
	wantFailure(t, o, "")
	wantFacts(t, o, check.FactsOf(map[string]any{"rcode": "NOERROR", "answer_count": 0, "cnames": []string{"end.test."}}))
	if r := o.Because["answer_count"]; r.Code != check.DNSNoData || !strings.Contains(r.Message, "end.test") {
		t.Errorf("explained by %+v", r)
	}
}

// E13: the extended error tells a failed validation from a failed server.
func TestE13ExtendedError(t *testing.T) {
	server := dnsServer(t, func(q *testnet.DNSQuery) {
		m := q.Answer()
		m.Rcode = dns.RcodeServerFailure
		m.SetEdns0(1232, true)
		m.IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_EDE{InfoCode: dns.ExtendedErrorCodeDNSBogus, ExtraText: "no key"}, &dns.EDNS0_EDE{InfoCode: 4711}}
		q.ReplyMsg(m)
	})
	o := observeDNS(t, buildDNS(t, server.Addr(), func(o *dnsOptions) { o.EDNS.DO = true }), time.Minute)
	wantFacts(t, o, check.FactsOf(map[string]any{"rcode": "SERVFAIL", "ede": []string{"DNSSEC Bogus (6): no key", "code (4711)"}}))
	if r := o.Because["rcode"]; r.Code != check.DNSServFail || !strings.Contains(r.Message, "DNSSEC Bogus") {
		t.Errorf("explained by %+v", r)
	}
}

// A server that never stops talking, or never finishes a word, is waited for
// no longer than the check's time.
func TestDNSEndless(t *testing.T) {
	tests := map[string]struct {
		transport string
		send      func(q *testnet.DNSQuery) error
	}{
		"flood over UDP": {"udp", func(q *testnet.DNSQuery) error {
			m := q.Answer()
			m.Id++
			q.ReplyMsg(m)
			return nil
		}},
		"flood over TCP": {"tcp", func(q *testnet.DNSQuery) error {
			_, err := q.Conn().Write(append([]byte{0, dnsmsg.HeaderSize}, make([]byte, dnsmsg.HeaderSize)...))
			return err
		}},
		"zeros over TCP": {"tcp", func(q *testnet.DNSQuery) error {
			_, err := q.Conn().Write(make([]byte, 1<<10))
			return err
		}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			server := dnsServer(t, func(q *testnet.DNSQuery) {
				// The client's deadline ends a stream; the server's end ends UDP.
				for range 1 << 20 {
					select {
					case <-q.Closed:
						return
					default:
					}
					if tt.send(q) != nil {
						return
					}
				}
			})
			p := buildDNS(t, server.Addr(), func(o *dnsOptions) { o.Transport = tt.transport })
			o := inTime(short, func(d time.Duration) check.Observation { return observeDNS(t, p, d) }, endsAs(check.DNSTimeout))
			if o.Failure.Code != check.DNSTimeout && o.Failure.Code != check.DNSMalformed {
				t.Errorf("failure %+v", o.Failure)
			}
		})
	}
	t.Run("half an answer over TCP", func(t *testing.T) {
		server := dnsServer(t, func(q *testnet.DNSQuery) {
			if _, err := q.Conn().Write([]byte{0xFF, 0xFF, q.Raw[0], q.Raw[1]}); err == nil {
				q.Hang()
			}
		})
		p := buildDNS(t, server.Addr(), func(o *dnsOptions) { o.Transport = "tcp" })
		o := inTime(short, func(d time.Duration) check.Observation { return observeDNS(t, p, d) }, endsAs(check.DNSTimeout))
		wantFailure(t, o, check.DNSTimeout)
	})
}
