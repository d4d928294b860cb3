package probes

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"syscall"

	"github.com/sonde-cli/sonde/check"
)

// cause tells what a failed network operation means. A deadline that passed is
// the target's fault and gets the given code, the phase's own; a cancelled
// context is local.shutdown. The message has no address: the caller knows
// where it happened.
func cause(err error, timeout check.Code) check.Reason {
	var errno syscall.Errno
	var netErr net.Error
	switch {
	case errors.Is(err, context.Canceled):
		return check.Reason{Code: check.LocalShutdown, Message: "interrupted before the probe ended"}
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return check.Reason{Code: timeout, Message: "timed out"}
	case errors.As(err, &errno):
		if code, ok := errnoCode(errno); ok {
			return check.Reason{Code: orTimeout(code, timeout), Message: errno.Error()}
		}
	case errors.As(err, &netErr) && netErr.Timeout():
		return check.Reason{Code: timeout, Message: "timed out"}
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return check.Reason{Code: check.ConnectReset, Message: "the peer closed the connection"}
	}
	if alert := remoteAlert(err); alert != "" {
		code := check.TLSAlert
		switch alert {
		case alertCertificateRequired:
			code = check.TLSClientCert
		case alertProtocolVersion:
			code = check.TLSVersion
		}
		return check.Reason{Code: code, Message: "the peer sent the TLS alert " + excerpt([]byte(alert))}
	}
	if what := brokenTLS(err); what != "" {
		return check.Reason{Code: check.TLSAlert, Message: "the peer breaks TLS: " + what}
	}
	return check.Reason{Code: check.ConnectUnreachable, Message: err.Error()}
}

// orTimeout puts the phase's own code in place of a connection timeout.
func orTimeout(code, timeout check.Code) check.Code {
	if code == check.ConnectTimeout {
		return timeout
	}
	return code
}

// cause is as the function cause, and knows in addition that a server which
// asked for a client certificate and got none refuses with any alert: in the
// handshake, or after that of TLS 1.3 at the first read. A connection that is
// closed without an alert stays connect.reset.
func (j *journey) cause(err error, timeout check.Code) check.Reason {
	reason := cause(err, timeout)
	if j.certWanted && (reason.Code == check.TLSAlert || reason.Code == check.TLSClientCert) && remoteAlert(err) != "" {
		return check.Reason{
			Code:    check.TLSClientCert,
			Message: "the peer demands a client certificate (" + reason.Message + ")\nhint: set tls.cert and tls.key",
		}
	}
	return reason
}

// Alerts that have a reason code of their own (RFC 8446 section 6).
const (
	alertProtocolVersion     = "protocol version not supported"
	alertCertificateRequired = "certificate required"
)

// remoteAlert returns the name of the TLS alert that the peer sent, empty when
// err is none. crypto/tls has no exported type for it outside QUIC: it returns
// a [net.OpError] with the operation "remote error".
func remoteAlert(err error) string {
	var op *net.OpError
	if !errors.As(err, &op) || op.Op != "remote error" || op.Err == nil {
		var alert tls.AlertError
		if errors.As(err, &alert) {
			return strings.TrimPrefix(alert.Error(), "tls: ")
		}
		return ""
	}
	return strings.TrimPrefix(op.Err.Error(), "tls: ")
}

// brokenTLS tells what of TLS the peer broke, such as a record that was changed
// on the way; empty when err is none of that. crypto/tls returns a [net.OpError]
// with the operation "local error" for what it ends with an alert of its own.
func brokenTLS(err error) string {
	var op *net.OpError
	var head tls.RecordHeaderError
	switch {
	case errors.As(err, &head):
		return strings.TrimPrefix(head.Error(), "tls: ")
	case errors.As(err, &op) && op.Op == "local error" && op.Err != nil:
		return strings.TrimPrefix(op.Err.Error(), "tls: ")
	}
	return ""
}

// maxQuote is how many characters of what a peer sent a message shows.
const maxQuote = 80

// isErrno reports whether err is the system's.
func isErrno(err error) bool {
	var errno syscall.Errno
	return errors.As(err, &errno)
}

// isTimeout reports whether a wait ended because of its deadline.
func isTimeout(err error) bool {
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout()
}

// reasonError carries what the journey found out where an error is wanted.
type reasonError struct{ check.Reason }

// Error returns the reason's message.
func (e *reasonError) Error() string { return e.Message }
