package main

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"github.com/sonde-cli/sonde/check"
	"github.com/sonde-cli/sonde/scheduler"
	"github.com/sonde-cli/sonde/web"
)

// daemon is what `sonde serve` is made of, without its HTTP server: the loop and
// the sink that keeps metrics and latest results, and a recorder next to it.
type daemon struct {
	loop     *scheduler.Loop
	web      *web.Server
	recorder *recorder
}

func newDaemon(o *childOptions) *daemon {
	d := &daemon{recorder: new(recorder)}
	d.recorder.reset()
	d.web = web.New(web.Options{
		Version: "bench", Log: slog.New(slog.DiscardHandler), Now: time.Now,
		Engine: func() scheduler.Stats { return d.loop.Stats() },
	})
	d.loop = scheduler.NewLoop(scheduler.LoopOptions{Sink: d, Limits: scheduler.Limits{InFlight: o.inFlight}, Grace: time.Second})
	return d
}

// Put passes a result to both.
func (d *daemon) Put(r check.Result) error {
	if err := d.web.Put(r); err != nil {
		return err
	}
	return d.recorder.Put(r)
}

// Close does nothing, the loop never calls it.
func (d *daemon) Close() error { return nil }

// scrape renders the metrics from time to time, as Prometheus makes it.
func (d *daemon) scrape(ctx context.Context, every time.Duration) {
	handler := d.web.Handler()
	for pause(ctx, every) == nil {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "/metrics", nil)
		if err != nil {
			return
		}
		handler.ServeHTTP(&nowhere{header: make(http.Header)}, request)
	}
}

// nowhere is a response that nobody reads.
type nowhere struct{ header http.Header }

func (n *nowhere) Header() http.Header         { return n.header }
func (n *nowhere) Write(p []byte) (int, error) { return len(p), nil }
func (n *nowhere) WriteHeader(int)             {}
