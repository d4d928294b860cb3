//go:build oracle

package probes

import (
	"bufio"
	"os/exec"
	"strings"
	"testing"

	"github.com/sonde-cli/sonde/check"
	"github.com/sonde-cli/sonde/internal/testnet"
)

// websocketServer echoes over the library websockets of Python, which checks
// masks and frames by itself.
const websocketServer = `
import asyncio, ssl, sys, websockets
async def serve(ws, path):
    if path == "/policy":
        await ws.close(1008, "not you")
        return
    async for m in ws:
        await ws.send(["frag", "mented ", m] if path == "/fragments" else m)
async def main():
    tls = None
    if len(sys.argv) > 1:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(sys.argv[1], sys.argv[2])
    async with websockets.serve(serve, "127.0.0.1", 0, ssl=tls, subprotocols=["chat"], origins=[None, "https://sonde.test"]) as s:
        print(s.sockets[0].getsockname()[1], flush=True)
        await asyncio.Future()
asyncio.run(main())
`

// startPython runs a script of Debian's Python until the test ends and returns
// the port that it prints.
func startPython(t *testing.T, script string, args ...string) (port string) {
	t.Helper()
	cmd := exec.Command("/usr/bin/python3", append([]string{"-c", script}, args...)...)
	cmd.Stderr = t.Output()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("the server did not start: %v", err)
	}
	return strings.TrimSpace(line)
}

// loopbackKey issues a certificate for 127.0.0.1 and returns its files.
func loopbackKey(t *testing.T) (certFile, keyFile string) {
	t.Helper()
	cert, err := authority(t).Issue(testnet.CertOptions{Names: []string{"127.0.0.1"}})
	if err != nil {
		t.Fatal(err)
	}
	chain, key, err := testnet.KeyPEM(cert)
	if err != nil {
		t.Fatal(err)
	}
	return tempFile(t, "chain.pem", chain), tempFile(t, "key.pem", key)
}

func TestOracleWebSocket(t *testing.T) {
	t.Parallel()
	cert, key := loopbackKey(t)
	plain, secure := startPython(t, websocketServer), startPython(t, websocketServer, cert, key)
	long := strings.Repeat("ö", 30_000)
	for name, c := range map[string]struct {
		path   string
		change func(*wsOptions)
		want   map[string]any
	}{
		"echo": {"/", func(o *wsOptions) {
			wsSteps("hello", "^hello$", long, "^"+long[:100])(o)
			o.Ping, o.Subprotocols = true, []string{"other", "chat"}
		}, map[string]any{"status": 101, "dialogue": true, "pong": true, "subprotocol": "chat", "close.code": 1000, "answer": long}},
		"fragments":           {"/fragments", wsSteps("x", "^fragmented x$"), map[string]any{"dialogue": true, "close.code": 1000}},
		"policy":              {"/policy", wsSteps("", "x"), map[string]any{"dialogue": false, "close.code": 1008, "close.reason": "not you"}},
		"origin":              {"/", func(o *wsOptions) { o.Origin = "https://sonde.test" }, map[string]any{"status": 101}},
		"stranger":            {"/", func(o *wsOptions) { o.Origin = "https://evil.test" }, map[string]any{"status": 403}},
		"no such subprotocol": {"/", func(o *wsOptions) { o.Subprotocols = []string{"mqtt"} }, map[string]any{"status": 101, "subprotocol": ""}},
	} {
		t.Run(name, func(t *testing.T) {
			for scheme, port := range map[string]string{"ws": plain, "wss": secure} {
				o := &wsOptions{URL: scheme + "://127.0.0.1:" + port + c.path, MaxMessage: defaultMaxMessage, TLS: TLS{CA: caFile(t)}}
				c.change(o)
				plan, err := o.Build(needs("close.code"))
				if err != nil {
					t.Fatal(err)
				}
				got := plan.Probe.Observe(timeout(t, patience))
				wantFailure(t, got, "")
				wantFacts(t, got, check.FactsOf(c.want))
			}
		})
	}
}
