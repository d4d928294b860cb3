package compare

import "math/rand/v2"

// Order returns the order in which to observe both sides n times each, true for
// B: pairs of an A and a B, as many AB as BA (and one more of either when n is
// odd), in random order. What drifts hits both alike, and what recurs in the
// target or the machine, such as every fourth request going to a slow backend,
// cannot keep in step with a side as it could with a fixed A, B, B, A.
func Order(n int, r *rand.Rand) []bool {
	order := make([]bool, 0, 2*n)
	odd := r.IntN(2)
	for _, i := range r.Perm(n) {
		second := (i+odd)%2 == 0
		order = append(order, !second, second)
	}
	return order
}
