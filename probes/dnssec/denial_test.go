package dnssec

import (
	"testing"

	"github.com/miekg/dns"
)

func TestNameOrder(t *testing.T) {
	// RFC 4034 section 6.1
	sorted := []string{"example.", "a.example.", "yljkjljk.a.example.", "Z.a.example.", "zABC.a.EXAMPLE.", "z.example.", `\001.z.example.`, "*.z.example.", `\200.z.example.`}
	for i := range sorted {
		for j := range sorted {
			if got := nameOrder(sorted[i], sorted[j]); (got < 0) != (i < j) || (got == 0) != (i == j) {
				t.Errorf("%s and %s: %d", sorted[i], sorted[j], got)
			}
		}
	}
}

// NSEC3 that costs too much counts as not signed (RFC 9276).
func TestNSEC3Iterations(t *testing.T) {
	for iterations, want := range map[uint16]int{maxIterations: 1, maxIterations + 1: 0} {
		p := &denials{v: &Validator{}, zone: "test.", known: make(map[string]string)}
		p.keep(&dns.NSEC3{Hash: dns.SHA1, Iterations: iterations})
		if len(p.nsec3) != want || (p.doubt != nil) != (want == 0) {
			t.Errorf("%d iterations: %d proofs, %+v", iterations, len(p.nsec3), p.doubt)
		}
	}
	p := &denials{v: &Validator{hashed: maxHashed}, nsec3: []*dns.NSEC3{{Hash: dns.SHA1}}, known: make(map[string]string)}
	if p.hash("web.test.") != "" || p.doubt == nil || p.doubt.status != Indeterminate {
		t.Errorf("too many hashes: %+v", p.doubt)
	}
}
