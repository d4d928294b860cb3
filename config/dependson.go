package config

import (
	"fmt"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/sonde-cli/sonde/check"
)

// maxCircle is how many checks of a circle are named.
const maxCircle = 10

// maxSuggested is how many ids are looked through for what a wrong one meant.
const maxSuggested = 10_000

// dependent is a check with depends_on, and where that stands.
type dependent struct {
	check  *check.Check
	src    *source
	items  []*yaml.Node // one for each of check.DependsOn
	onPath bool         // of the walk
	walked bool
}

// dependsOn notes what the check depends on. It is looked up when all files
// are read.
func (m *maker) dependsOn(c *check.Check, d *decoder, names []string) {
	if len(names) == 0 || d.failed {
		return
	}
	c.DependsOn = m.shared.neededList(names)
	items := useItems(lookup(m.merged, "depends_on"))
	m.file.in.dependents = append(m.file.in.dependents, &dependent{check: c, src: m.file.src, items: items})
}

func (s *shared) neededList(names []string) []string {
	if !slices.Equal(names, s.needed) {
		s.needed = names
	}
	return s.needed
}

// problem reports item i of the check's depends_on.
func (d *dependent) problem(in *load, i int, message, hint string) {
	n := d.items[i]
	in.errors.add(d.src.problem(n.Line, n.Column, message, hint))
}

// unknown reports that item i is no check. What its variables hold can be a
// secret, so it is shown as it stands in the file.
func (d *dependent) unknown(in *load, i int) {
	d.problem(in, i, fmt.Sprintf("there is no check %q", d.items[i].Value), in.similar(d.check.DependsOn[i]))
}

// group is what one word of depends_on stands for.
type group struct {
	members []*dependent // those with a depends_on of their own: only they can be in a circle
	through *dependent   // the member that the walk is at; nil when it is elsewhere
	walked  bool
}

// settle finds the checks that depend on what is not there, or on themselves.
func (in *load) settle() {
	w := walk{in: in, groups: make(map[string]*group), told: make(map[*yaml.Node]bool)}
	for _, d := range in.dependents {
		for i, word := range d.check.DependsOn {
			w.groups[word] = new(group)
			if _, known := in.ids[word]; !known && !in.names[word] && !in.nameless {
				d.unknown(in, i)
			}
		}
	}
	for _, d := range in.dependents {
		c := d.check
		if g := w.groups[c.ID]; g != nil {
			g.members = append(g.members, d)
		}
		if g := w.groups[c.Name]; g != nil && c.Name != c.ID {
			g.members = append(g.members, d)
		}
	}
	for _, d := range in.dependents {
		w.from(d)
	}
}

// similar is the hint for a check that is not there. Ids that each made can
// hold a secret and are not repeated.
func (in *load) similar(word string) string {
	names := make(map[string]bool)
	for name := range in.names {
		names[name] = true
	}
	if len(in.ids) <= maxSuggested {
		for id := range in.ids {
			if !strings.HasSuffix(id, "]") {
				names[id] = true
			}
		}
	}
	all := make([]string, 0, len(names))
	for name := range names {
		all = append(all, name)
	}
	slices.Sort(all)
	return suggest(word, all)
}

// walk goes from each check to what it depends on, depth first, and to each
// check and group once.
type walk struct {
	in     *load
	groups map[string]*group
	path   []*dependent
	told   map[*yaml.Node]bool // items that lead back for one check that each made, and so for others
}

func (w *walk) from(d *dependent) {
	if d.walked {
		return
	}
	d.walked, d.onPath = true, true
	w.path = append(w.path, d)
	for i, word := range d.check.DependsOn {
		g := w.groups[word]
		if g.through != nil {
			w.circle(g.through, i)
			continue
		}
		if g.walked {
			continue
		}
		g.walked = true
		for _, m := range g.members {
			if m.onPath {
				w.circle(m, i)
				continue
			}
			g.through = m
			w.from(m)
		}
		g.through = nil
	}
	w.path = w.path[:len(w.path)-1]
	d.onPath = false
}

// circle reports that item i of the path's last check leads back to a check
// on the path.
func (w *walk) circle(to *dependent, i int) {
	last := w.path[len(w.path)-1]
	if w.told[last.items[i]] {
		return
	}
	w.told[last.items[i]] = true
	if last == to {
		last.problem(w.in, i, "the check depends on itself", "depends_on: [] takes back what defaults or a template say")
		return
	}
	var names []string
	for _, d := range w.path[slices.Index(w.path, to):] {
		names = append(names, d.check.Mask.String(d.check.ID))
	}
	if len(names) > maxCircle {
		names = append(names[:maxCircle:maxCircle], "…")
	}
	names = append(names, names[0])
	last.problem(w.in, i, "checks depend on each other in a circle: "+joined(names, " -> "), "")
}
