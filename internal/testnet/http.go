package testnet

import (
	"compress/gzip"
	"crypto/tls"
	"encoding/json"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"strconv"
	"time"
)

// HTTPServer is a well-behaved HTTP server: HTTP/1.1 and HTTP/2, the latter
// over TLS by ALPN and without TLS to clients that begin with it.
type HTTPServer struct {
	addr   string
	server *http.Server
	done   chan struct{}
}

// ListenHTTP serves on a free port of 127.0.0.1. With a TLS configuration it
// serves https.
func ListenHTTP(cfg *tls.Config, handler http.Handler) (*HTTPServer, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(true)
	protocols.SetUnencryptedHTTP2(true)
	s := &HTTPServer{addr: listener.Addr().String(), done: make(chan struct{}), server: &http.Server{
		Handler: handler, Protocols: protocols, TLSConfig: cfg,
		ReadHeaderTimeout: time.Minute, ErrorLog: log.New(io.Discard, "", 0),
	}}
	go func() {
		defer close(s.done)
		if cfg != nil {
			_ = s.server.ServeTLS(listener, "", "") // ends with ErrServerClosed
			return
		}
		_ = s.server.Serve(listener)
	}()
	return s, nil
}

// Addr returns the host and port.
func (s *HTTPServer) Addr() string { return s.addr }

// Close closes the listener and all connections.
func (s *HTTPServer) Close() error {
	err := s.server.Close()
	<-s.done
	return err
}

// Site is a small web site to probe:
//
//	/              a text
//	/status/N      the status N
//	/redirect/N    N redirects, then /
//	/loop          a redirect to itself
//	/slow/DURATION an answer after that time
//	/bytes/N       a body of N bytes
//	/gzip          a gzip body
//	/json          {"status":"ok","version":3,"items":[{"name":"a"},{"name":"b"}]}
//	/echo          what was asked, as JSON: method, path, host, proto, headers, body
//	/private       401 unless the user is user with the password password
func Site() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/{$}", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello from sonde\n") })
	mux.HandleFunc("/status/{n}", siteStatus)
	mux.HandleFunc("/redirect/{n}", siteRedirect)
	mux.HandleFunc("/loop", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/loop", http.StatusFound) })
	mux.HandleFunc("/slow/{d}", siteSlow)
	mux.HandleFunc("/bytes/{n}", siteBytes)
	mux.HandleFunc("/gzip", siteGzip)
	mux.HandleFunc("/json", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"status":"ok","version":3,"items":[{"name":"a"},{"name":"b"}]}`)
	})
	mux.HandleFunc("/echo", siteEcho)
	mux.HandleFunc("/private", sitePrivate)
	return mux
}

func number(r *http.Request, most int) int {
	n, err := strconv.Atoi(r.PathValue("n"))
	if err != nil || n < 0 || n > most {
		return 0
	}
	return n
}

func siteStatus(w http.ResponseWriter, r *http.Request) {
	n := number(r, 599)
	if n < 200 {
		n = http.StatusBadRequest
	}
	w.WriteHeader(n)
	if n != http.StatusNoContent && n != http.StatusNotModified {
		_, _ = io.WriteString(w, http.StatusText(n)+"\n")
	}
}

func siteRedirect(w http.ResponseWriter, r *http.Request) {
	to := "/"
	if n := number(r, 1000); n > 1 {
		to = "/redirect/" + strconv.Itoa(n-1)
	}
	http.Redirect(w, r, to, http.StatusFound)
}

func siteSlow(w http.ResponseWriter, r *http.Request) {
	d, err := time.ParseDuration(r.PathValue("d"))
	if err != nil {
		http.Error(w, "not a duration", http.StatusBadRequest)
		return
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		_, _ = io.WriteString(w, "at last\n")
	case <-r.Context().Done():
	}
}

func siteBytes(w http.ResponseWriter, r *http.Request) {
	n := number(r, 1<<30)
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Length", strconv.Itoa(n))
	for block := make([]byte, 4096); n > 0; n -= len(block) {
		if _, err := w.Write(block[:min(n, len(block))]); err != nil {
			return
		}
	}
}

func siteGzip(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Encoding", "gzip")
	w.Header().Set("Content-Type", "text/plain")
	z := gzip.NewWriter(w)
	_, _ = io.WriteString(z, "hello from inside gzip\n")
	_ = z.Close()
}

func siteEcho(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	if err != nil {
		return
	}
	headers := maps.Clone(r.Header)
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{
		"method": r.Method, "path": r.RequestURI, "host": r.Host, "proto": r.Proto, "headers": headers, "body": string(body),
	})
}

func sitePrivate(w http.ResponseWriter, r *http.Request) {
	if user, password, ok := r.BasicAuth(); !ok || user != "user" || password != "password" {
		w.Header().Set("WWW-Authenticate", `Basic realm="sonde"`)
		http.Error(w, "who are you?", http.StatusUnauthorized)
		return
	}
	_, _ = io.WriteString(w, "welcome\n")
}
