package probes

import (
	"context"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sonde-cli/sonde/check"
)

var (
	pingTarget   = netip.MustParseAddr("127.0.0.9")
	pingStranger = netip.MustParseAddr("127.0.0.10")
)

// pingFlight is a table with one round whose packets have been sent.
type pingFlight struct {
	echoTable
	*echoRound
	start time.Time
}

func newFlight(t *testing.T, count int) *pingFlight {
	t.Helper()
	f := &pingFlight{start: time.Now(), echoRound: newRound(&echoPlan{to: pingTarget, count: count})}
	if !f.joinRaw(f.echoRound) {
		t.Fatal("the table takes no round")
	}
	for i := range count {
		f.stamp(f.echoRound, i, f.start)
	}
	return f
}

// packet returns the packet with index i, as it comes back.
func (f *pingFlight) packet(i int) *echoReply {
	payload := make([]byte, 56)
	echoPayload(payload, f.nonce)
	return &echoReply{id: f.id, seq: f.base + uint16(i), payload: payload}
}

func (f *pingFlight) answer(p *echoReply, from netip.Addr, after time.Duration) {
	f.reply(p, from, 64, 0, f.start.Add(after))
}

func (f *pingFlight) over() bool {
	select {
	case <-f.done:
		return true
	default:
		return false
	}
}

func (f *pingFlight) want(t *testing.T, received, duplicates, mismatched int) {
	t.Helper()
	got := [3]int{f.received, f.duplicates, f.mismatched}
	if diff := cmp.Diff([3]int{received, duplicates, mismatched}, got); diff != "" {
		t.Errorf("received, duplicates, mismatched: %s", diff)
	}
}

func TestRoundEndsWithTheLastReply(t *testing.T) {
	f := newFlight(t, 2)
	f.answer(f.packet(1), pingTarget, 3*time.Millisecond)
	if f.over() {
		t.Error("over before all replies came")
	}
	f.answer(f.packet(0), pingTarget, 5*time.Millisecond)
	if !f.over() {
		t.Error("not over with all replies")
	}
	f.leave(f.echoRound)
	f.want(t, 2, 0, 0)
	if diff := cmp.Diff([]time.Duration{5 * time.Millisecond, 3 * time.Millisecond}, f.rtts); diff != "" {
		t.Error(diff)
	}
	if len(f.packets) != 0 {
		t.Errorf("%d packets left in the table", len(f.packets))
	}
}

func TestF2AnotherProbersReplyIsIgnored(t *testing.T) {
	f := newFlight(t, 1)
	for name, change := range map[string]func(*echoReply){
		"nonce":     func(p *echoReply) { p.payload[15] ^= 1 },
		"id":        func(p *echoReply) { p.id++ },
		"sequence":  func(p *echoReply) { p.seq++ },
		"no nonce":  func(p *echoReply) { p.payload = nil },
		"cut nonce": func(p *echoReply) { p.payload = p.payload[:15] },
	} {
		p := f.packet(0)
		change(p)
		f.answer(p, pingTarget, time.Millisecond)
		f.answer(p, pingStranger, time.Millisecond)
		if f.received != 0 || f.mismatched != 0 {
			t.Errorf("a reply with another %s was taken", name)
		}
	}
}

func TestF4LateReplyOfARoundBeforeIsIgnored(t *testing.T) {
	f := newFlight(t, 1)
	late := f.packet(0)
	f.leave(f.echoRound)
	f.answer(late, pingTarget, time.Second)
	f.want(t, 0, 0, 0)

	// The next round may even have the same id and sequence numbers.
	next := newRound(&echoPlan{to: pingTarget, count: 1})
	if !f.register(next, late.id, late.seq) {
		t.Fatal("the keys are still taken")
	}
	f.stamp(next, 0, f.start)
	f.answer(late, pingTarget, time.Second)
	if next.received != 0 {
		t.Error("a late reply was counted for the next round")
	}
}

func TestF5DuplicatesAreCountedApart(t *testing.T) {
	f := newFlight(t, 2)
	f.answer(f.packet(0), pingTarget, time.Millisecond)
	f.answer(f.packet(0), pingTarget, 2*time.Millisecond)
	f.answer(f.packet(0), pingTarget, 3*time.Millisecond)
	f.want(t, 1, 2, 0)
	if f.over() {
		t.Error("duplicates ended the round")
	}
	if f.rtts[0] != time.Millisecond {
		t.Errorf("round-trip time %s, want that of the first reply", f.rtts[0])
	}
}

func TestF6ReplyFromAnotherAddressDoesNotCount(t *testing.T) {
	f := newFlight(t, 1)
	f.answer(f.packet(0), pingStranger, time.Millisecond)
	f.want(t, 0, 0, 1)
	if f.stranger != pingStranger || f.over() {
		t.Errorf("stranger %s, over %t", f.stranger, f.over())
	}
}

func TestF7ReportMustBeAboutOurPacket(t *testing.T) {
	f := newFlight(t, 2)
	report := func(p *echoReply, to netip.Addr) *icmpReport {
		return &icmpReport{from: pingStranger, to: to, packet: *p, typ: typeUnreachable4, code: 1}
	}
	foreign := f.packet(0)
	foreign.payload[3] ^= 1
	f.reported(report(foreign, pingTarget))
	f.reported(report(f.packet(0), pingStranger))
	if f.report != nil {
		t.Fatalf("took a report about somebody else's packet: %s", f.report)
	}
	short := f.packet(0) // RFC 792 asks routers for no more than the header
	short.payload = nil
	f.reported(report(short, pingTarget))
	if f.report == nil || f.report.from != pingStranger {
		t.Fatal("missed a report")
	}
	f.reported(report(f.packet(0), pingTarget))
	f.answer(f.packet(1), pingTarget, time.Millisecond)
	if !f.over() {
		t.Error("a report with our nonce and a reply do not end the round")
	}
	f.want(t, 1, 0, 0)
}

func TestF7ReportWithoutNonceDoesNotEndTheWait(t *testing.T) {
	f := newFlight(t, 1)
	short := f.packet(0)
	short.payload = short.payload[:trustedNonce-1]
	f.reported(&icmpReport{from: pingStranger, to: pingTarget, packet: *short, typ: typeUnreachable4, code: 1})
	if f.over() {
		t.Error("who guesses 32 bits can end the wait")
	}
	f.answer(f.packet(0), pingTarget, time.Millisecond)
	f.want(t, 1, 0, 0)
}

func TestF8EachRoundHasItsOwnID(t *testing.T) {
	var table echoTable
	seen := map[uint16]bool{}
	for range 1000 {
		r := newRound(&echoPlan{to: pingTarget, count: 3})
		if !table.joinRaw(r) || seen[r.id] {
			t.Fatalf("id %d again", r.id)
		}
		seen[r.id] = true
		table.leave(r)
	}
}

func TestF9SequenceNumbersBeginAnew(t *testing.T) {
	r := newRound(&echoPlan{to: pingTarget, count: 5})
	f := &pingFlight{echoRound: r, start: time.Now()}
	f.nextSeq = 65534
	if !f.joinDatagram(r, 77) {
		t.Fatal("the table takes no round")
	}
	for i := range 5 {
		f.stamp(r, i, f.start)
		f.answer(f.packet(i), pingTarget, time.Duration(i+1)*time.Millisecond)
	}
	f.want(t, 5, 0, 0)
	if f.rtts[3] != 4*time.Millisecond || f.base+uint16(3) != 1 {
		t.Errorf("packet 3 has sequence number %d and took %s", f.base+3, f.rtts[3])
	}
	// 65536 packets later the same number means another packet.
	f.leave(r)
	f.nextSeq = r.base
	next := newRound(&echoPlan{to: pingTarget, count: 5})
	if !f.joinDatagram(next, 77) {
		t.Fatal("the table takes no round")
	}
	f.stamp(next, 0, f.start)
	f.answer(f.packet(0), pingTarget, time.Second)
	if next.received != 0 {
		t.Error("a reply from before the wrap was counted")
	}
}

func TestTableSkipsWhatIsInFlight(t *testing.T) {
	var table echoTable
	long := newRound(&echoPlan{to: pingTarget, count: 2})
	table.joinDatagram(long, 7)
	table.nextSeq = long.base - 1
	next := newRound(&echoPlan{to: pingTarget, count: 2})
	if !table.joinDatagram(next, 7) {
		t.Fatal("no room")
	}
	if len(table.packets) != 4 {
		t.Errorf("%d packets in flight, want 4", len(table.packets))
	}
	table.packets = make(map[uint32]echoKey, crowdedTable)
	for i := range uint32(crowdedTable) {
		table.packets[i] = echoKey{}
	}
	if table.joinDatagram(newRound(&echoPlan{to: pingTarget, count: 1}), 9) {
		t.Error("a crowded table took another round")
	}
}

func TestReplyToAPacketThatWasNotSentIsForged(t *testing.T) {
	f := newFlight(t, 2)
	f.stamp(f.echoRound, 1, time.Time{})
	f.answer(f.packet(1), pingTarget, time.Millisecond)
	f.leave(f.echoRound)
	f.want(t, 0, 0, 0)
	if f.echoes.sent != 1 {
		t.Errorf("sent %d, want 1", f.echoes.sent)
	}
}

func TestPaceEchoes(t *testing.T) {
	for name, tc := range map[string]struct {
		timeout time.Duration
		want    []time.Duration
	}{
		"all":                        {time.Minute, []time.Duration{0, time.Second, 2 * time.Second}},
		"the last has no time left":  {2400 * time.Millisecond, []time.Duration{0, time.Second}},
		"only one fits":              {100 * time.Millisecond, []time.Duration{0}},
		"the last has just the time": {2500 * time.Millisecond, []time.Duration{0, time.Second, 2 * time.Second}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), tc.timeout)
				defer cancel()
				start := time.Now()
				var got []time.Duration
				why := paceEchoes(ctx, &echoPlan{count: 3, interval: time.Second}, func(int) *check.Reason {
					got = append(got, time.Since(start))
					return nil
				})
				if diff := cmp.Diff(tc.want, got); diff != "" || why != nil {
					t.Error(why, diff)
				}
			})
		})
	}
}

func TestPaceEchoesEndsWithAFailure(t *testing.T) {
	calls := 0
	why := paceEchoes(t.Context(), &echoPlan{count: 3}, func(int) *check.Reason {
		calls++
		return &check.Reason{Code: check.LocalRoute}
	})
	if calls != 1 || why == nil || why.Code != check.LocalRoute {
		t.Errorf("%d calls, %v", calls, why)
	}
}
