// Package web shows what sonde measures over HTTP: Prometheus metrics, probes
// on demand as blackbox_exporter makes them, results as JSON and as a stream,
// health, and a plain start page. A [Server] is a [check.Sink] and makes an
// [http.Handler].
package web

import (
	"context"
	"errors"
	"iter"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sonde-cli/sonde/check"
	"github.com/sonde-cli/sonde/scheduler"
)

// DefaultDetail is how many checks have metrics and a latest result of their
// own unless Options say otherwise.
const DefaultDetail = 20_000

// Options configure a Server.
type Options struct {
	Version, Commit string
	Log             *slog.Logger
	// Engine returns the loop's numbers; it is called once for each scrape.
	Engine func() scheduler.Stats
	// Reload reads the configuration again and returns what is wrong with it.
	Reload func(context.Context) error
	// Probe measures a target with a module now. nil turns /probe off.
	Probe func(ctx context.Context, module, target string) (check.Result, error)
	// Detail bounds the number of checks with metrics and a latest result of
	// their own; the others are counted by kind. 0: DefaultDetail.
	Detail int
	// Hosts are those that may be asked for, as of [Hosts], besides localhost
	// and addresses. nil: any.
	Hosts []string
	Now   func() time.Time // the clock; time.Now when nil
}

// ErrDenied and ErrBadProbe are errors of Options.Probe: the target is not
// allowed, or the request makes no sense.
var (
	ErrDenied   = errors.New("the target is not allowed")
	ErrBadProbe = errors.New("bad probe")
)

// Server collects results and shows them.
type Server struct {
	o        Options
	registry *prometheus.Registry
	metrics  *metrics
	hub      hub
	probing  chan struct{} // a place for each probe on demand
	ready    atomic.Bool

	mu     sync.RWMutex
	states map[string]*state // by id as results show it
	order  []*state          // in the order of the files
}

// state is what is known of one check.
type state struct {
	check  *check.Check
	id     string // masked
	series *series
	detail bool

	verdict check.Verdict
	seen    bool
	since   time.Time // of the verdict
	started time.Time // of the latest result
	latest  *check.Result
}

// New returns a Server without checks that is not ready.
func New(o Options) *Server {
	if o.Detail == 0 {
		o.Detail = DefaultDetail
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	s := &Server{o: o, registry: prometheus.NewRegistry(), states: make(map[string]*state), probing: make(chan struct{}, maxProbes)}
	s.metrics = newMetrics(s)
	return s
}

// SetReady tells whether runs are being made.
func (s *Server) SetReady(ready bool) { s.ready.Store(ready) }

// SetChecks replaces the checks. What is known of those that stay is kept.
// Checks whose ids differ in secrets only share what is shown of them, as two
// series of the same labels would be none.
func (s *Server) SetChecks(checks []*check.Check) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := s.states
	s.states = make(map[string]*state, len(checks))
	s.order = make([]*state, 0, len(checks))
	for _, c := range checks {
		id := clean(c.Mask.String(c.ID))
		if s.states[id] != nil {
			continue
		}
		st := before[id]
		if st == nil || st.check.Kind != c.Kind {
			st = &state{id: id}
		} else {
			delete(before, id)
		}
		st.check = c
		s.detailed(st, len(s.order) < s.o.Detail)
		s.states[id] = st
		s.order = append(s.order, st)
	}
	for _, st := range before {
		s.detailed(st, false)
	}
}

// pickAtOnce is how many checks are copied at once.
const pickAtOnce = 256

// pick yields copies of the states that are wanted, in order, each valid until
// the next. It holds the lock only while it copies a few, so that whoever reads
// them slowly neither holds up results nor costs the memory of all.
func (s *Server) pick(wants func(*state) bool) iter.Seq[*state] {
	return func(yield func(*state) bool) {
		s.mu.RLock()
		order := s.order // which is replaced and never changed
		s.mu.RUnlock()
		picked := make([]state, 0, min(pickAtOnce, len(order)))
		for some := range slices.Chunk(order, pickAtOnce) {
			picked = picked[:0]
			s.mu.RLock()
			for _, st := range some {
				if wants(st) {
					picked = append(picked, *st)
				}
			}
			s.mu.RUnlock()
			for i := range picked {
				if !yield(&picked[i]) {
					return
				}
			}
		}
	}
}

// detailed gives a check metrics of its own or takes them away.
func (s *Server) detailed(st *state, detail bool) {
	st.detail = detail
	if !detail {
		st.latest = nil
		if st.series != nil {
			st.series.drop()
			st.series = nil
		}
	}
}

// Put takes a result: counts it, keeps it as the check's latest, logs a change
// of the verdict and sends it to those who listen. It never fails.
func (s *Server) Put(r check.Result) error {
	if was, changed := s.note(&r); changed {
		s.logChange(&was, &r)
	}
	s.hub.publish(&r)
	return nil
}

// Close ends the streams.
func (s *Server) Close() error {
	s.hub.close()
	return nil
}

// note counts and keeps a result. When the verdict changed by it, it returns the
// state before.
func (s *Server) note(r *check.Result) (was state, changed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	id := clean(r.ID)
	st := s.states[id]
	if st != nil && st.check.Kind != r.Kind { // it is another check by now
		st = nil
	}
	if st == nil || !st.detail {
		s.metrics.of("", r.Kind).count(r)
	} else {
		if st.series == nil {
			st.series = s.metrics.of(id, r.Kind)
		}
		st.series.count(r)
		kept := *r
		st.latest = &kept
	}
	s.metrics.queued(r)
	if st == nil { // gone while it ran
		return state{}, false
	}
	was, changed = *st, !st.seen || st.verdict != r.Verdict
	if changed {
		st.verdict, st.since = r.Verdict, r.Started
	}
	st.seen, st.started = true, r.Started
	return was, changed
}

// logChange writes a line for a verdict that is not the one before. A first
// verdict that is good is no news. The caller does not hold the lock, whatever
// becomes of the log.
func (s *Server) logChange(st *state, r *check.Result) {
	level, message := slog.LevelInfo, "check is "+r.Verdict.String()
	switch {
	case !st.seen && r.Verdict == check.Up:
		level = slog.LevelDebug
	case r.Verdict == check.Down, r.Verdict == check.Unknown:
		level = slog.LevelWarn
	}
	attrs := []slog.Attr{slog.String("check", st.id), slog.String("kind", r.Kind), slog.String("target", r.Target)}
	if st.seen {
		attrs = append(attrs, slog.String("was", st.verdict.String()), slog.Duration("for", r.Started.Sub(st.since).Round(time.Millisecond)))
	}
	if !r.Reason.IsZero() {
		attrs = append(attrs, slog.String("reason", string(r.Reason.Code)), slog.String("message", r.Reason.Message))
	}
	s.o.Log.LogAttrs(context.Background(), level, message, attrs...)
}

// Handler returns the routes.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", s.start)
	mux.Handle("GET /metrics", s.metrics.handler())
	mux.HandleFunc("GET /-/healthy", func(w http.ResponseWriter, _ *http.Request) { text(w, http.StatusOK, "sonde is healthy") })
	mux.HandleFunc("GET /-/ready", s.readiness)
	mux.HandleFunc("POST /-/reload", s.reload)
	mux.HandleFunc("GET /api/v1/checks", s.listChecks)
	mux.HandleFunc("GET /api/v1/results", s.listResults)
	if s.o.Probe != nil {
		mux.HandleFunc("GET /probe", s.probe)
	}
	return http.NewCrossOriginProtection().Handler(secure(s.guard(mux)))
}

// secure keeps browsers from guessing types, framing pages and running what a
// target may have smuggled into one.
func secure(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'")
		h.Set("Cache-Control", "no-store")
		next.ServeHTTP(w, r)
	})
}

func (s *Server) readiness(w http.ResponseWriter, _ *http.Request) {
	if !s.ready.Load() {
		text(w, http.StatusServiceUnavailable, "sonde is not ready")
		return
	}
	text(w, http.StatusOK, "sonde is ready")
}

func (s *Server) reload(w http.ResponseWriter, r *http.Request) {
	if s.o.Reload == nil {
		text(w, http.StatusNotImplemented, "there is nothing to reload")
		return
	}
	if err := s.o.Reload(r.Context()); err != nil {
		text(w, http.StatusInternalServerError, "the old configuration stays: "+err.Error())
		return
	}
	text(w, http.StatusOK, "reloaded")
}

// text answers with a line of plain text.
func text(w http.ResponseWriter, code int, message string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(code)
	_, _ = w.Write([]byte(message + "\n")) // whoever went away misses it
}
