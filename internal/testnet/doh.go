package testnet

import (
	"encoding/base64"
	"io"
	"net/http"

	"github.com/miekg/dns"
)

// DoH makes an HTTP handler of a DNS handler (RFC 8484). The query's network is
// "GET" or "POST".
func DoH(handler DNSHandler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		raw, err := base64.RawURLEncoding.DecodeString(r.URL.Query().Get("dns"))
		if r.Method == http.MethodPost {
			raw, err = io.ReadAll(http.MaxBytesReader(w, r.Body, dns.MaxMsgSize))
		}
		q := &DNSQuery{Raw: raw, Network: r.Method, Closed: r.Context().Done()}
		if m := new(dns.Msg); err == nil && m.Unpack(raw) == nil {
			q.Msg = m
		}
		q.reply = func(raw []byte) error {
			w.Header().Set("Content-Type", "application/dns-message")
			_, err := w.Write(raw)
			return err
		}
		handler(q)
	})
}
