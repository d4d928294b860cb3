package echo

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var (
	target   = netip.MustParseAddr("127.0.0.9")
	stranger = netip.MustParseAddr("127.0.0.10")
)

// flight is a table with one round whose packets have been sent.
type flight struct {
	table
	*round
	start time.Time
}

func newFlight(t *testing.T, count int) *flight {
	t.Helper()
	f := &flight{start: time.Now(), round: newRound(&Plan{To: target, Count: count})}
	if !f.joinRaw(f.round) {
		t.Fatal("the table takes no round")
	}
	for i := range count {
		f.stamp(f.round, i, f.start)
	}
	return f
}

// packet returns the packet with index i, as it comes back.
func (f *flight) packet(i int) *echo {
	payload := make([]byte, 56)
	fillPayload(payload, f.nonce)
	return &echo{id: f.id, seq: f.base + uint16(i), payload: payload}
}

func (f *flight) answer(p *echo, from netip.Addr, after time.Duration) {
	f.reply(p, from, 64, 0, f.start.Add(after))
}

func (f *flight) over() bool {
	select {
	case <-f.done:
		return true
	default:
		return false
	}
}

func (f *flight) want(t *testing.T, received, duplicates, mismatched int) {
	t.Helper()
	got := [3]int{f.Received, f.Duplicates, f.Mismatched}
	if diff := cmp.Diff([3]int{received, duplicates, mismatched}, got); diff != "" {
		t.Errorf("received, duplicates, mismatched: %s", diff)
	}
}

func TestRoundEndsWithTheLastReply(t *testing.T) {
	f := newFlight(t, 2)
	f.answer(f.packet(1), target, 3*time.Millisecond)
	if f.over() {
		t.Error("over before all replies came")
	}
	f.answer(f.packet(0), target, 5*time.Millisecond)
	if !f.over() {
		t.Error("not over with all replies")
	}
	f.leave(f.round)
	f.want(t, 2, 0, 0)
	if diff := cmp.Diff([]time.Duration{5 * time.Millisecond, 3 * time.Millisecond}, f.RTTs); diff != "" {
		t.Error(diff)
	}
	if len(f.packets) != 0 {
		t.Errorf("%d packets left in the table", len(f.packets))
	}
}

func TestF2AnotherProbersReplyIsIgnored(t *testing.T) {
	f := newFlight(t, 1)
	for name, change := range map[string]func(*echo){
		"nonce":     func(p *echo) { p.payload[15] ^= 1 },
		"id":        func(p *echo) { p.id++ },
		"sequence":  func(p *echo) { p.seq++ },
		"no nonce":  func(p *echo) { p.payload = nil },
		"cut nonce": func(p *echo) { p.payload = p.payload[:15] },
	} {
		p := f.packet(0)
		change(p)
		f.answer(p, target, time.Millisecond)
		f.answer(p, stranger, time.Millisecond)
		if f.Received != 0 || f.Mismatched != 0 {
			t.Errorf("a reply with another %s was taken", name)
		}
	}
}

func TestF4LateReplyOfARoundBeforeIsIgnored(t *testing.T) {
	f := newFlight(t, 1)
	late := f.packet(0)
	f.leave(f.round)
	f.answer(late, target, time.Second)
	f.want(t, 0, 0, 0)

	// The next round may even have the same id and sequence numbers.
	next := newRound(&Plan{To: target, Count: 1})
	if !f.register(next, late.id, late.seq) {
		t.Fatal("the keys are still taken")
	}
	f.stamp(next, 0, f.start)
	f.answer(late, target, time.Second)
	if next.Received != 0 {
		t.Error("a late reply was counted for the next round")
	}
}

func TestF5DuplicatesAreCountedApart(t *testing.T) {
	f := newFlight(t, 2)
	f.answer(f.packet(0), target, time.Millisecond)
	f.answer(f.packet(0), target, 2*time.Millisecond)
	f.answer(f.packet(0), target, 3*time.Millisecond)
	f.want(t, 1, 2, 0)
	if f.over() {
		t.Error("duplicates ended the round")
	}
	if f.RTTs[0] != time.Millisecond {
		t.Errorf("round-trip time %s, want that of the first reply", f.RTTs[0])
	}
}

func TestF6ReplyFromAnotherAddressDoesNotCount(t *testing.T) {
	f := newFlight(t, 1)
	f.answer(f.packet(0), stranger, time.Millisecond)
	f.want(t, 0, 0, 1)
	if f.Stranger != stranger || f.over() {
		t.Errorf("stranger %s, over %t", f.Stranger, f.over())
	}
}

func TestRepliesOutOfOrder(t *testing.T) {
	f := newFlight(t, 5)
	for _, i := range []int{0, 2, 1, 2, 4, 3} { // 2 comes twice
		f.answer(f.packet(i), target, time.Millisecond)
	}
	f.want(t, 5, 1, 0)
	if f.Reordered != 2 {
		t.Errorf("%d out of order, want 1 and 3", f.Reordered)
	}
}

func TestF7ReportMustBeAboutOurPacket(t *testing.T) {
	f := newFlight(t, 2)
	report := func(p *echo, to netip.Addr) *Report {
		return &Report{From: stranger, to: to, packet: *p, Type: typeUnreachable4, Code: 1}
	}
	foreign := f.packet(0)
	foreign.payload[3] ^= 1
	f.reported(report(foreign, target))
	f.reported(report(f.packet(0), stranger))
	if f.Report != nil {
		t.Fatalf("took a report about somebody else's packet: %s", f.Report)
	}
	short := f.packet(0) // RFC 792 asks routers for no more than the header
	short.payload = nil
	f.reported(report(short, target))
	if f.Report == nil || f.Report.From != stranger {
		t.Fatal("missed a report")
	}
	f.reported(report(f.packet(0), target))
	f.answer(f.packet(1), target, time.Millisecond)
	if !f.over() {
		t.Error("a report with our nonce and a reply do not end the round")
	}
	f.want(t, 1, 0, 0)
}

func TestF7ReportWithoutNonceDoesNotEndTheWait(t *testing.T) {
	f := newFlight(t, 1)
	short := f.packet(0)
	short.payload = short.payload[:trustedNonce-1]
	f.reported(&Report{From: stranger, to: target, packet: *short, Type: typeUnreachable4, Code: 1})
	if f.over() {
		t.Error("who guesses 32 bits can end the wait")
	}
	f.answer(f.packet(0), target, time.Millisecond)
	f.want(t, 1, 0, 0)
}

func TestF8EachRoundHasItsOwnID(t *testing.T) {
	var table table
	seen := map[uint16]bool{}
	for range 1000 {
		r := newRound(&Plan{To: target, Count: 3})
		if !table.joinRaw(r) || seen[r.id] {
			t.Fatalf("id %d again", r.id)
		}
		seen[r.id] = true
		table.leave(r)
	}
}

func TestF9SequenceNumbersBeginAnew(t *testing.T) {
	r := newRound(&Plan{To: target, Count: 5})
	f := &flight{round: r, start: time.Now()}
	f.nextSeq = 65534
	if !f.joinDatagram(r, 77) {
		t.Fatal("the table takes no round")
	}
	for i := range 5 {
		f.stamp(r, i, f.start)
		f.answer(f.packet(i), target, time.Duration(i+1)*time.Millisecond)
	}
	f.want(t, 5, 0, 0)
	if f.RTTs[3] != 4*time.Millisecond || f.base+uint16(3) != 1 {
		t.Errorf("packet 3 has sequence number %d and took %s", f.base+3, f.RTTs[3])
	}
	// 65536 packets later the same number means another packet.
	f.leave(r)
	f.nextSeq = r.base
	next := newRound(&Plan{To: target, Count: 5})
	if !f.joinDatagram(next, 77) {
		t.Fatal("the table takes no round")
	}
	f.stamp(next, 0, f.start)
	f.answer(f.packet(0), target, time.Second)
	if next.Received != 0 {
		t.Error("a reply from before the wrap was counted")
	}
}

func TestTableSkipsWhatIsInFlight(t *testing.T) {
	var table table
	long := newRound(&Plan{To: target, Count: 2})
	table.joinDatagram(long, 7)
	table.nextSeq = long.base - 1
	next := newRound(&Plan{To: target, Count: 2})
	if !table.joinDatagram(next, 7) {
		t.Fatal("no room")
	}
	if len(table.packets) != 4 {
		t.Errorf("%d packets in flight, want 4", len(table.packets))
	}
	table.packets = make(map[uint32]packet, crowdedTable)
	for i := range uint32(crowdedTable) {
		table.packets[i] = packet{}
	}
	if table.joinDatagram(newRound(&Plan{To: target, Count: 1}), 9) {
		t.Error("a crowded table took another round")
	}
}

func TestReplyToAPacketThatWasNotSentIsForged(t *testing.T) {
	f := newFlight(t, 2)
	f.stamp(f.round, 1, time.Time{})
	f.answer(f.packet(1), target, time.Millisecond)
	f.leave(f.round)
	f.want(t, 0, 0, 0)
	if f.Sent != 1 {
		t.Errorf("sent %d, want 1", f.Sent)
	}
}
