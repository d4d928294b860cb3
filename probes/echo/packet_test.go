package echo

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sonde-cli/sonde/check"
)

// echoRequest makes an echo request with a payload.
func echoRequest(v6 bool, id, seq uint16, payload []byte) []byte {
	b := append(make([]byte, echoHeader), payload...)
	putRequest(b, v6, id, seq)
	return b
}

// ipHeader makes an IP header before an ICMP packet.
func ipHeader(from, to netip.Addr) []byte {
	if to.Is4() {
		h := make([]byte, ip4Header)
		h[0], h[8], h[9] = 0x45, 64, protoICMP4
		copy(h[12:], from.AsSlice())
		copy(h[16:], to.AsSlice())
		return h
	}
	h := make([]byte, ip6Header)
	h[0], h[6] = 0x60, protoICMP6
	copy(h[8:], from.AsSlice())
	copy(h[24:], to.AsSlice())
	return h
}

// errorAbout makes the ICMP error that a router sends about a packet.
func errorAbout(typ, code byte, to netip.Addr, packet []byte) []byte {
	from := netip.MustParseAddr("127.0.0.1")
	if to.Is6() {
		from = netip.IPv6Loopback()
	}
	b := append([]byte{typ, code, 0, 0, 0, 0, 0, 0}, append(ipHeader(from, to), packet...)...)
	if to.Is4() {
		binary.BigEndian.PutUint16(b[2:], checksum(b))
	}
	return b
}

func TestEchoPacket(t *testing.T) {
	payload := make([]byte, 40)
	fillPayload(payload, nonce{1, 2, 3})
	b := echoRequest(false, 0xbeef, 0xffff, payload)
	if got := checksum(b); got != 0 {
		t.Errorf("checksum of a whole packet is %#x, want 0", got)
	}
	reply := bytes.Clone(b)
	reply[0] = typeEchoReply4
	got, report := parseMessage(reply, false)
	if report != nil || got == nil || got.id != 0xbeef || got.seq != 0xffff || !bytes.Equal(got.payload, payload) {
		t.Errorf("parsed %+v, %v", got, report)
	}
	if odd := checksum([]byte{0xff, 0xfe, 0x01}); odd != ^uint16(0xff) {
		t.Errorf("checksum of an odd length is %#x", odd)
	}
}

func TestF10ShortAndForeignMessagesAreIgnored(t *testing.T) {
	to4, to6 := netip.MustParseAddr("127.0.0.9"), netip.IPv6Loopback()
	whole4, whole6 := echoRequest(false, 1, 2, nil), echoRequest(true, 1, 2, nil)
	fragment := errorAbout(typeUnreachable4, 1, to4, whole4)
	fragment[echoHeader+7] = 1
	tcp := errorAbout(typeUnreachable4, 1, to4, whole4)
	tcp[echoHeader+9] = 6
	version := errorAbout(typeUnreachable6, 1, to6, whole6)
	version[echoHeader] = 0x40
	for name, tc := range map[string]struct {
		b  []byte
		v6 bool
	}{
		"empty":                   {nil, false},
		"short reply":             {[]byte{typeEchoReply4, 0, 0, 0, 0, 1, 0}, false},
		"reply with a code":       {[]byte{typeEchoReply4, 1, 0, 0, 0, 1, 0, 1}, false},
		"request":                 {whole4, false},
		"reply of IPv4 over IPv6": {[]byte{typeEchoReply4, 0, 0, 0, 0, 1, 0, 1}, true},
		"redirect":                {errorAbout(5, 1, to4, whole4), false},
		"no packet":               {[]byte{typeUnreachable4, 1, 0, 0, 0, 0, 0, 0}, false},
		"packet cut in its head":  {errorAbout(typeUnreachable4, 1, to4, whole4[:7]), false},
		"packet is no request":    {errorAbout(typeUnreachable4, 1, to4, append([]byte{0}, whole4[1:]...)), false},
		"later fragment":          {fragment, false},
		"packet is TCP":           {tcp, false},
		"IPv6 packet cut":         {errorAbout(typeUnreachable6, 1, to6, whole6[:4]), true},
		"wrong version":           {version, true},
	} {
		if reply, report := parseMessage(tc.b, tc.v6); reply != nil || report != nil {
			t.Errorf("%s: parsed as %v, %v", name, reply, report)
		}
	}
}

func TestF7ReportsHaveClasses(t *testing.T) {
	to4, to6 := netip.MustParseAddr("127.0.0.9"), netip.IPv6Loopback()
	for _, tc := range []struct {
		typ, code byte
		to        netip.Addr
		rest      uint32 // second word of the header
		want      string
		wantCode  check.Code
	}{
		{typeUnreachable4, 0, to4, 0, "net unreachable", check.ICMPUnreachable},
		{typeUnreachable4, 1, to4, 0, "host unreachable", check.ICMPUnreachable},
		{typeUnreachable4, 3, to4, 0, "port unreachable", check.ICMPUnreachable},
		{typeUnreachable4, 4, to4, 1280, "fragmentation needed for an MTU of 1280", check.ICMPFragmentation},
		{typeUnreachable4, 4, to4, 0, "fragmentation needed", check.ICMPFragmentation},
		{typeUnreachable4, 13, to4, 0, "admin prohibited", check.ICMPUnreachable},
		{typeUnreachable4, 99, to4, 0, "unreachable (code 99)", check.ICMPUnreachable},
		{typeTimeExceeded4, 0, to4, 0, "ttl exceeded", check.ICMPTTLExceeded},
		{typeTimeExceeded4, 1, to4, 0, "fragments not reassembled in time", check.ICMPTTLExceeded},
		{typeParameter4, 0, to4, 0, "parameter problem (code 0)", check.ICMPUnreachable},
		{typeUnreachable6, 0, to6, 0, "no route to the target", check.ICMPUnreachable},
		{typeUnreachable6, 1, to6, 0, "admin prohibited", check.ICMPUnreachable},
		{typeUnreachable6, 3, to6, 0, "address unreachable", check.ICMPUnreachable},
		{typeTooBig6, 0, to6, 1400, "fragmentation needed for an MTU of 1400", check.ICMPFragmentation},
		{typeTimeExceeded6, 0, to6, 0, "ttl exceeded", check.ICMPTTLExceeded},
		{typeParameter6, 1, to6, 0, "parameter problem (code 1)", check.ICMPUnreachable},
	} {
		b := errorAbout(tc.typ, tc.code, tc.to, echoRequest(tc.to.Is6(), 7, 8, []byte("payload")))
		binary.BigEndian.PutUint32(b[4:], tc.rest)
		reply, report := parseMessage(b, tc.to.Is6())
		if reply != nil || report == nil {
			t.Fatalf("type %d code %d: parsed as %v, %v", tc.typ, tc.code, reply, report)
		}
		if diff := cmp.Diff(tc.want, report.String()); diff != "" {
			t.Error(diff)
		}
		if report.Reason() != tc.wantCode || report.to != tc.to || report.packet.id != 7 || report.packet.seq != 8 ||
			string(report.packet.payload) != "payload" {
			t.Errorf("type %d code %d: %+v", tc.typ, tc.code, report)
		}
	}
}

// FuzzMessage looks for packets that the parser falls over, or in which it
// sees what is not there.
func FuzzMessage(f *testing.F) {
	for _, to := range []string{"127.0.0.9", "::1"} {
		addr := netip.MustParseAddr(to)
		request := echoRequest(addr.Is6(), 1, 2, []byte("0123456789abcdef and more"))
		f.Add(request, addr.Is6())
		f.Add(errorAbout(3, 1, addr, request), addr.Is6())
		f.Add(errorAbout(1, 1, addr, request), addr.Is6())
		f.Add(append(ipHeader(addr, addr), request...), addr.Is6())
	}
	f.Fuzz(func(t *testing.T, b []byte, v6 bool) {
		if header := trimIP4(b); header > len(b) {
			t.Fatalf("header of %d bytes in %d", header, len(b))
		}
		reply, report := parseMessage(b, v6)
		if reply != nil && report != nil {
			t.Fatal("both a reply and a report")
		}
		if reply != nil && len(reply.payload) != len(b)-echoHeader {
			t.Fatalf("payload of %d bytes in a packet of %d", len(reply.payload), len(b))
		}
		if report != nil && (report.String() == "" || report.Reason() == "" || report.to.Is6() != v6) {
			t.Fatalf("%+v", report)
		}
	})
}
