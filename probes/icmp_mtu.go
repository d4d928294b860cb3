package probes

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sonde-cli/sonde/check"
	"github.com/sonde-cli/sonde/probes/echo"
)

// The facts of the search for the path's MTU.
const (
	pathMTUFact   = "mtu.path"
	blackHoleFact = "mtu.black_hole"
)

const (
	largestPacket  = 65535 // RFC 791 section 3.1
	ethernetMTU    = 1500
	maxMTUPackets  = 200 // of one search
	mtuPause       = 10 * time.Millisecond
	confirmPackets = 6
)

// mtuSearch finds the largest packet that gets to a target and back in one
// piece, like RFC 4821 by what arrives: a router's report is a hint where to
// look, and no report is needed. A packet that came back is proof; one that did
// not may just have been lost. So a size counts as too large only after three
// packets, and a search that ends at such a size sends more of them, between
// packets of the size below, before it says so.
type mtuSearch struct {
	send    func(context.Context, *echo.Plan) (echo.Result, *check.Reason)
	plan    echo.Plan // of each try, without size and count
	header  int       // bytes of IP and ICMP around the payload
	wait    time.Duration
	packets int

	low     int   // largest size that came back
	high    int   // smallest size that did not
	ceiling int   // smallest size that was refused and not just lost
	told    int   // smallest MTU that a router reported, 0: none
	guesses []int // sizes to try first
}

// errMTU tells why a search has no result.
type errMTU struct{ check.Reason }

// Error returns the message.
func (e *errMTU) Error() string { return e.Message }

func failMTU(code check.Code, format string, args ...any) error {
	return &errMTU{check.Reason{Code: code, Message: fmt.Sprintf(format, args...)}}
}

// newMTUSearch prepares a search to the address of a round that got replies.
func newMTUSearch(pinger *echo.Pinger, plan *echo.Plan, slowest time.Duration) *mtuSearch {
	s := &mtuSearch{
		send: pinger.Send, plan: *plan, header: echo.Overhead(plan.To), low: 576, // RFC 1122 section 3.3.2
		high: largestPacket + 1, ceiling: largestPacket + 1, guesses: []int{ethernetMTU, ethernetMTU + 1},
		wait: min(3*slowest+200*time.Millisecond, 2*time.Second),
	}
	if plan.To.Is6() {
		s.low = 1280 // RFC 8200 section 5
	}
	s.plan.Interval, s.plan.Whole = mtuPause, true
	return s
}

// run returns the path's MTU and whether larger packets vanish without a
// report.
func (s *mtuSearch) run(ctx context.Context) (mtu int, blackHole bool, err error) {
	switch came, err := s.fits(ctx, s.low); {
	case err != nil:
		return 0, false, err
	case !came:
		return 0, false, failMTU(check.ICMPLoss, "no packet of %d bytes, the smallest to be tried, came back", s.low)
	}
	for {
		for s.high-s.low > 1 {
			if err := s.step(ctx, s.next()); err != nil {
				return 0, false, err
			}
		}
		if s.high == s.ceiling || s.told > 0 && s.told <= s.low {
			return s.low, false, nil
		}
		lost, err := s.confirm(ctx)
		if lost || err != nil {
			return s.low, true, err
		}
	}
}

// next is the size to try: what a router or experience says, else the middle.
func (s *mtuSearch) next() int {
	for len(s.guesses) > 0 {
		size := s.guesses[0]
		s.guesses = s.guesses[1:]
		if size > s.low && size < s.high {
			return size
		}
	}
	return s.low + (s.high-s.low)/2
}

func (s *mtuSearch) step(ctx context.Context, size int) error {
	came, err := s.fits(ctx, size)
	switch {
	case err != nil:
		return err
	case came:
		s.low = size
	default:
		s.high = min(s.high, size) // a report may have set a lower one
	}
	return nil
}

// fits reports whether a packet of the size comes back.
func (s *mtuSearch) fits(ctx context.Context, size int) (bool, error) {
	for _, count := range []int{1, 2} { // the second time in case of loss
		got, err := s.try(ctx, size, count)
		switch {
		case err != nil:
			return false, err
		case got.Received > 0:
			return true, nil
		case got.Oversize, got.Report != nil:
			s.ceiling = min(s.ceiling, size)
			return false, nil
		}
	}
	return false, nil
}

// try sends packets of the size, and waits for their replies.
func (s *mtuSearch) try(ctx context.Context, size, count int) (echo.Result, error) {
	wait := s.wait + time.Duration(count-1)*mtuPause
	deadline, ok := ctx.Deadline()
	switch {
	case ctx.Err() != nil, ok && time.Until(deadline) < wait:
		return echo.Result{}, failMTU(check.ICMPTimeout, "the timeout left no time to find the path's MTU, which is %d to %d", s.low, s.high-1)
	case s.packets+count > maxMTUPackets:
		return echo.Result{}, failMTU(check.ICMPLoss, "too many packets were lost to find the path's MTU in %d", maxMTUPackets)
	}
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	plan := s.plan
	plan.Size, plan.Count = size-s.header, count
	got, why := s.send(ctx, &plan)
	s.packets += got.Sent
	switch {
	case got.Oversize:
		return got, nil
	case why != nil:
		return got, &errMTU{*why}
	case got.Report != nil && got.Received == 0 && !got.Report.TooBig():
		return got, failMTU(got.Report.Reason(), "%s reports %s to a packet of %d bytes", got.Report.From, got.Report, size)
	case got.Report != nil && got.Report.TooBig():
		s.heed(int(got.Report.MTU))
	}
	return got, nil
}

// heed takes a router's word for where to look next.
func (s *mtuSearch) heed(mtu int) {
	if mtu <= 0 {
		return // the router is older than RFC 1191
	}
	if s.told == 0 || mtu < s.told {
		s.told = mtu
	}
	s.guesses = []int{mtu, mtu + 1}
}

// confirm sends more packets of the size that got lost, between ones of the size
// that did not, and reports whether size makes the difference.
func (s *mtuSearch) confirm(ctx context.Context) (bool, error) {
	for range 3 {
		small, large := 0, 0
		for i, size := range []int{s.low, s.high, s.low} {
			count := confirmPackets / 2
			if i == 1 {
				count = confirmPackets
			}
			got, err := s.try(ctx, size, count)
			if err != nil {
				return false, err
			}
			if i == 1 {
				large = got.Received
			} else {
				small += got.Received
			}
		}
		switch {
		case large > 0:
			s.low, s.high = s.high, s.ceiling // what got lost before proves nothing
			return false, nil
		case small >= confirmPackets*2/3:
			return true, nil
		}
	}
	return false, failMTU(check.ICMPLoss, "too many packets of every size are lost to find the path's MTU")
}

// searchMTU adds the path's MTU to the facts of a round. The time is no part of
// the latency.
func (j *journey) searchMTU(ctx context.Context, pinger *echo.Pinger, plan *echo.Plan, got *echo.Result) {
	start := time.Now()
	defer func() { j.idle += time.Since(start) }()
	times, ok := summarise(got.RTTs)
	if !ok {
		return // explained as silence
	}
	mtu, blackHole, err := newMTUSearch(pinger, plan, times.max).run(ctx)
	var why *errMTU
	if errors.As(err, &why) {
		j.obs.Explain(pathMTUFact, why.Code, why.Message)
		j.obs.Explain(blackHoleFact, why.Code, why.Message)
		return
	}
	j.obs.Set(pathMTUFact, mtu)
	j.obs.Set(blackHoleFact, blackHole)
	if blackHole {
		j.obs.Explain(blackHoleFact, check.ICMPFragmentation,
			fmt.Sprintf("packets to %s of more than %d bytes vanish, and no router reports it", plan.To, mtu))
	}
}
