package config_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/sonde-cli/sonde/config"
	"github.com/sonde-cli/sonde/probes"
)

// BenchmarkResident loads checks of one block with a list of hosts. It reports
// what each keeps in memory for as long as it is loaded.
func BenchmarkResident(b *testing.B) {
	for _, n := range []int{1_000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			dir := b.TempDir()
			var hosts strings.Builder
			for i := range n {
				fmt.Fprintf(&hosts, "host-%07d.example.com\n", i)
			}
			write := func(name, text string) string {
				path := filepath.Join(dir, name)
				if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
					b.Fatal(err)
				}
				return path
			}
			write("hosts.txt", hosts.String())
			file := write("checks.yaml", `version: 1
checks:
  - name: web
    each: {host: {file: hosts.txt}}
    http: {url: "http://${each.host}/health"}
    expect: ["status == 200"]
`)
			loader := &config.Loader{Kinds: probes.Kinds(), Version: "1"}
			before := heap()
			b.ReportAllocs()
			var set *config.Set
			for b.Loop() {
				var err error
				if set, err = loader.Load(context.Background(), file); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(heap()-before)/float64(n), "kept-B/check")
			runtime.KeepAlive(set)
		})
	}
}

// heap returns the bytes that are in use after a collection.
func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
