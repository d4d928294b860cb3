package probes

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"syscall"
	"time"

	"github.com/sonde-cli/sonde/check"
)

// unix validates the socket's path, and that nothing says how to get to a host
// that is not asked.
func (b *httpBuilder) unix() error {
	o := b.options
	if o.Unix == "" {
		return nil
	}
	if limit := maxSocketPath(); len(o.Unix) > limit {
		return check.OptionErrorf("unix", "the path has %d bytes, that of a Unix socket at most %d here", len(o.Unix), limit)
	}
	for _, other := range []struct {
		name string
		set  bool
	}{
		{"proxy", o.Proxy != ""}, {"address", o.Address != "" && o.Address != "any"}, {"source", len(o.Source) > 0},
		{"interface", o.Interface != ""}, {"resolver", o.Resolver != ""}, {"dns", o.DNS == dnsCached}, {"search", o.Search},
		{"family", o.Family != "" && o.Family != "any"},
	} {
		if other.set {
			return check.OptionErrorf(other.name, "goes with no unix, which connects to a socket of this machine")
		}
	}
	b.probe.home.unix = o.Unix
	return nil
}

// maxSocketPath is how long a socket's path can be: struct sockaddr_un has 108
// bytes on Linux and Windows and 104 on the BSDs, with the zero at the end.
func maxSocketPath() int {
	switch runtime.GOOS {
	case "linux", "windows":
		return 107
	default:
		return 103
	}
}

// connectUnix connects to a Unix socket. It records the phase connect and the
// fact unix.
func (j *journey) connectUnix(ctx context.Context, path string) (net.Conn, *check.Reason) {
	start := time.Now()
	defer j.timed(check.PhaseConnect, start)
	j.obs.Set("unix", path)
	conn, err := new(net.Dialer).DialContext(ctx, "unix", path)
	if err != nil {
		reason := socketReason(err, path, time.Since(start))
		return nil, &reason
	}
	return guard(ctx, conn), nil
}

// socketReason tells why a socket cannot be connected to. That it is missing is
// the server's doing, for a server makes its socket when it starts; that we may
// not use it is ours.
func socketReason(err error, path string, took time.Duration) check.Reason {
	switch {
	case errors.Is(err, os.ErrNotExist):
		return check.Reason{Code: check.ConnectRefused, Message: fmt.Sprintf("there is no socket %s, nothing listens", path)}
	case errors.Is(err, syscall.ECONNREFUSED):
		return check.Reason{Code: check.ConnectRefused, Message: fmt.Sprintf("nothing listens on the socket %s", path)}
	case errors.Is(err, syscall.ENOTSOCK):
		return check.Reason{Code: check.ConnectRefused, Message: path + " is no socket"}
	case errors.Is(err, syscall.EAGAIN):
		return check.Reason{Code: check.ConnectRefused, Message: fmt.Sprintf("the server at the socket %s takes no more connections, its queue is full", path)}
	}
	reason := cause(err, check.ConnectTimeout)
	switch reason.Code {
	case check.ConnectTimeout:
		reason.Message = fmt.Sprintf("no answer at the socket %s within %s", path, check.FormatDuration(took))
	case check.LocalShutdown:
	case check.LocalPermission:
		reason.Message = fmt.Sprintf("not allowed to connect to the socket %s: %s", path, reason.Message)
	default:
		reason.Message = fmt.Sprintf("connect to the socket %s: %s", path, reason.Message)
	}
	return reason
}
