package config

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"gopkg.in/yaml.v3"

	"github.com/sonde-cli/sonde/check"
)

// TargetOptions are what the command line says of its targets. References such
// as ${VAR} are expanded in the values of Settings as in a file, because a
// secret must not stand in a process's arguments. They are not in the target: who
// may only name targets shall not get hold of this machine's secrets.
type TargetOptions struct {
	Expect, Prefer []string
	Timeout        time.Duration // 0: 5s
	Retry          check.Retry   // zero: one attempt
	Samples        int           // observations of a run; 0: one
	Tags           []string
	Settings       []Setting
}

// Setting sets one option of the kind. A setting that comes again appends when
// the option is a list and replaces otherwise.
type Setting struct {
	Path  string // in the kind's block: "method", "headers.Accept", "tls.insecure"
	Value string
	Flag  string // how the user said it: "--method"
}

// Target makes a check of a command-line target such as https://example.com/,
// tcp://db:5432, which may be written as db:5432, or a bare host name. The error is [Errors] without a file.
func (l *Loader) Target(target string, o TargetOptions) (*check.Check, error) {
	in := l.begin(context.Background())
	t := &targeter{in: in, shown: hidePassword(target), names: make(map[*yaml.Node]string)}
	t.decoder = &decoder{load: in, vars: &scope{lookup: l.LookupEnv, files: make(map[string]string)}}
	t.decoder.report = func(n *yaml.Node, _ int, message, hint string) { t.complain(n, message, hint) }
	if password := typedPassword(target); password != "" {
		t.decoder.secrets = []string{password}
	}
	c := t.make(target, &o)
	if len(in.errors.list) > 0 {
		return nil, Errors(in.errors.list)
	}
	return c, nil
}

// targeter makes one check of a target.
type targeter struct {
	in      *load
	kind    *kind
	shown   string // the target without its password
	decoder *decoder
	names   map[*yaml.Node]string // the flags that nodes came from
	told    map[string]bool       // flags with a problem already; one may set several options
}

func (t *targeter) problem(message, hint string) {
	m := check.NewMask(t.decoder.secrets...)
	t.in.errors.add(Problem{Message: m.String(message), Hint: m.String(hint)})
}

func (t *targeter) make(target string, o *TargetOptions) *check.Check {
	if isHostPort(target) {
		target = "tcp://" + target
	}
	if t.kind = t.kindOf(target); t.kind == nil {
		return nil
	}
	options := t.kind.New()
	settable, ok := options.(check.Targeter)
	if !ok {
		t.problem(fmt.Sprintf("%s: the kind %s takes no targets on the command line", t.shown, t.kind.Name), "write the check into a file")
		return nil
	}
	if err := settable.SetTarget(target); err != nil {
		hint := ""
		if strings.Contains(target, "${") {
			hint = "references such as ${TOKEN} are not expanded in a target; name a secret in a flag: --set 'password=${TOKEN}'"
		}
		for _, e := range check.OptionErrors(err) {
			t.problem(t.shown+": "+e.Err.Error(), hint)
		}
		return nil
	}
	block := t.block(options, o.Settings)
	t.decoder.value(block, reflect.ValueOf(options), &field{name: t.kind.Name})
	readable := len(t.in.errors.list) == 0
	user := append(t.expectations(o, check.Expect), t.expectations(o, check.Prefer)...)
	if !readable {
		return nil
	}
	c := &check.Check{ID: t.shown, Name: t.shown, Tags: o.Tags, Interval: defaultInterval, Timeout: o.Timeout, Retry: o.Retry}
	samples := newSpec().Samples
	samples.Count = max(o.Samples, 1)
	c.Samples = samples.samples(user, true)
	if c.Timeout == 0 {
		c.Timeout = defaultTimeout
	}
	if c.Retry.Attempts == 0 {
		c.Retry.Attempts = 1
	}
	t.kind.finish(c, options, t.decoder, user, &shared{}, func(option string) *yaml.Node { return optionNode(block, block, option) })
	return c
}

// complain words a problem of an option by the flag that set it.
func (t *targeter) complain(n *yaml.Node, message, hint string) {
	flag, ok := t.names[n]
	if !ok {
		t.problem(t.shown+": "+message, hint)
		return
	}
	if option, rest, ok := strings.Cut(message, ": "); ok && !strings.Contains(option, " ") {
		message = rest // the flag says which option it is
	}
	t.problem(flag+": "+message, hint)
}

// isHostPort reports whether the target is host:port with a number for the
// port, which means tcp.
func isHostPort(target string) bool {
	host, port, err := net.SplitHostPort(target)
	return err == nil && host != "" && port != "" && strings.Trim(port, "0123456789") == "" && !strings.ContainsAny(host, "/?@ ")
}

// kindOf finds the kind by the target's scheme.
func (t *targeter) kindOf(target string) *kind {
	scheme, rest, ok := strings.Cut(target, ":")
	k := t.in.kindOfScheme(strings.ToLower(scheme))
	switch {
	case target == "":
		t.problem("the target is empty", "")
		return nil
	case ok && strings.HasPrefix(rest, "//") && k == nil:
		hint := suggest(scheme, t.in.schemes())
		if known := t.in.kind(strings.ToLower(scheme)); known != nil {
			hint = "the kind " + known.Name + " has more than a target; write it into a file, with what 'sonde kinds " + known.Name + "' lists"
		}
		t.problem(fmt.Sprintf("%s: unknown scheme %q", t.shown, scheme), hint)
		return nil
	case ok && k != nil && (rest == "" || strings.Trim(rest, "0123456789") != ""):
		return k
	}
	if hint := t.notAHost(target); hint != "" {
		t.problem(fmt.Sprintf("%s: the target has no scheme", t.shown), hint)
		return nil
	}
	k = t.in.kindOfScheme("icmp")
	if k == nil {
		t.problem(fmt.Sprintf("%s: the target has no scheme", t.shown), "begin it with one of "+strings.Join(t.in.schemes(), ", "))
	}
	return k
}

// notAHost returns what was probably meant by a target without a scheme that
// is no bare host, or "".
func (t *targeter) notAHost(target string) string {
	if _, err := netip.ParseAddr(strings.Trim(target, "[]")); err == nil {
		return ""
	}
	switch ext := filepath.Ext(target); {
	case ext == ".yaml" || ext == ".yml":
		return "to run the checks of a file: sonde run " + target
	case strings.HasPrefix(target, "/"), strings.HasPrefix(target, "./"), strings.HasPrefix(target, "../"):
		return "a target is no file; to run the checks of one: sonde run " + target
	case strings.ContainsAny(target, "/?"):
		return "did you mean https://" + target + "?"
	case strings.Contains(target, ":"):
		return "a host and a port are host:443, with the number of the port"
	}
	return ""
}

func (in *load) kindOfScheme(scheme string) *kind {
	for _, k := range in.kinds {
		if slices.Contains(k.Schemes, scheme) {
			return k
		}
	}
	return nil
}

func (in *load) schemes() []string {
	var all []string
	for _, k := range in.kinds {
		all = append(all, k.Schemes...)
	}
	slices.Sort(all)
	return all
}

// expectations compiles expressions of the command line.
func (t *targeter) expectations(o *TargetOptions, level check.Level) []check.Expectation {
	texts := o.Expect
	if level == check.Prefer {
		texts = o.Prefer
	}
	var list []check.Expectation
	for _, text := range texts {
		c := t.kind.compile(text)
		err := c.err
		if err == nil && c.sample != "" && o.Samples <= 1 {
			err = needsSamples(text, c.sample, "take some with --samples 30")
		}
		if err != nil {
			at := utf8.RuneCountInString(text[:min(max(err.Offset, 0), len(text))])
			t.in.errors.add(Problem{
				Message: fmt.Sprintf("--%s: %s", level, err.Message), Hint: err.Hint,
				Excerpt: fmt.Sprintf("    %s\n    %s^", printable(strings.ReplaceAll(text, "\n", " ")), strings.Repeat(" ", at)),
			})
			continue
		}
		list = append(list, check.Expectation{Text: text, Level: level, Test: c.test, Sample: c.sample != ""})
	}
	return list
}

// block writes the settings as the block of a file would.
func (t *targeter) block(options check.Options, settings []Setting) *yaml.Node {
	root := &yaml.Node{Kind: yaml.MappingNode}
	t.told = make(map[string]bool)
	for _, s := range settings {
		if !t.put(root, reflect.TypeOf(options).Elem(), s.Path, s) && !t.told[s.Flag] {
			t.told[s.Flag] = true
			t.problem(fmt.Sprintf("%s does not apply to %s: the kind %s has no option %s", s.Flag, t.shown, t.kind.Name, s.Path),
				"sonde kinds "+t.kind.Name+" lists the options")
		}
	}
	return root
}

// put adds one setting below n, which stands for a value of type typ. It
// reports whether there is such an option.
func (t *targeter) put(n *yaml.Node, typ reflect.Type, path string, s Setting) bool {
	for typ.Kind() == reflect.Pointer && typ != regexpType {
		typ = typ.Elem()
	}
	switch {
	case typ.Kind() == reflect.Struct && path != "":
		name, rest, _ := strings.Cut(path, ".")
		f := fieldNamed(fieldsOf(typ), name)
		if f == nil {
			return false
		}
		inner := t.child(n, name)
		if _, named := t.names[inner]; !named {
			t.names[inner] = s.Flag
		}
		ok := t.put(inner, f.typ, rest, s)
		if !ok && inner.Kind == yaml.MappingNode && len(inner.Content) == 0 && len(n.Content) > 0 { // it would be an error of its own
			n.Content = n.Content[:len(n.Content)-2]
		}
		return ok
	case typ.Kind() == reflect.Map && path != "":
		return t.put(t.child(n, path), typ.Elem(), "", s)
	case typ.Kind() == reflect.Slice && path == "" && isScalar(typ.Elem()):
		item := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: s.Value}
		n.Kind, n.Content = yaml.SequenceNode, append(n.Content, item)
		t.names[n], t.names[item] = s.Flag, s.Flag
		return true
	case isScalar(typ) && path == "":
		n.Kind, n.Tag, n.Value = yaml.ScalarNode, "!!str", s.Value
		t.names[n] = s.Flag
		return true
	case path == "":
		return t.putText(n, typ, s)
	}
	return false
}

// putText reads the value of an option that is no scalar as a file has it: in
// YAML, and so in JSON too. It reports whether the option can have such a value.
func (t *targeter) putText(n *yaml.Node, typ reflect.Type, s Setting) bool {
	refuse := func(message, hint string) {
		t.told[s.Flag] = true
		t.problem(s.Flag+": "+message, hint)
	}
	text, more, err := decodeYAML(s.Value)
	if err != nil || more != nil || text == nil || len(text.Content) == 0 {
		refuse("the value is no YAML on one line", `write it as '{a: 1}' or '[{name: a, value: "${B}"}]'`)
		return false
	}
	root := text.Content[0]
	if root.Kind == yaml.ScalarNode && typ != jsonType {
		return false
	}
	tree := normaliser{
		src: new(source), full: t.in.errors.full, sizes: make(map[*yaml.Node]int),
		report: func(p Problem) { refuse(p.Message, p.Hint) },
	}
	if tree.walk(root, 0); t.told[s.Flag] {
		return false
	}
	*n = *root
	t.name(n, s.Flag)
	return true
}

// name lets problems with n, and with what is in it, name the flag.
func (t *targeter) name(n *yaml.Node, flag string) {
	t.names[n] = flag
	for _, inner := range n.Content {
		t.name(inner, flag)
	}
}

// child returns the value of a key, made as a map when it is new.
func (t *targeter) child(n *yaml.Node, name string) *yaml.Node {
	if inner := lookup(n, name); inner != nil {
		return inner
	}
	inner := &yaml.Node{Kind: yaml.MappingNode}
	n.Content = append(n.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: name}, inner)
	return inner
}
