package web

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/sonde-cli/sonde/check"
)

func manyChecks(n int) (*Server, []check.Result) {
	checks, results := make([]*check.Check, n), make([]check.Result, n)
	for i := range n {
		id := fmt.Sprintf("check-%06d", i)
		checks[i], results[i] = toy(id), result(id, check.Up)
	}
	return newServer(Options{}, checks...), results
}

// BenchmarkPut is what a result costs here, for checks with details and beyond
// the limit.
func BenchmarkPut(b *testing.B) {
	for _, n := range []int{10_000, 200_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			s, results := manyChecks(n)
			for _, r := range results {
				s.Put(r)
			}
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				s.Put(results[i%n])
				i++
			}
		})
	}
}

// BenchmarkScrape is what one scrape costs.
func BenchmarkScrape(b *testing.B) {
	for _, n := range []int{100, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			s, results := manyChecks(n)
			for _, r := range results {
				s.Put(r)
			}
			h := s.Handler()
			b.ReportAllocs()
			for b.Loop() {
				h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/metrics", nil))
			}
		})
	}
}
