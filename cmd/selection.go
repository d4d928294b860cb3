package cmd

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sonde-cli/sonde/config"
)

// selection chooses checks of a file, and how often each observes.
type selection struct {
	only, tags, skipTags list
	samples              samplesFlag // 0 leaves it to the file
	needs                []string    // facts that are wanted although no expectation names them

	matched map[string]bool // which of the flags named a check
}

// registerSelection registers the flags that choose checks.
func (s *selection) registerSelection(a *App, c *cobra.Command) {
	s.only.arg, s.tags.arg, s.skipTags.arg = "GLOB", "TAG", "TAG"
	flags := c.Flags()
	flags.Var(&s.only, "only", "only checks whose id or name matches (* and ?); repeatable")
	flags.Var(&s.tags, "tag", "only checks with the tag; repeatable")
	flags.Var(&s.skipTags, "skip-tag", "no checks with the tag; repeatable")
	complete(c, "only", a.labels(func(id string, _ []string) []string { return []string{id} }))
	tags := a.labels(func(_ string, tags []string) []string { return tags })
	complete(c, "tag", tags)
	complete(c, "skip-tag", tags)
}

// selects reports whether the flags choose among the checks.
func (s *selection) selects() bool {
	return len(s.only.values)+len(s.tags.values)+len(s.skipTags.values) > 0
}

// filter returns the loader's filter; nil when nothing is to be left out.
func (s *selection) filter() func(id, name string, tags []string) bool {
	if !s.selects() {
		return nil
	}
	s.matched = make(map[string]bool)
	return func(id, name string, tags []string) bool {
		named := s.any("--only", s.only.values, func(pattern string) bool { return glob(pattern, id) || glob(pattern, name) })
		tagged := s.any("--tag", s.tags.values, func(tag string) bool { return slices.Contains(tags, tag) })
		skipped := slices.ContainsFunc(s.skipTags.values, func(tag string) bool { return slices.Contains(tags, tag) })
		return named && tagged && !skipped
	}
}

// any reports whether one of the values matches, or there is none, and
// remembers each that does.
func (s *selection) any(flag string, values []string, matches func(string) bool) bool {
	found := len(values) == 0
	for _, v := range values {
		if matches(v) {
			s.matched[flag+" "+v] = true
			found = true
		}
	}
	return found
}

// verify refuses a selection that would let a run pass without measuring what
// was asked for.
func (s *selection) verify(set *config.Set) error {
	if wrong := slices.Concat(s.unmatched("--only", s.only.values), s.unmatched("--tag", s.tags.values)); len(wrong) > 0 {
		return usagef("'sonde validate --verbose' lists the checks and their tags",
			"%s matches none of %s", strings.Join(wrong, " and "), plural(set.Total, "check"))
	}
	if len(set.Checks) > 0 {
		return nil
	}
	switch {
	case set.Total > 0:
		return usagef("", "the selection leaves none of %s%s", plural(set.Total, "check"), disabled(set.Disabled))
	case set.Disabled > 0:
		return usagef("remove 'enabled: false' from one", "all checks are disabled: %d", set.Disabled)
	default:
		return usagef("", "no checks in %s", strings.Join(set.Files, ", "))
	}
}

// unmatched returns what was asked for with the flag and is not there.
func (s *selection) unmatched(flag string, values []string) []string {
	var wrong []string
	for _, v := range values {
		if !s.matched[flag+" "+v] {
			wrong = append(wrong, flag+" "+v)
		}
	}
	return wrong
}

func disabled(n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf(" (%d disabled)", n)
}

// glob reports whether the pattern matches all of s: * stands for any text, ?
// for one character, and everything else for itself, so that an id such as
// orders[eu] needs no escaping.
func glob(pattern, s string) bool {
	p, text := []rune(pattern), []rune(s)
	i, j := 0, 0
	star, mark := -1, 0 // the last * and where it began to match
	for j < len(text) {
		switch {
		case i < len(p) && p[i] == '*':
			star, mark = i, j
			i++
		case i < len(p) && (p[i] == '?' || p[i] == text[j]):
			i++
			j++
		case star >= 0: // let the last * take one character more
			mark++
			i, j = star+1, mark
		default:
			return false
		}
	}
	for i < len(p) && p[i] == '*' {
		i++
	}
	return i == len(p)
}
