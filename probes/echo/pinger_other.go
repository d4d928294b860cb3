//go:build !linux

package echo

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"runtime"
	"syscall"
	"time"

	probing "github.com/prometheus-community/pro-bing"

	"github.com/sonde-cli/sonde/check"
)

// Outside of Linux pro-bing, the maintained continuation of go-ping, does the
// work: a socket per ping, replies matched by id, sequence and a 128-bit
// tracker, no ICMP errors.

// MarksPackets tells that the options of IP cannot be set (Device, TOS and Whole of
// a [Plan]): what pro-bing does with them differs from system to system.
const MarksPackets = false

// Pinger sends rounds of echo requests, any number of them at once. The zero value
// is ready.
type Pinger struct{}

// CloseIdle has nothing to do: each round opens sockets of its own.
func (*Pinger) CloseIdle() {}

// Send makes one round, which ends with ctx. The reason is of our own side's fault;
// the result holds what was seen until then.
func (*Pinger) Send(ctx context.Context, plan *Plan) (Result, *check.Reason) {
	// Windows has no datagram sockets for ICMP, and raw ones need no privilege
	// there that pro-bing would have to ask for.
	if runtime.GOOS != "windows" {
		got, err := probe(ctx, plan, false)
		if !errors.Is(err, fs.ErrPermission) && !errors.Is(err, syscall.EPROTONOSUPPORT) {
			return got, probingFailure(err, plan)
		}
	}
	got, err := probe(ctx, plan, true)
	return got, probingFailure(err, plan)
}

func probe(ctx context.Context, plan *Plan, raw bool) (Result, error) {
	got := Result{Socket: "datagram", RTTs: make([]time.Duration, plan.Count)}
	if raw {
		got.Socket = "raw"
	}
	for i := range got.RTTs {
		got.RTTs[i] = NoReply
	}
	p := probing.New("")
	p.SetIPAddr(&net.IPAddr{IP: plan.To.AsSlice(), Zone: plan.To.Zone()})
	p.SetPrivileged(raw)
	p.SetLogger(probing.NoopLogger{})
	p.Count, p.Interval, p.Size, p.RecordTTLs = plan.Count, plan.Interval, plan.Size, false
	if plan.TTL > 0 {
		p.TTL = plan.TTL
	}
	if plan.From.IsValid() {
		p.Source = plan.From.String()
	}
	var sendErr error
	p.OnSendError = func(_ *probing.Packet, err error) { sendErr = err }
	p.OnDuplicateRecv = func(*probing.Packet) { got.Duplicates++ }
	p.OnRecv = func(r *probing.Packet) { countReply(&got, plan, r) }
	err := p.RunWithContext(ctx)
	got.Sent = p.Statistics().PacketsSent
	if ctx.Err() != nil {
		err = nil
	}
	if err == nil && got.Sent == 0 {
		err = sendErr
	}
	return got, err
}

// countReply takes a reply that pro-bing has matched.
func countReply(got *Result, plan *Plan, r *probing.Packet) {
	from, _ := netip.AddrFromSlice(r.IPAddr.IP)
	if from = from.Unmap(); from != plan.To.WithZone("") {
		got.Mismatched++
		got.Stranger = from
		return
	}
	if r.Seq < 0 || r.Seq >= len(got.RTTs) {
		return
	}
	got.answered(r.Seq, r.Rtt, r.TTL, UnknownTOS)
}

// probingFailure explains why no round could be made, which says nothing of
// the target.
func probingFailure(err error, plan *Plan) *check.Reason {
	if err == nil {
		return nil
	}
	r := &check.Reason{Code: check.LocalOverload, Message: fmt.Sprintf("cannot ping %s: %v", plan.To, err)}
	switch {
	case errors.Is(err, fs.ErrPermission):
		r.Code = check.LocalPermission
		r.Message += "\nhint: run sonde as a user that may open ICMP sockets (root, Administrator)"
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE):
		r.Code = check.LocalFD
	case errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.EADDRNOTAVAIL):
		r.Code = check.LocalRoute
	}
	return r
}
