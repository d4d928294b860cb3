package web

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/sonde-cli/sonde/check"
)

// Bounds of probes on demand.
const (
	maxProbes     = 64                     // at once
	scrapeReserve = 500 * time.Millisecond // of the scrape's timeout, kept for the answer
	longestProbe  = 2 * time.Minute        // without a scrape's timeout
)

// probe measures ?target= with ?module= and answers with
// blackbox_exporter's metrics. A target that could not be measured has no
// metrics: the scrape fails, rather than calling the target down.
func (s *Server) probe(w http.ResponseWriter, r *http.Request) {
	module, target := r.URL.Query().Get("module"), r.URL.Query().Get("target")
	switch {
	case target == "":
		text(w, http.StatusBadRequest, "target parameter is missing")
		return
	case module == "":
		text(w, http.StatusBadRequest, "module parameter is missing")
		return
	}
	budget, err := scrapeBudget(r.Header.Get("X-Prometheus-Scrape-Timeout-Seconds"))
	if err != nil {
		text(w, http.StatusBadRequest, "X-Prometheus-Scrape-Timeout-Seconds is no number of seconds")
		return
	}
	select {
	case s.probing <- struct{}{}:
		defer func() { <-s.probing }()
	default:
		w.Header().Set("Retry-After", "1")
		text(w, http.StatusServiceUnavailable, "too many probes at once")
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), budget)
	defer cancel()
	result, err := s.o.Probe(ctx, module, target)
	switch {
	case errors.Is(err, ErrDenied):
		text(w, http.StatusForbidden, err.Error())
	case err != nil:
		text(w, http.StatusBadRequest, err.Error())
	case result.Verdict == check.Unknown && result.Reason.Code == check.LocalPermission:
		text(w, http.StatusForbidden, string(result.Reason.Code)+": "+result.Reason.Message)
	case result.Verdict == check.Unknown:
		text(w, http.StatusServiceUnavailable, "could not measure: "+string(result.Reason.Code)+": "+result.Reason.Message)
	default:
		registry := prometheus.NewRegistry()
		registry.MustRegister(&blackbox{result: &result})
		promhttp.HandlerFor(registry, promhttp.HandlerOpts{}).ServeHTTP(w, r)
	}
}

// scrapeBudget returns how long a probe may take when Prometheus waits for so
// many seconds.
func scrapeBudget(header string) (time.Duration, error) {
	if header == "" {
		return longestProbe, nil
	}
	seconds, err := strconv.ParseFloat(header, 64)
	if err != nil || !(seconds > 0 && seconds < 1e6) {
		return 0, errors.New("not a number of seconds")
	}
	budget := time.Duration(seconds * float64(time.Second))
	if budget > 2*scrapeReserve {
		budget -= scrapeReserve
	}
	return min(budget, longestProbe), nil
}
