package playground

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/sonde-cli/sonde/internal/testnet"
)

const (
	day = 24 * time.Hour
	// slowness is beyond the 300 ms that checks.example.yaml prefers.
	slowness = 400 * time.Millisecond
)

// startWeb starts a healthy and a slow site over TLS.
func (p *Playground) startWeb(ca *testnet.CA) error {
	cert, err := ca.Issue(testnet.CertOptions{Names: []string{"127.0.0.1", "localhost"}, NotAfter: time.Now().Add(90 * day)})
	if err != nil {
		return err
	}
	healthy, err := p.https(cert, site())
	if err != nil {
		return err
	}
	slow, err := p.https(cert, slowly(site()))
	if err != nil {
		return err
	}
	p.set("SITE_URL", "https://"+healthy+"/")
	p.set("API_URL", "https://"+healthy+"/api")
	p.set("LOGIN_URL", "https://"+healthy+"/flaky")
	p.set("MIRROR_A", healthy)
	p.set("MIRROR_B", slow)
	p.serves("https://"+healthy+"/", "healthy")
	p.serves("https://"+healthy+"/api", "answers with JSON")
	p.serves("https://"+healthy+"/flaky", "every other request fails")
	p.serves("https://"+healthy+"/broken", "status 503")
	p.serves("https://"+healthy+"/redirect", "redirects to /")
	p.serves("https://"+healthy+"/loop", "redirects to itself")
	p.serves("https://"+slow+"/", fmt.Sprintf("healthy, after %v", slowness))
	return nil
}

// startExpired starts a site whose certificate expired yesterday.
func (p *Playground) startExpired(ca *testnet.CA) error {
	now := time.Now()
	cert, err := ca.Issue(testnet.CertOptions{Names: []string{"127.0.0.1"}, NotBefore: now.Add(-30 * day), NotAfter: now.Add(-day)})
	if err != nil {
		return err
	}
	addr, err := p.https(cert, site())
	if err != nil {
		return err
	}
	p.set("EXPIRED_URL", "https://"+addr+"/")
	p.serves("https://"+addr+"/", "the certificate expired yesterday")
	return nil
}

func site() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/{$}", func(w http.ResponseWriter, _ *http.Request) { answer(w, "welcome to the playground\n") })
	mux.HandleFunc("/api", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		answer(w, `{"status":"ok","current_user_url":"https://`+r.Host+`/user"}`+"\n")
	})
	var requests atomic.Uint64
	mux.HandleFunc("/flaky", func(w http.ResponseWriter, _ *http.Request) {
		if requests.Add(1)%2 == 1 {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		answer(w, "every other request fails\n")
	})
	mux.HandleFunc("/broken", func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusServiceUnavailable)
		answer(w, "out of order\n")
	})
	mux.Handle("/redirect", http.RedirectHandler("/", http.StatusFound))
	mux.Handle("/loop", http.RedirectHandler("/loop", http.StatusFound))
	return mux
}

// answer writes a short body. A client that went away misses it, and nobody
// else does.
func answer(w http.ResponseWriter, body string) { _, _ = io.WriteString(w, body) }

// slowly delays every request, until the client goes away.
func slowly(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		timer := time.NewTimer(slowness)
		defer timer.Stop()
		select {
		case <-timer.C:
			next.ServeHTTP(w, r)
		case <-r.Context().Done():
		}
	})
}

// https serves the handler over TLS and returns the address.
func (p *Playground) https(cert tls.Certificate, h http.Handler) (addr string, err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	server := &http.Server{
		Handler:           h,
		TLSConfig:         &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12},
		ReadHeaderTimeout: 10 * time.Second,
		// A client that breaks off a handshake is what a playground is for.
		ErrorLog: log.New(io.Discard, "", 0),
	}
	done := make(chan error, 1)
	go func() { done <- server.ServeTLS(l, "", "") }()
	p.closers = append(p.closers, func() error {
		err := server.Close()
		if served := <-done; !errors.Is(served, http.ErrServerClosed) {
			err = errors.Join(err, served)
		}
		return err
	})
	return l.Addr().String(), nil
}
