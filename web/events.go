package web

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sonde-cli/sonde/check"
	"github.com/sonde-cli/sonde/report"
)

// Bounds of the streams.
const (
	maxStreams   = 64               // at once
	streamBuffer = 1024             // results that a client may be behind before it is dropped
	streamWrite  = 10 * time.Second // for one write
	heartbeat    = 15 * time.Second // between two signs of life
)

// hub hands results to those who listen. Whoever is behind is dropped, so that
// nobody holds up the others or the measuring.
type hub struct {
	count   atomic.Int32 // of streams, to cost nothing without one
	mu      sync.Mutex
	streams map[*stream]bool
	closed  bool
}

// stream is one client.
type stream struct {
	only  filter
	lines chan []byte // closed when the client is dropped or the hub ends
}

func (h *hub) subscribe(only filter) (*stream, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed || len(h.streams) >= maxStreams {
		return nil, false
	}
	if h.streams == nil {
		h.streams = make(map[*stream]bool)
	}
	s := &stream{only: only, lines: make(chan []byte, streamBuffer)}
	h.streams[s] = true
	h.count.Add(1)
	return s, true
}

// leave takes a stream out; it can be called again.
func (h *hub) leave(s *stream) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.drop(s)
}

func (h *hub) drop(s *stream) {
	if h.streams[s] {
		delete(h.streams, s)
		close(s.lines)
		h.count.Add(-1)
	}
}

func (h *hub) publish(r *check.Result) {
	if h.count.Load() == 0 {
		return
	}
	line, err := report.Line(*r)
	if err != nil { // cannot happen: a result is plain data
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for s := range h.streams {
		if !s.only.wantsResult(r) {
			continue
		}
		select {
		case s.lines <- line:
		default:
			h.drop(s)
		}
	}
}

func (h *hub) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	for s := range h.streams {
		h.drop(s)
	}
}

// events answers with results as they come, as server-sent events (HTML
// Standard section 9.2).
func (s *Server) events(w http.ResponseWriter, r *http.Request, only filter) {
	st, ok := s.hub.subscribe(only)
	if !ok {
		w.Header().Set("Retry-After", "10")
		text(w, http.StatusServiceUnavailable, "too many streams")
		return
	}
	defer s.hub.leave(st)
	w.Header().Set("Content-Type", "text/event-stream")
	out := http.NewResponseController(w)
	send := func(format string, args ...any) bool {
		_ = out.SetWriteDeadline(time.Now().Add(streamWrite)) // not every writer has deadlines
		_, err := fmt.Fprintf(w, format, args...)
		err = errors.Join(err, out.Flush())
		// One that passes between two writes would end a stream of HTTP/2.
		_ = out.SetWriteDeadline(time.Time{})
		return err == nil
	}
	if !send(": sonde\n\n") {
		return
	}
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	for {
		select {
		case line, open := <-st.lines:
			if !open {
				send("event: end\ndata: dropped or ending\n\n")
				return
			}
			if !send("event: result\ndata: %s\n\n", bytes.TrimRight(line, "\n")) {
				return
			}
		case <-beat.C:
			if !send(": alive\n\n") {
				return
			}
		case <-r.Context().Done():
			return
		}
	}
}
