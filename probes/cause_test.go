package probes

import (
	"errors"
	"net"
	"os"
	"syscall"
	"testing"

	"github.com/sonde-cli/sonde/check"
)

// What the network says in the middle of an exchange is no matter of TLS.
func TestCauseOnceConnected(t *testing.T) {
	t.Parallel()
	unreachable := &net.OpError{Op: "read", Net: "tcp", Err: os.NewSyscallError("read", syscall.EHOSTUNREACH)}
	broken := errors.New("tls: received record with version 0 when expecting version 303")
	for _, c := range []struct {
		err    error
		secure bool
		want   check.Code
	}{
		{unreachable, false, check.ConnectUnreachable},
		{unreachable, true, check.ConnectUnreachable},
		{broken, true, check.TLSAlert},
		{net.ErrClosed, false, check.ConnectUnreachable},
	} {
		run := &httpRun{j: begin(), secure: c.secure}
		if got := run.broken(c.err, check.HTTPHeaderTimeout, "late"); got.Code != c.want {
			t.Errorf("%v, TLS %v: %v, want %s", c.err, c.secure, got, c.want)
		}
	}
	for err, want := range map[error]check.Code{unreachable: check.ConnectUnreachable, broken: check.TLSAlert} {
		if got := begin().handshakeReason(err, new(tlsPlan), "", 0); got.Code != want {
			t.Errorf("handshake, %v: %v, want %s", err, got, want)
		}
	}
}
