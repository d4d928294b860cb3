package testnet

import (
	"encoding/binary"
	"io"
	"net/http"
	"strings"
)

// GRPCMessage puts the head of gRPC before a message that is not compressed.
func GRPCMessage(message string) string {
	return string(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(message)))) + message
}

// GRPCHealth serves grpc.health.v1.Health/Check. The services are those that it
// knows, with their health: 1 serving, 2 not serving. Without an entry in the
// map, the status is NOT_FOUND.
func GRPCHealth(services map[string]byte) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(io.LimitReader(r.Body, 4<<10))
		service := ""
		if len(body) > 7 { // a head, the field's tag and length
			service = string(body[7:])
		}
		w.Header().Set("Content-Type", "application/grpc")
		health, known := services[service]
		switch {
		case r.URL.Path != "/grpc.health.v1.Health/Check" || !strings.HasPrefix(r.Header.Get("Content-Type"), "application/grpc"):
			w.Header().Set("Grpc-Status", "12")
		case !known:
			w.Header().Set("Grpc-Status", "5")
			w.Header().Set("Grpc-Message", "unknown service: 100%25")
		default:
			_, _ = io.WriteString(w, GRPCMessage(string([]byte{1 << 3, health})))
			w.Header().Set(http.TrailerPrefix+"Grpc-Status", "0")
		}
	})
}
