package probes

import (
	"math"
	"time"
)

// meanOpinion estimates how good a telephone call over the path would sound:
// the mean opinion score (MOS), from 1, bad, to 4.4. It is the E-model of ITU-T
// G.107 with its default values, so that only delay and loss count:
//
//	R = 93.2 - Id - Ie,eff
//
// Id, the effect of the delay, is the approximation of Cole and Rosenbluth,
// "Voice over IP performance monitoring" (2001), equation 3, for a one-way
// delay d in ms; above 177.3 ms people begin to talk at the same time:
//
//	Id = 0.024 d + 0.11 (d - 177.3) for d > 177.3, else 0.024 d
//
// Ie,eff, that of the loss, is G.107 equation 7-29 for a random loss of Ppl per
// cent, with the values of G.113 appendix I for the codec G.711 with packet loss
// concealment: Ie = 0, Bpl = 25.1.
//
//	Ie,eff = Ie + (95 - Ie) Ppl / (Ppl + Bpl)
//
// The score of R is G.107 annex B. The delay is half of the round-trip time,
// what a jitter buffer of twice the jitter adds, and 20 ms for a packet of
// voice.
func meanOpinion(rtt, jitter time.Duration, loss float64) float64 {
	const packet = 20 * time.Millisecond
	d := float64(rtt/2+2*jitter+packet) / float64(time.Millisecond)
	percent := 100 * loss
	r := 93.2 - 0.024*d - 0.11*max(d-177.3, 0) - 95*percent/(percent+25.1)
	if r <= 0 {
		return 1
	}
	score := 1 + 0.035*r + r*(r-60)*(100-r)*7e-6
	return math.Round(max(score, 1)*100) / 100 // below R = 6.5 the polynomial falls under 1
}
