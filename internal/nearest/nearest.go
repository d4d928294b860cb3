// Package nearest finds what a misspelt word probably meant.
package nearest

import "strings"

// longest is the longest word, in bytes, that is looked at: nobody misspells
// more, and the cost is quadratic.
const longest = 64

// To returns the known word that is nearest to the wrong one, whatever their
// case, and no more than a third of its own length in edits away from it; ""
// when there is none. Of several the first is taken.
func To(wrong string, known []string) string {
	if len(wrong) > longest {
		return ""
	}
	best, least := "", longest
	for _, word := range known {
		if len(word) > longest {
			continue
		}
		d := distance(strings.ToLower(wrong), strings.ToLower(word))
		if d <= max(1, len(word)/3) && d < len(word) && d < least {
			best, least = word, d
		}
	}
	return best
}

// distance counts the insertions, deletions, substitutions and swaps of
// neighbours that lead from a to b (optimal string alignment).
func distance(a, b string) int {
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}
