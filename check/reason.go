package check

import (
	"slices"
	"strings"
)

// Code is a reason's code, from the closed list of [Codes] plus expect.<fact>
// for each fact that a kind declares. Codes are safe as metric labels and the
// same in every output.
type Code string

// Reason says why a verdict is not up: a code for machines and a sentence for
// people.
type Reason struct {
	Code    Code   `json:"code"`
	Message string `json:"message"`
}

// IsZero reports whether there is no reason, as for a result that is up.
func (r Reason) IsZero() bool { return r.Code == "" }

// The reason codes. Those that begin with local. blame our own side and always
// come with the verdict unknown.
const (
	DNSNXDomain  Code = "dns.nxdomain"
	DNSNoData    Code = "dns.nodata"
	DNSServFail  Code = "dns.servfail"
	DNSRefused   Code = "dns.refused"
	DNSTimeout   Code = "dns.timeout"
	DNSMalformed Code = "dns.malformed"
	DNSTruncated Code = "dns.truncated"
	DNSBogus     Code = "dns.bogus"

	ConnectRefused     Code = "connect.refused"
	ConnectTimeout     Code = "connect.timeout"
	ConnectReset       Code = "connect.reset"
	ConnectUnreachable Code = "connect.unreachable"

	TLSExpired          Code = "tls.expired"
	TLSNotYetValid      Code = "tls.not_yet_valid"
	TLSHostname         Code = "tls.hostname"
	TLSUntrusted        Code = "tls.untrusted"
	TLSSelfSigned       Code = "tls.self_signed"
	TLSIncompleteChain  Code = "tls.incomplete_chain"
	TLSVersion          Code = "tls.version"
	TLSHandshakeTimeout Code = "tls.handshake_timeout"
	TLSAlert            Code = "tls.alert"
	TLSPlaintext        Code = "tls.plaintext"
	TLSClientCert       Code = "tls.client_cert"

	HTTPStatus         Code = "http.status"
	HTTPHeaderTimeout  Code = "http.header_timeout"
	HTTPBodyTimeout    Code = "http.body_timeout"
	HTTPHeaderTooLarge Code = "http.header_too_large"
	HTTPBodyTooLarge   Code = "http.body_too_large"
	HTTPTruncated      Code = "http.truncated"
	HTTPMalformed      Code = "http.malformed"
	HTTPDecode         Code = "http.decode"
	HTTPRedirectLoop   Code = "http.redirect_loop"
	HTTPRedirectLimit  Code = "http.redirect_limit"
	HTTPStreamReset    Code = "http.stream_reset"
	HTTPGoAway         Code = "http.goaway"

	ICMPTimeout       Code = "icmp.timeout"
	ICMPUnreachable   Code = "icmp.unreachable"
	ICMPTTLExceeded   Code = "icmp.ttl_exceeded"
	ICMPFragmentation Code = "icmp.fragmentation_needed"
	ICMPLoss          Code = "icmp.loss"

	ReplyTimeout   Code = "reply.timeout"
	ReplyMalformed Code = "reply.malformed"
	ReplyAuth      Code = "reply.auth"
	ReplyError     Code = "reply.error"

	ExecTimeout Code = "exec.timeout"

	SSHMalformed   Code = "ssh.malformed"
	SSHNegotiation Code = "ssh.negotiation"
	SSHTimeout     Code = "ssh.timeout"

	LocalPermission Code = "local.permission"
	LocalFD         Code = "local.fd"
	LocalPorts      Code = "local.ports"
	LocalRoute      Code = "local.route"
	LocalResolver   Code = "local.resolver"
	LocalClock      Code = "local.clock"
	LocalSuspended  Code = "local.suspended"
	LocalOverload   Code = "local.overload"
	LocalShutdown   Code = "local.shutdown"
	LocalProgram    Code = "local.program"
	LocalAuth       Code = "local.auth"
	LocalPanic      Code = "local.panic"
)

// ExpectCode returns the code of a fact that did not meet an expectation and
// has no code of its own.
func ExpectCode(fact string) Code { return Code("expect." + fact) }

// Local reports whether the code blames our own side, which makes the verdict
// unknown and never down.
func (c Code) Local() bool { return strings.HasPrefix(string(c), "local.") }

// CodeDoc is one line of the documented list of codes.
type CodeDoc struct {
	Code Code
	Doc  string
}

// Codes returns the closed list of reason codes with what each means, in the
// order of a probe's journey. The family expect.<fact> stands beside it.
func Codes() []CodeDoc {
	return slices.Concat(connectionCodes(), httpCodes(), protocolCodes(), localCodes())
}

// connectionCodes are those of what comes before a protocol: names, connections, TLS.
func connectionCodes() []CodeDoc {
	return []CodeDoc{
		{DNSNXDomain, "the name does not exist"},
		{DNSNoData, "the name exists but has no record of the wanted type"},
		{DNSServFail, "the name server failed to answer (SERVFAIL)"},
		{DNSRefused, "the name server refused the question"},
		{DNSTimeout, "the name server did not answer in time"},
		{DNSMalformed, "the DNS answer breaks the protocol or loops"},
		{DNSTruncated, "the UDP answer was cut and TCP gave no whole one"},
		{DNSBogus, "the answer or its chain of keys fails DNSSEC validation"},
		{ConnectRefused, "nothing listens on the port"},
		{ConnectTimeout, "no answer to the connection attempt in time"},
		{ConnectReset, "the peer reset the connection"},
		{ConnectUnreachable, "a router, the host or a proxy reported that the target cannot be reached"},
		{TLSExpired, "the certificate has expired"},
		{TLSNotYetValid, "the certificate is not valid yet"},
		{TLSHostname, "the certificate is for other names"},
		{TLSUntrusted, "the certificate's issuer is not trusted"},
		{TLSSelfSigned, "the certificate is signed by itself and not trusted"},
		{TLSIncompleteChain, "the server does not send the intermediate certificate"},
		{TLSVersion, "no common version of TLS or QUIC"},
		{TLSHandshakeTimeout, "the TLS handshake did not finish in time"},
		{TLSAlert, "the peer ended TLS with an alert, or broke its rules"},
		{TLSPlaintext, "the peer does not speak TLS, or QUIC, on this port"},
		{TLSClientCert, "the peer demands a client certificate"},
	}
}

// httpCodes are those of responses.
func httpCodes() []CodeDoc {
	return []CodeDoc{
		{HTTPStatus, "the status is not the wanted one"},
		{HTTPHeaderTimeout, "the response head did not arrive in time"},
		{HTTPBodyTimeout, "the response body did not arrive in time"},
		{HTTPHeaderTooLarge, "the response head is larger than the limit"},
		{HTTPBodyTooLarge, "the body is larger than the limit and an expectation needs all of it"},
		{HTTPTruncated, "the connection ended before the response did"},
		{HTTPMalformed, "the response breaks the protocol"},
		{HTTPDecode, "the body cannot be decompressed"},
		{HTTPRedirectLoop, "the redirects lead back to where they were"},
		{HTTPRedirectLimit, "more redirects than allowed"},
		{HTTPStreamReset, "the peer reset the stream of HTTP/2 or HTTP/3"},
		{HTTPGoAway, "the peer ended the connection of HTTP/2 or HTTP/3"},
	}
}

// protocolCodes are those of the other protocols and of programs.
func protocolCodes() []CodeDoc {
	return []CodeDoc{
		{ICMPTimeout, "no reply in time"},
		{ICMPUnreachable, "a router or the host reported that the target cannot be reached"},
		{ICMPTTLExceeded, "the packets ran out of hops"},
		{ICMPFragmentation, "the packets are too large for the way and must not be fragmented"},
		{ICMPLoss, "more packets were lost than expected"},
		{ReplyTimeout, "the server did not answer in time"},
		{ReplyMalformed, "the answer breaks the protocol or is larger than the limit"},
		{ReplyAuth, "the server refuses the user, the password or the lack of one"},
		{ReplyError, "the server answered with an error"},
		{ExecTimeout, "the program did not end in time"},
		{SSHMalformed, "the peer does not speak SSH, or breaks the protocol"},
		{SSHNegotiation, "no common version or algorithm of SSH"},
		{SSHTimeout, "the SSH banner or the key exchange did not come in time"},
	}
}

// localCodes are those of our own side.
func localCodes() []CodeDoc {
	return []CodeDoc{
		{LocalPermission, "sonde is not allowed to measure this"},
		{LocalFD, "out of file descriptors"},
		{LocalPorts, "out of local ports"},
		{LocalRoute, "this machine has no route to the target"},
		{LocalResolver, "this machine's own resolver does not answer"},
		{LocalClock, "this machine's clock is not to be trusted"},
		{LocalSuspended, "the process was stopped or the machine suspended during the run"},
		{LocalOverload, "this machine was too busy to measure"},
		{LocalShutdown, "sonde was interrupted before the run ended"},
		{LocalProgram, "the program could not be run, or says that it could not measure"},
		{LocalAuth, "the credentials that the check needs could not be had"},
		{LocalPanic, "a defect in sonde, please report it"},
	}
}
