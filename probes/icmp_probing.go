//go:build !linux

package probes

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

// sendEchoes makes one round. The reason is of our own side's fault; the echoes
// hold what was seen until then.
func sendEchoes(ctx context.Context, plan *echoPlan) (echoes, *check.Reason) {
	// Windows has no datagram sockets for ICMP, and raw ones need no privilege
	// there that pro-bing would have to ask for.
	if runtime.GOOS != "windows" {
		got, err := probeEchoes(ctx, plan, false)
		if !errors.Is(err, fs.ErrPermission) && !errors.Is(err, syscall.EPROTONOSUPPORT) {
			return got, probingFailure(err, plan)
		}
	}
	got, err := probeEchoes(ctx, plan, true)
	return got, probingFailure(err, plan)
}

// marksPackets tells that the options of IP cannot be set: what pro-bing does with
// them differs from system to system.
const marksPackets = false

// shedSockets has nothing to do: each round opens sockets of its own.
func shedSockets() {}

func probeEchoes(ctx context.Context, plan *echoPlan, raw bool) (echoes, error) {
	got := echoes{socket: "datagram", rtts: make([]time.Duration, plan.count)}
	if raw {
		got.socket = "raw"
	}
	for i := range got.rtts {
		got.rtts[i] = noReply
	}
	p := probing.New("")
	p.SetIPAddr(&net.IPAddr{IP: plan.to.AsSlice(), Zone: plan.to.Zone()})
	p.SetPrivileged(raw)
	p.SetLogger(probing.NoopLogger{})
	p.Count, p.Interval, p.Size, p.RecordTTLs = plan.count, plan.interval, plan.size, false
	if plan.ttl > 0 {
		p.TTL = plan.ttl
	}
	if plan.from.IsValid() {
		p.Source = plan.from.String()
	}
	var sendErr error
	p.OnSendError = func(_ *probing.Packet, err error) { sendErr = err }
	p.OnDuplicateRecv = func(*probing.Packet) { got.duplicates++ }
	p.OnRecv = func(r *probing.Packet) { countReply(&got, plan, r) }
	err := p.RunWithContext(ctx)
	got.sent = p.Statistics().PacketsSent
	if ctx.Err() != nil {
		err = nil
	}
	if err == nil && got.sent == 0 {
		err = sendErr
	}
	return got, err
}

// countReply takes a reply that pro-bing has matched.
func countReply(got *echoes, plan *echoPlan, r *probing.Packet) {
	from, _ := netip.AddrFromSlice(r.IPAddr.IP)
	if from = from.Unmap(); from != plan.to.WithZone("") {
		got.mismatched++
		got.stranger = from
		return
	}
	if r.Seq < 0 || r.Seq >= len(got.rtts) {
		return
	}
	got.answered(r.Seq, r.Rtt, r.TTL, unknownTOS)
}

// probingFailure explains why no round could be made, which says nothing of
// the target.
func probingFailure(err error, plan *echoPlan) *check.Reason {
	if err == nil {
		return nil
	}
	r := &check.Reason{Code: check.LocalOverload, Message: fmt.Sprintf("cannot ping %s: %v", plan.to, err)}
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
