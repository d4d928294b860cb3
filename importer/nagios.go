package importer

import (
	"bufio"
	"fmt"
	"math"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"gopkg.in/yaml.v3"
)

// command is the command line of a plugin.
type command struct {
	name     string // of the check; empty: after the plugin and the host
	args     []string
	line     int
	interval time.Duration
	attempts int
	wait     time.Duration
	tags     []string
}

// nagiosLine is a line that shows that a file is of Nagios.
var nagiosLine = regexp.MustCompile(`(?m)^\s*(define\s+[a-z]+\s*\{|command\[[^\]]+\]\s*=|(/\S*/)?check_[a-z_]+\s+-)`)

func looksLikeNagios(source string) bool { return nagiosLine.MatchString(source) }

// nagios imports command lines of plugins: one on a line, those of an nrpe.cfg,
// or those of the services of object definitions.
func nagios(j *job) error {
	if strings.Contains(j.source.Text, "define") {
		if objects := j.objects(); len(objects) > 0 {
			j.services(objects)
			return j.some()
		}
	}
	line := 0
	for text := range strings.Lines(j.source.Text) {
		line++
		text = strings.TrimSpace(text)
		if text == "" || text[0] == '#' {
			continue
		}
		c := command{line: line}
		if rest, ok := strings.CutPrefix(text, "command["); ok {
			name, commandLine, found := strings.Cut(rest, "]")
			commandLine, isSet := strings.CutPrefix(strings.TrimSpace(commandLine), "=")
			if !found || !isSet {
				continue
			}
			c.name, text = name, strings.TrimSpace(commandLine)
		} else if !strings.Contains(strings.SplitN(text, " ", 2)[0], "check_") {
			continue // another setting of an nrpe.cfg
		}
		args, err := splitWords(text)
		if err != nil {
			j.miss(nil, c.at(), "a command line is left out: "+err.Error())
			continue
		}
		c.args = args
		j.plugin(c)
	}
	return j.some()
}

// some demands that there was a command line.
func (j *job) some() error {
	if len(j.out.items) == 0 && len(j.warnings) == 0 {
		return j.failure(1, 1, "there is no command line of a plugin", "for example: check_http -H example.com -S -w 1 -c 2")
	}
	return nil
}

func (c command) at() *yaml.Node { return &yaml.Node{Line: c.line, Column: 1} }

// splitWords splits a command line as a shell does, without expanding anything.
func splitWords(s string) ([]string, error) {
	var words []string
	var word strings.Builder
	inWord, quote, escaped := false, rune(0), false
	for _, r := range s {
		switch {
		case escaped:
			word.WriteRune(r)
			escaped = false
		case r == '\\' && quote != '\'':
			inWord, escaped = true, true
		case quote != 0 && r == quote:
			quote = 0
		case quote != 0:
			word.WriteRune(r)
		case r == '\'' || r == '"':
			inWord, quote = true, r
		case unicode.IsSpace(r):
			if inWord {
				words = append(words, word.String())
			}
			word.Reset()
			inWord = false
		default:
			inWord = true
			word.WriteRune(r)
		}
	}
	if quote != 0 || escaped {
		return nil, fmt.Errorf("a quote is not closed")
	}
	if inWord {
		words = append(words, word.String())
	}
	return words, nil
}

// plugin imports one command line.
func (j *job) plugin(c command) {
	it := &item{name: c.name, tags: c.tags}
	if len(c.args) == 0 {
		j.skip(it, c.at(), "an empty command line is left out")
		return
	}
	name := strings.TrimSuffix(path.Base(strings.ReplaceAll(c.args[0], `\`, "/")), ".pl")
	p, known := plugins()[name]
	if !known {
		j.skip(it, c.at(), "the plugin "+name+" is left out, for it has no equivalent")
		return
	}
	f := &flags{job: j, item: it, at: c.at(), plugin: name, values: make(map[string][]string)}
	f.parse(p.options, c.args[1:])
	if it.name == "" {
		it.name = strings.TrimSpace(name + " " + f.first("H", f.first("I", f.positional())))
	}
	if c.interval >= time.Second {
		it.interval = c.interval
	}
	if c.attempts > 1 {
		it.retry = fields{{"attempts", c.attempts}}
		if c.wait > 0 {
			it.retry = append(it.retry, fields{{"wait", c.wait}, {"factor", 1}, {"max_wait", c.wait}}...)
		}
	}
	if err := p.read(f); err != nil {
		j.skip(it, c.at(), name+" is left out, for "+err.Error())
		return
	}
	f.rest()
	j.add(it)
}

// flags are the options of a command line, by their short names.
type flags struct {
	job    *job
	item   *item
	at     *yaml.Node
	plugin string
	values map[string][]string
	order  []string
	used   []string
	args   []string // that are no options
}

// parse reads options as getopt_long does. The options of a plugin are written
// as "H=hostname p=port S:ssl v", where = demands a value, : allows one that
// is joined, and none takes none.
func (f *flags) parse(options string, args []string) {
	kinds, long := make(map[string]byte), make(map[string]string)
	for word := range strings.FieldsSeq(options) {
		i := strings.IndexAny(word, "=:/")
		short, name := word[:i], word[i+1:]
		kinds[short], long[name] = word[i], short
	}
	for len(args) > 0 {
		arg := args[0]
		args = args[1:]
		switch {
		case arg == "--":
			f.args = append(f.args, args...)
			return
		case strings.HasPrefix(arg, "--"):
			name, value, joined := strings.Cut(arg[2:], "=")
			short, known := long[name]
			if !known {
				f.job.miss(f.item, f.at, f.plugin+" --"+name+" has no equivalent")
				if !joined && len(args) > 0 && !strings.HasPrefix(args[0], "-") {
					args = args[1:] // its value
				}
				continue
			}
			if kinds[short] == '=' && !joined && len(args) > 0 {
				value, args = args[0], args[1:]
			}
			f.put(short, value)
		case len(arg) > 1 && arg[0] == '-':
			args = f.cluster(kinds, arg[1:], args)
		default:
			f.args = append(f.args, arg)
		}
	}
}

// cluster reads short options, which may be joined and have a value at the end.
func (f *flags) cluster(kinds map[string]byte, cluster string, args []string) []string {
	for i, r := range cluster {
		short, rest := string(r), cluster[i+len(string(r)):]
		switch kind, known := kinds[short]; {
		case !known:
			f.job.miss(f.item, f.at, f.plugin+" -"+short+" has no equivalent")
			if rest == "" && len(args) > 0 && !strings.HasPrefix(args[0], "-") {
				return args[1:]
			}
			return args
		case kind == '=' && rest == "" && len(args) > 0:
			f.put(short, args[0])
			return args[1:]
		case kind != '/':
			f.put(short, rest)
			return args
		}
		f.put(short, "")
	}
	return args
}

func (f *flags) put(short, value string) {
	f.values[short] = append(f.values[short], value)
	f.order = append(f.order, short)
}

func (f *flags) all(short string) []string {
	f.used = append(f.used, short)
	return f.values[short]
}

func (f *flags) has(short string) bool { return len(f.all(short)) > 0 }

// first returns an option's value.
func (f *flags) first(short, instead string) string {
	if all := f.all(short); len(all) > 0 && all[0] != "" {
		return all[0]
	}
	return instead
}

func (f *flags) positional() string {
	if len(f.args) == 0 {
		return ""
	}
	return f.args[0]
}

// rest names the options that were not read.
func (f *flags) rest() {
	for _, short := range slices.Compact(f.order) {
		if !slices.Contains(f.used, short) && short != "v" {
			f.job.miss(f.item, f.at, f.plugin+" -"+short+" has no equivalent")
		}
	}
}

// seconds reads a number of seconds.
func (f *flags) seconds(short string) (time.Duration, bool) {
	s := f.first(short, "")
	if s == "" {
		return 0, false
	}
	v, err := strconv.ParseFloat(strings.TrimPrefix(s, "0:"), 64)
	if err != nil || math.IsNaN(v) || v <= 0 || v > 1e6 {
		f.job.miss(f.item, f.at, fmt.Sprintf("%s -%s is left out, for it is no number of seconds", f.plugin, short))
		return 0, false
	}
	return time.Duration(v * float64(time.Second)), true
}

// thresholds sets what the latency is wanted and preferred to be.
func (f *flags) thresholds() {
	if d, ok := f.seconds("w"); ok {
		f.item.prefers("latency <= %s", duration(d))
	}
	if d, ok := f.seconds("c"); ok {
		f.item.wants("latency <= %s", duration(d))
	}
}

// common sets what most plugins have: the timeout and the address family. The
// plugins' own timeout is 10s.
func (f *flags) common() {
	f.item.timeout = 10 * time.Second
	if s := f.first("t", ""); s != "" {
		seconds, _, _ := strings.Cut(s, ":")
		if n, err := strconv.Atoi(seconds); err == nil && n > 0 && n < 1e6 {
			f.item.timeout = time.Duration(n) * time.Second
		}
	}
	switch {
	case f.has("4"):
		f.item.option("family", "4")
	case f.has("6"):
		f.item.option("family", "6")
	}
}

// objectHead begins an object definition.
var objectHead = regexp.MustCompile(`^define\s+([a-z]+)\s*\{?`)

// definition is an object of Nagios.
type definition struct {
	kind   string
	line   int
	values map[string]string
	whole  bool // it has what it inherits
}

// objects reads object definitions.
func (j *job) objects() []*definition {
	var all []*definition
	var current *definition
	scanner := bufio.NewScanner(strings.NewReader(j.source.Text))
	scanner.Buffer(nil, 1<<20)
	for line := 1; scanner.Scan(); line++ {
		text, _, _ := strings.Cut(scanner.Text(), ";")
		text = strings.TrimSpace(text)
		switch m := objectHead.FindStringSubmatch(text); {
		case text == "" || text[0] == '#':
		case m != nil:
			current = &definition{kind: m[1], line: line, values: make(map[string]string)}
			all = append(all, current)
		case text[0] == '}':
			current = nil
		case current != nil:
			key := strings.Fields(text)[0]
			current.values[key] = strings.TrimSpace(text[len(key):])
		}
	}
	return all
}

// inherit fills in what an object takes over from templates with use.
func inherit(d *definition, templates map[string]*definition) {
	if d.whole {
		return
	}
	d.whole = true
	for name := range strings.SplitSeq(d.values["use"], ",") {
		t := templates[d.kind+" "+strings.TrimSpace(name)]
		if t == nil {
			continue
		}
		inherit(t, templates)
		for k, v := range t.values {
			if _, has := d.values[k]; !has && k != "name" && k != "register" {
				d.values[k] = v
			}
		}
	}
}

// services imports the services, with the macros of their commands filled in.
func (j *job) services(all []*definition) {
	commands, addresses := make(map[string]string), make(map[string]string)
	templates := make(map[string]*definition)
	for _, d := range all {
		if name := d.values["name"]; name != "" {
			templates[d.kind+" "+name] = d
		}
	}
	for _, d := range all {
		inherit(d, templates)
		switch d.kind {
		case "command":
			commands[d.values["command_name"]] = d.values["command_line"]
		case "host":
			addresses[d.values["host_name"]] = d.values["address"]
		}
	}
	for _, d := range all {
		if d.kind != "service" || d.values["register"] == "0" {
			continue
		}
		if d.values["host_name"] == "" {
			j.miss(nil, (command{line: d.line}).at(), "a service without host_name is left out")
			continue
		}
		for host := range strings.SplitSeq(d.values["host_name"], ",") {
			j.service(d, strings.TrimSpace(host), commands, addresses)
		}
	}
}

// macro is a macro of Nagios.
var macro = regexp.MustCompile(`\$[A-Z0-9_]+\$`)

func (j *job) service(d *definition, host string, commands, addresses map[string]string) {
	parts := strings.Split(d.values["check_command"], "!")
	line, known := commands[parts[0]]
	c := command{name: strings.TrimSpace(host + " " + d.values["service_description"]), line: d.line, tags: []string{host}}
	if !known {
		j.skip(&item{name: c.name}, c.at(), c.name+" is left out, for the command "+parts[0]+" is not in the file")
		return
	}
	address := addresses[host]
	if address == "" {
		address = host
	}
	var unknown string
	line = macro.ReplaceAllStringFunc(line, func(m string) string {
		name := strings.Trim(m, "$")
		n, err := strconv.Atoi(strings.TrimPrefix(name, "ARG"))
		switch {
		case name == "HOSTADDRESS":
			return address
		case name == "HOSTNAME" || name == "HOSTALIAS":
			return host
		case name == "USER1":
			return "/usr/lib/nagios/plugins" // the folder of the plugins, by custom
		case strings.HasPrefix(name, "ARG") && err == nil:
			if n > 0 && n < len(parts) {
				return parts[n]
			}
			return ""
		}
		unknown = m
		return m
	})
	if unknown != "" {
		j.skip(&item{name: c.name}, c.at(), c.name+" is left out, for the macro "+unknown+" is not known")
		return
	}
	args, err := splitWords(line)
	if err != nil {
		j.skip(&item{name: c.name}, c.at(), c.name+" is left out: "+err.Error())
		return
	}
	c.args = args
	c.interval, c.wait = minutes(d.values["check_interval"]), minutes(d.values["retry_interval"])
	if n, err := strconv.Atoi(d.values["max_check_attempts"]); err == nil && n > 1 && n <= 100 {
		c.attempts = n
	}
	j.plugin(c)
}

// minutes reads an interval, which Nagios counts in minutes.
func minutes(s string) time.Duration {
	v, err := strconv.ParseFloat(s, 64)
	if err != nil || math.IsNaN(v) || v <= 0 || v > 1e6 {
		return 0
	}
	return time.Duration(v * float64(time.Minute))
}
