// Package spelling guesses what a misspelt name was meant to be.
package spelling

import "strings"

// Nearest returns the known name within a third of its length in edits of the
// wrong one, or "".
func Nearest(wrong string, known []string) string {
	const longest = 64 // nobody misspells more, and the cost is quadratic
	best, least := "", 0
	if len(wrong) > longest {
		return ""
	}
	for _, name := range known {
		d := distance(strings.ToLower(wrong), strings.ToLower(name))
		if d <= max(1, len(name)/3) && (best == "" || d < least) && d < len(name) {
			best, least = name, d
		}
	}
	return best
}

// distance counts the insertions, deletions, substitutions and swaps of
// neighbours that lead from a to b (optimal string alignment).
func distance(a, b string) int {
	rows := [3][]int{make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)}
	for j := range rows[1] {
		rows[1][j] = j
	}
	for i := 1; i <= len(a); i++ {
		before, last, row := rows[0], rows[1], rows[2]
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
		rows = [3][]int{last, row, before}
	}
	return rows[1][len(b)]
}
