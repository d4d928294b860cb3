//go:build oracle

package probes

import (
	"strconv"
	"testing"
	"time"

	"github.com/sonde-cli/sonde/check"
)

// grpcServer answers health checks over the gRPC library of Python.
const grpcServer = `
import concurrent.futures, sys, time, grpc
def check(request, context):
    meta = dict(context.invocation_metadata())
    if meta.get("authorization", "Bearer x") != "Bearer x":
        context.abort(grpc.StatusCode.UNAUTHENTICATED, "who are you? 100%")
    name = request[2:].decode()
    if context.time_remaining() > 21: # the test gives 20
        context.abort(grpc.StatusCode.INVALID_ARGUMENT, "no deadline")
    if name == "down":
        return b"\x08\x02"
    if name not in ("", "up"):
        context.abort(grpc.StatusCode.NOT_FOUND, "unknown service")
    return b"\x08\x01"
server = grpc.server(concurrent.futures.ThreadPoolExecutor(4))
if len(sys.argv) < 4:
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("grpc.health.v1.Health", {"Check": grpc.unary_unary_rpc_method_handler(check)}),))
if len(sys.argv) > 1:
    read = lambda name: open(name, "rb").read()
    port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([(read(sys.argv[2]), read(sys.argv[1]))]))
else:
    port = server.add_insecure_port("127.0.0.1:0")
server.start()
print(port, flush=True)
server.wait_for_termination()
`

func TestOracleGRPC(t *testing.T) {
	t.Parallel()
	cert, key := loopbackKey(t)
	plain, secure, mute := startPython(t, grpcServer), startPython(t, grpcServer, cert, key), startPython(t, grpcServer, cert, key, "mute")
	with := func(token string) func(*grpcOptions) {
		return func(o *grpcOptions) { o.Metadata = map[string]string{"authorization": "Bearer " + token} }
	}
	for name, c := range map[string]struct {
		service string
		change  func(*grpcOptions)
		want    map[string]any
	}{
		"server":   {"", nil, map[string]any{"status": "serving", "grpc_status": 0}},
		"up":       {"up", with("x"), map[string]any{"status": "serving", "grpc_status": 0}},
		"down":     {"down", nil, map[string]any{"status": "not_serving", "grpc_status": 0}},
		"unknown":  {"none", nil, map[string]any{"status": "service_unknown", "grpc_status": 5, "message": "unknown service"}},
		"stranger": {"", with("y"), map[string]any{"status": "unknown", "grpc_status_name": "UNAUTHENTICATED", "message": "who are you? 100%"}},
		"mute":     {"", nil, map[string]any{"status": "unknown", "grpc_status_name": "UNIMPLEMENTED"}},
	} {
		t.Run(name, func(t *testing.T) {
			ports := map[string]*TLS{plain: nil, secure: {CA: caFile(t)}}
			if name == "mute" {
				ports = map[string]*TLS{mute: {CA: caFile(t)}}
			}
			for port, tls := range ports {
				number, err := strconv.Atoi(port)
				if err != nil {
					t.Fatal(err)
				}
				o := &grpcOptions{Host: "127.0.0.1", Port: number, Service: c.service, TLS: tls}
				if c.change != nil {
					c.change(o)
				}
				plan, err := o.Build(needs())
				if err != nil {
					t.Fatal(err)
				}
				got := plan.Probe.Observe(timeout(t, 20*time.Second)) // the server looks for a deadline
				wantFailure(t, got, "")
				wantFacts(t, got, check.FactsOf(c.want))
			}
		})
	}
}
