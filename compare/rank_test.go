package compare

import (
	"math"
	"testing"
)

// The expected values of this file are those of R 4.2: wilcox.test and
// p.adjust.
var (
	before8 = []float64{12.1, 13.4, 11.8, 15.2, 12.9, 14.1, 13.3, 12.5}
	after8  = []float64{14.9, 16.3, 13.9, 17.7, 15.1, 14.4, 18.2, 15.8}

	before40 = []float64{
		16.6442, 21.2232, 15.6319, 32.4138, 22.1725, 15.7031, 23.2482, 25.0656, 23.8727, 18.3271, 31.6119, 22.5775, 16.6703, 10.3356,
		28.1481, 19.8166, 19.9882, 26.6596, 25.6968, 24.0028, 26.4616, 25.3972, 20.5399, 11.0584, 24.1902, 19.7502, 19.1684, 12.92,
		17.4015, 22.7686, 30.1928, 19.4756, 22.5628, 19.7639, 13.2883, 17.7343, 17.8448, 19.7313, 27.9386, 25.2532,
	}
	after40 = []float64{
		23.3511, 22.737, 30.2377, 28.9914, 19.9529, 19.841, 27.368, 30.8939, 23.7195, 31.9551, 27.6446, 20.4175, 27.176, 17.4823,
		37.7093, 44.4391, 21.9734, 17.9351, 29.1052, 23.5584, 50.4249, 24.2454, 30.1722, 24.7395, 19.6292, 25.9621, 14.275, 38.0791,
		25.6868, 47.077, 28.2941, 19.8264, 29.4654, 18.537, 16.8426, 26.7741, 21.4776, 24.5407, 25.0858, 20.5558,
	}
)

func rounded(xs []float64) []float64 {
	out := make([]float64, len(xs))
	for i, x := range xs {
		out[i] = math.RoundToEven(x)
	}
	return out
}

func near(t *testing.T, what string, got, want, tolerance float64) {
	t.Helper()
	if !(math.Abs(got-want) <= tolerance) {
		t.Errorf("%s is %.10g, want %.10g", what, got, want)
	}
}

func TestAbove(t *testing.T) {
	var tied, raised []float64
	for i, v := range []float64{1, 2, 2, 3, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13, 14, 14, 15} {
		tied, raised = append(tied, v), append(raised, v+float64(i%3))
	}
	for _, c := range []struct {
		name   string
		xs, ys []float64
		factor float64
		want   float64
	}{
		{"exact", after8, before8, 1, 0.0014763014763},
		{"with a minimum effect", after8, before8, 1.1, 0.0414918414918},
		{"the other way", before8, after8, 1, 0.999067599068},
		{"forty, approximate", after40, before40, 1.1, 0.0821958481441},
		{"forty with ties", rounded(after40), rounded(before40), 1, 0.00129170466294},
		{"ties, approximate", raised, tied, 1, 0.188863855043},
		{"nothing", nil, before8, 1, 1},
		{"all equal", []float64{2, 2, 2}, []float64{1, 1, 1}, 2, 1},
		{"all equal, many", make([]float64, 60), make([]float64, 60), 1, 1},
		{"nothing of many", after40, nil, 1, 1},
	} {
		near(t, c.name, above(c.xs, c.ys, c.factor), c.want, 1e-9)
	}
}

func TestRatio(t *testing.T) {
	for _, c := range []struct {
		name             string
		as, bs           []float64
		confidence       float64
		low, middle, top float64
	}{
		{"eight", before8, after8, 0.95, 1.07751937984, 1.19104093649, 1.33082706767},
		{"eight, 99%", before8, after8, 0.99, 1.03947368421, 1.19104093649, 1.38135593220},
		{"forty", before40, after40, 0.95, 1.06486125629, 1.19322828285, 1.35281244560},
		{"forty, 99%", before40, after40, 0.99, 1.02478296949, 1.19322828285, 1.41026348303},
	} {
		r := ratio(c.as, c.bs, c.confidence)
		near(t, c.name, r.middle, c.middle, 1e-9)
		// R's are exact. The normal approximation is the same or a little wider.
		if r.low > c.low+1e-9 || r.low < 0.975*c.low || r.high < c.top-1e-9 || r.high > 1.025*c.top {
			t.Errorf("%s: %.6f to %.6f, want about %.6f to %.6f", c.name, r.low, r.high, c.low, c.top)
		}
	}
	r := ratio([]float64{1, 2}, []float64{3}, 0.99)
	if r.low != 0 || !math.IsInf(r.high, 1) || math.Abs(r.middle-math.Sqrt(4.5)) > 1e-9 {
		t.Errorf("of three values: %+v", r)
	}
	if r = ratio(nil, before8, 0.99); !math.IsNaN(r.middle) {
		t.Errorf("of one side: %+v", r)
	}
}

func TestHolm(t *testing.T) {
	for _, c := range []struct{ ps, want []float64 }{
		{[]float64{0.01, 0.04, 0.03, 0.005, 0.5}, []float64{0.04, 0.09, 0.09, 0.025, 0.5}},
		{[]float64{0.9, 0.8, 0.02}, []float64{1, 1, 0.06}},
		{[]float64{0.2}, []float64{0.2}},
		{nil, nil},
	} {
		got := holm(c.ps)
		for i, want := range c.want {
			near(t, "corrected", got[i], want, 1e-12)
		}
	}
}

func TestFewest(t *testing.T) {
	// 1/C(8, 4) is 0.0143, 1/C(10, 5) 0.0040, 1/C(14, 7) 0.00029.
	for level, want := range map[float64]int{0.5: 1, 0.05: 3, 0.0142: 5, 0.01: 5, 0.0003: 7, 0: 541} {
		if got := fewest(level); got != want {
			t.Errorf("at %v: %d, want %d", level, got, want)
		}
	}
}
