package config

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/sonde-cli/sonde/check"
)

// Module is a template that can be measured at any target: one that has a
// kind with targets. Kept when [Loader.Modules] is set. It is safe for concurrent use.
type Module struct {
	Name string
	Kind string

	loader *Loader
	file   *file
	merged *yaml.Node
}

// modules notes the file's templates that have a kind.
func (f *file) modules() {
	for _, name := range keysOf(f.templates.nodes) {
		merged := f.templates.done[name]
		var found *kind
		for key := range pairs(merged) {
			if k := f.in.kind(key.Value); k != nil && len(k.Schemes) > 0 { // others take no target, and must not
				found = k
			}
		}
		if found == nil {
			continue
		}
		base := without(f.defaults, func(key string) bool { return key != found.Name && f.in.kind(key) != nil })
		m := &Module{Name: name, Kind: found.Name, loader: f.in.Loader, merged: merge(base, merged)}
		m.file = &file{src: f.src, defaults: f.defaults}
		f.in.set.Modules = append(f.in.set.Modules, m)
	}
	// Checks of modules are made concurrently, and their errors show excerpts.
	f.src.line(1)
	f.src.literalSecrets()
}

// Check makes the check of the module for a target, such as
// https://example.com/ or a bare host name. What the target says wins over the
// template. A bare target of dns is the server to ask for the template's name.
// The error is [Errors].
func (m *Module) Check(target string) (*check.Check, error) {
	in := m.loader.begin(context.Background())
	f := &file{in: in, src: m.file.src, defaults: m.file.defaults}
	k := in.kind(m.Kind)
	mk := &maker{file: f, merged: m.merged, kind: k, files: make(map[string]string)}
	mk.block, mk.key = lookup(m.merged, k.Name), lookupKey(m.merged, k.Name)
	d := f.decoder(f.scope())
	full, err := m.complete(d, target)
	if err != nil {
		return nil, Errors{{Message: fmt.Sprintf("%s: %v", hidePassword(target), err)}}
	}
	mk.target = full
	if password := urlPassword(full); password != "" {
		d.secrets = append(d.secrets, password)
	}
	shown := hidePassword(target)
	c := &check.Check{ID: m.Name + "[" + shown + "]", Name: m.Name, File: f.src.name, Line: mk.block.Line}
	if !mk.complete(c, d) || len(in.errors.list) > 0 {
		return nil, Errors(in.errors.sorted())
	}
	return c, nil
}

// complete gives a bare target what blackbox_exporter would add: http:// for
// http, the name to ask for dns, else the kind's scheme.
func (m *Module) complete(d *decoder, target string) (string, error) {
	k := d.load.kind(m.Kind)
	if scheme, _, ok := strings.Cut(target, "://"); ok {
		if !slices.Contains(k.Schemes, strings.ToLower(scheme)) {
			return "", fmt.Errorf("%s is no scheme of %s, which the module %s is", scheme, m.Kind, m.Name)
		}
		return target, nil
	}
	block := lookup(m.merged, m.Kind)
	switch m.Kind {
	case "http":
		return "http://" + target, nil
	case "dns":
		if name := lookup(block, "name"); name != nil {
			e, _, _ := d.text(name) // what is wrong with it is reported
			return "dns://" + target + "/" + e.text, nil
		}
	}
	return k.Schemes[0] + "://" + target, nil
}

// aim sets the target of options; nothing for a check of a file.
func (m *maker) aim(d *decoder, options check.Options) bool {
	if m.target == "" {
		return true
	}
	settable, ok := options.(check.Targeter)
	if !ok {
		d.errorf(m.key, "", "the kind %s takes no targets", m.kind.Name)
		return false
	}
	if err := settable.SetTarget(m.target); err != nil {
		for _, e := range check.OptionErrors(err) {
			d.errorf(m.key, "", "%s: %s", hidePassword(m.target), e.Err)
		}
		return false
	}
	return true
}
