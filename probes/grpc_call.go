package probes

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/sonde-cli/sonde/check"
)

// The health check is one unary call: a header block, one message with a length
// in front, and trailers (gRPC over HTTP/2,
// https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md). Its messages have
// one field each, so they are read and written here: the module of gRPC would
// bring a connection pool that retries behind the measurement's back.

// grpcCodes are the names of the status codes, by number.
var grpcCodes = [...]string{
	"OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS",
	"PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED",
	"INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED",
}

// Codes that mean something of their own to the health check.
const (
	grpcOK            = 0
	grpcNotFound      = 5
	grpcUnimplemented = 12
)

// healthStatus are the values of HealthCheckResponse.ServingStatus.
var healthStatus = [...]string{"unknown", "serving", "not_serving", "service_unknown"}

// healthRequest is a framed HealthCheckRequest: the service is its field 1.
func healthRequest(service string) []byte {
	var message []byte
	if service != "" {
		message = append(message, 1<<3|2) // length-delimited
		message = binary.AppendUvarint(message, uint64(len(service)))
		message = append(message, service...)
	}
	b := binary.BigEndian.AppendUint32([]byte{0}, uint32(len(message))) // 0: not compressed
	return append(b, message...)
}

// parseHealth returns the field 1, status, of a HealthCheckResponse. Other
// fields are skipped, as protocol buffers want it.
func parseHealth(message []byte) (uint64, error) {
	bad := malformed("the health response is no protocol buffer: %s", excerpt(message))
	status := uint64(0)
	for len(message) > 0 {
		tag, n := binary.Uvarint(message)
		if n <= 0 || tag>>3 == 0 {
			return 0, bad
		}
		message = message[n:]
		var value uint64
		skip := 0
		switch tag & 7 {
		case 0, 2:
			value, skip = binary.Uvarint(message)
			if skip <= 0 {
				return 0, bad
			}
			if tag&7 == 2 {
				if value > uint64(len(message)-skip) {
					return 0, bad
				}
				skip += int(value)
			}
		case 1:
			skip = 8
		case 5:
			skip = 4
		default: // groups are no part of version 3
			return 0, bad
		}
		switch {
		case skip > len(message):
			return 0, bad
		case tag == 1<<3:
			status = value
		case tag>>3 == 1:
			return 0, bad
		}
		message = message[skip:]
	}
	return status, nil
}

// Observe makes the call over a fresh connection.
func (p *grpcProbe) Observe(ctx context.Context) check.Observation {
	j := begin()
	timeout := time.Duration(0)
	if deadline, ok := ctx.Deadline(); ok {
		timeout = deadline.Sub(j.start)
	}
	j.from = p.call.home.route.from()
	j.obs.Reproduce = func() string { return p.reproduce(timeout) }
	if reason := p.ask(ctx, &httpRun{p: p.call, j: j}, timeout); reason != nil {
		return j.stop(reason)
	}
	return j.end()
}

func (p *grpcProbe) ask(ctx context.Context, r *httpRun, timeout time.Duration) *check.Reason {
	l, reason := r.open(ctx, p.call.start)
	if reason != nil {
		return reason
	}
	defer l.close()
	r.secure = l.secure != nil
	if reason := r.send(l, p.message(timeout)); reason != nil {
		return reason
	}
	defer r.j.timed(check.PhaseTransfer, time.Now())
	if err := p.answer(r.j, l.wire.(*http2Conn)); err != nil {
		return r.broken(err, check.HTTPBodyTimeout, "the response was not complete in time")
	}
	return nil
}

func (p *grpcProbe) message(timeout time.Duration) *httpMessage {
	m := &httpMessage{
		method: "POST", scheme: p.call.start.Scheme, authority: p.authority, target: p.call.start.Path, body: p.request,
		fields: []field{{"content-type", "application/grpc"}, {"te", "trailers"}, {"user-agent", p.call.agent}},
	}
	if timeout > 0 { // at most eight digits
		m.fields = append(m.fields, field{"grpc-timeout", strconv.FormatInt(min(max(timeout.Milliseconds(), 1), 99_999_999), 10) + "m"})
	}
	m.fields = append(m.fields, p.call.headers...)
	return m
}

// answer reads the response. That the call has failed is a fact; an error is of
// the connection or the protocol.
func (p *grpcProbe) answer(j *journey, c *http2Conn) error {
	head, err := c.readHead()
	if err != nil {
		return err
	}
	if head.get("grpc-status") == "" {
		switch kind := head.get("content-type"); {
		case head.status != 200:
			return &httpError{check.HTTPStatus, fmt.Sprintf("HTTP status %d, want 200 from a gRPC server", head.status)}
		case kind != "application/grpc" && !strings.HasPrefix(kind, "application/grpc+") && !strings.HasPrefix(kind, "application/grpc;"):
			return malformed("the content-type is %s, want application/grpc", excerpt([]byte(kind)))
		}
	}
	message, err := grpcMessage(c)
	if err != nil {
		return err
	}
	end := c.trailers
	if end == nil {
		end = head // a response without a message has them in its head
	}
	code, err := p.status(j, end)
	switch {
	case err != nil:
		return err
	case code != grpcOK:
		return nil
	case message == nil:
		return malformed("gRPC status 0 (OK) without a message")
	}
	health, err := parseHealth(message)
	if err != nil {
		return err
	}
	status := healthStatus[0]
	if health < uint64(len(healthStatus)) {
		status = healthStatus[health]
	}
	j.obs.Set("status", status)
	j.obs.Explain("status", check.ExpectCode("status"), p.subject()+" is "+status)
	return nil
}

func (p *grpcProbe) subject() string {
	if p.options.Service == "" {
		return "the server"
	}
	return "the service " + excerpt([]byte(p.options.Service))
}

// grpcMessage reads the body, which has one message at most; nil when it is
// empty.
func grpcMessage(body io.Reader) ([]byte, error) {
	var head [5]byte
	n, err := io.ReadFull(body, head[:])
	switch {
	case errors.Is(err, io.EOF) && n == 0:
		return nil, nil
	case errors.Is(err, io.ErrUnexpectedEOF):
		return nil, malformed("the gRPC response ends inside a message")
	case err != nil:
		return nil, err
	case head[0] != 0:
		return nil, malformed("a gRPC message with the compression flag %d, although no compression was offered", head[0])
	}
	length := binary.BigEndian.Uint32(head[1:])
	if length > maxGRPCMessage {
		return nil, &httpError{check.HTTPBodyTooLarge, fmt.Sprintf("a health response of %d bytes, more than %d", length, maxGRPCMessage)}
	}
	message := make([]byte, length)
	if _, err := io.ReadFull(body, message); ended(err) {
		return nil, malformed("the gRPC response ends inside a message")
	} else if err != nil {
		return nil, err
	}
	switch n, err := io.ReadFull(body, head[:1]); {
	case n > 0:
		return nil, malformed("more than one gRPC message")
	case !errors.Is(err, io.EOF):
		return nil, err
	}
	return message, nil
}

// status records the status of the call and what it means for the health.
func (p *grpcProbe) status(j *journey, end *httpHead) (int, error) {
	text := end.get("grpc-status")
	if text == "" {
		return 0, malformed("the response has no grpc-status")
	}
	code, err := strconv.Atoi(text)
	if err != nil || !allDigits(text) {
		return 0, malformed("bad grpc-status %s", excerpt([]byte(text)))
	}
	name := "UNKNOWN" // as the specification has it for other numbers
	if code < len(grpcCodes) {
		name = grpcCodes[code]
	}
	message := end.get("grpc-message")
	if plain, err := url.PathUnescape(message); err == nil {
		message = plain
	}
	message = strings.ToValidUTF8(message, "\uFFFD")
	j.obs.Set("grpc_status", code)
	j.obs.Set("grpc_status_name", name)
	j.obs.Set("message", message)
	if code == grpcOK {
		return code, nil
	}
	status, why := "unknown", fmt.Sprintf("gRPC status %d %s", code, name)
	if message != "" {
		why += ": " + excerpt([]byte(message))
	}
	switch code {
	case grpcNotFound: // the health protocol's answer for an unknown service
		status = "service_unknown"
		why = "the server does not know " + p.subject() + " (" + why + ")"
	case grpcUnimplemented:
		why += "\nhint: the server does not offer grpc.health.v1.Health; tcp with tls can still watch its port"
	}
	j.obs.Set("status", status)
	j.obs.Explain("status", check.ExpectCode("status"), why)
	return code, nil
}
