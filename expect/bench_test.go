package expect

import (
	"testing"
	"time"

	"github.com/sonde-cli/sonde/check"
)

func BenchmarkEval(b *testing.B) {
	seen := look(check.FactsOf(map[string]any{"status": 200, "latency": time.Millisecond, "answers": []string{"10 mail.test"}}))
	for _, text := range []string{"status == 200", "status in [2xx, 301] && latency < 800ms", "any(answers, # contains 'mail')"} {
		b.Run(text, func(b *testing.B) {
			test := mustCompile(b, text)
			b.ReportAllocs()
			for b.Loop() {
				test.Eval(seen)
			}
		})
	}
}

func BenchmarkCompile(b *testing.B) {
	facts := facts()
	for _, text := range []string{"status == 200", "any(answers, # contains 'mail')"} {
		b.Run(text, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Compile(text, facts); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
