package scheduler

import (
	"testing"

	"github.com/sonde-cli/sonde/check"
)

func TestTimely(t *testing.T) {
	for code, want := range map[check.Code]bool{
		check.ConnectTimeout: true, check.TLSHandshakeTimeout: true, check.HTTPBodyTimeout: true, check.ICMPLoss: true,
		"expect.latency": true, "expect.phase.connect": true, "expect.rtt.avg": true,
		"expect.dialogue": true, "expect.banner": true, // what a tcp check waits for until its timeout
		check.ConnectRefused: false, check.TLSExpired: false, check.HTTPStatus: false, "expect.answer": false,
	} {
		if timely(code) != want {
			t.Errorf("%s: timely %v, want %v", code, !want, want)
		}
	}
}
