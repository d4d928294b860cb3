package probes

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"unicode/utf8"

	"github.com/sonde-cli/sonde/check"
)

// Limits of what is kept of each of a program's two streams.
const (
	defaultMaxOutput check.Size = 64 << 10
	largestMaxOutput check.Size = 512 << 10 // both streams and decoded JSON fit into 2 MiB
)

// execPass are the variables that a program gets from sonde's own environment.
// The others may be secrets of other checks.
var execPass = [...]string{
	"PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "TZ", "TMPDIR",
	"SystemRoot", "SystemDrive", "ComSpec", "PATHEXT", "TEMP", "TMP", "USERPROFILE", // Windows
}

// The kind has no schemes: what to run is said in a file, never by a target,
// so that nobody who merely names targets can run programs.
func init() {
	register(check.Kind{
		Name:  "exec",
		Doc:   "runs a program without a shell; a Nagios plugin where told so",
		Facts: execFacts(),
		New:   func() check.Options { return &execOptions{MaxOutput: defaultMaxOutput} },
	})
}

func execFacts() []check.Fact {
	return []check.Fact{
		{Name: "exit_code", Type: check.Int, Doc: "exit code; 128 and the signal's number when a signal ended the program"},
		{Name: "signal", Type: check.String, Doc: "signal that ended the program, such as SIGSEGV; '' when none did"},
		{Name: "output", Type: check.String, Doc: "first line of stdout, at most 256 bytes and without control characters; of a plugin without the performance data"},
		{Name: "stdout", Type: check.String, Hidden: true, Doc: "what the program wrote to stdout, up to max_output"},
		{Name: "stderr", Type: check.String, Hidden: true, Doc: "what the program wrote to stderr, up to max_output"},
		{Name: "truncated", Type: check.Bool, Doc: "stdout or stderr was larger than max_output"},
		{Name: "json", Type: check.Any, Hidden: true, Doc: "stdout, decoded from JSON: json.a.b"},
		{Name: "state", Type: check.String, Doc: "what a plugin says: ok, warning or critical; where it says unknown, so is the verdict"},
		{Name: "perf", Type: check.Any, Doc: "a plugin's values by label, in seconds, bytes, percent or as they are: perf['load1'] < 5"},
		{Name: "perfdata", Type: check.Any, Hidden: true, Doc: "all that a plugin says of each label: value, unit, min, max, and the ranges warn and crit with text, start, end and inside"},
	}
}

// execOptions are the options of the kind exec.
type execOptions struct {
	Command   []string          `yaml:"command" required:"true" doc:"program and its arguments, a list; no shell sees them"`
	Nagios    bool              `yaml:"nagios" doc:"the program is a Nagios plugin: exit code 0, 1, 2 or 3 is its state, and performance data are facts"`
	Env       map[string]string `yaml:"env" doc:"environment variables; of sonde's own a program gets PATH, HOME, USER, LOGNAME, LANG, LC_ALL, TZ, TMPDIR alone, and on Windows what it needs to start"`
	Dir       string            `yaml:"dir" path:"true" doc:"directory to run in"`
	Stdin     string            `yaml:"stdin" doc:"text for the program to read"`
	MaxOutput check.Size        `yaml:"max_output" doc:"how much of stdout and of stderr to keep, at most 512KiB; the rest is read and dropped"`
}

// execProbe is a built check of the kind exec.
type execProbe struct {
	command []string
	env     []string
	own     map[string]string // of the check, to reproduce
	dir     string
	stdin   string
	max     int
	nagios  bool
	json    bool         // wanted by an expectation
	stuck   atomic.Int32 // programs that outlived being killed
}

// Build validates the options.
func (o *execOptions) Build(setup check.Setup) (check.Plan, error) {
	var errs []error
	if len(o.Command) == 0 || o.Command[0] == "" {
		errs = append(errs, check.OptionErrorf("command", "names no program"))
	}
	for _, word := range o.Command {
		if strings.ContainsRune(word, 0) {
			errs = append(errs, check.OptionErrorf("command", "an argument cannot contain a NUL"))
		}
	}
	for name, value := range o.Env {
		if name == "" || strings.ContainsAny(name, "=\x00") || strings.ContainsRune(value, 0) {
			errs = append(errs, check.OptionErrorf("env", "%q cannot be an environment variable", name))
		}
	}
	if o.MaxOutput < 1 || o.MaxOutput > largestMaxOutput {
		errs = append(errs, check.OptionErrorf("max_output", "%s is not from 1B to %s", o.MaxOutput, largestMaxOutput))
	}
	if err := errors.Join(errs...); err != nil {
		return check.Plan{}, err
	}
	p := &execProbe{
		command: o.Command, env: o.environ(setup.Getenv), own: o.Env, dir: o.Dir, stdin: o.Stdin,
		max: int(o.MaxOutput), nagios: o.Nagios, json: setup.Needs("json"),
	}
	return check.Plan{Probe: p, Target: p.line(), Defaults: o.defaults()}, nil
}

func (o *execOptions) defaults() []check.Default {
	if o.Nagios {
		return []check.Default{
			{Expect: "state != 'critical'"},
			{Expect: "state == 'ok'", Level: check.Prefer},
		}
	}
	return []check.Default{{Expect: "exit_code == 0"}}
}

// environ returns the program's environment, never nil, which would be ours.
func (o *execOptions) environ(getenv func(string) string) []string {
	env := make([]string, 0, len(execPass)+len(o.Env))
	for _, name := range execPass {
		if value := getenv(name); value != "" {
			env = append(env, name+"="+value)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(o.Env)) { // the last one counts
		env = append(env, name+"="+o.Env[name])
	}
	return env
}

// line is the command as people read it and a shell takes it.
func (p *execProbe) line() string {
	var line shellLine
	line.add(p.command...)
	if name := p.command[0]; line[0] == name && (strings.Contains(name, "=") || slices.Contains(reservedWords, name)) {
		line[0] = "'" + name + "'" // else a shell takes it for a part of its language
	}
	return line.String()
}

// reservedWords are those of letters in POSIX, section 2.4, and of bash.
var reservedWords = []string{
	"case", "coproc", "do", "done", "elif", "else", "esac", "fi", "for", "function", "if", "in", "select", "then", "time", "until", "while",
}

// reproduce is the command in its directory with its own variables and input.
func (p *execProbe) reproduce() string {
	var line shellLine
	if p.dir != "" {
		line.add("cd", p.dir)
		line = append(line, "&&")
	}
	if p.stdin != "" {
		line = append(line, printed(p.stdin), "|")
	}
	if len(p.own) > 0 {
		line.add("env")
		for _, name := range slices.Sorted(maps.Keys(p.own)) {
			value := p.own[name]
			if sensitiveHeader(name) {
				value = hidden(value)
			}
			line.add(name + "=" + value)
		}
	}
	line = append(line, p.line())
	return line.String()
}

// Observe runs the program once, to its end or that of ctx. Nothing that it
// started outlives it, unless it left the process group on purpose.
func (p *execProbe) Observe(ctx context.Context) check.Observation {
	j := begin()
	j.obs.Reproduce = p.reproduce
	if ctx.Value(restriction{}) != nil {
		return j.fail(check.LocalPermission, "programs do not run where others choose the target")
	}
	if n := p.stuck.Load(); n > 0 {
		return j.fail(check.LocalOverload, "the program of an earlier run cannot be killed, it hangs in the kernel")
	}
	done, reason := p.run(ctx)
	j.timed(check.PhaseWait, j.start)
	if done != nil {
		p.record(&j.obs, done)
	}
	if reason == nil && p.nagios {
		reason = p.recordPlugin(&j.obs, done)
	}
	if reason != nil {
		return j.stop(reason)
	}
	return j.end()
}

// record sets the facts of any program. One that did not end of itself has no
// exit code.
func (p *execProbe) record(obs *check.Observation, done *execDone) {
	text, _, _ := strings.Cut(string(done.stdout), "\n")
	if p.nagios {
		text, _, _ = strings.Cut(text, "|")
	}
	obs.Set("output", cleanLine(text))
	obs.Set("truncated", done.truncated)
	obs.Set("stdout", string(done.stdout))
	obs.Set("stderr", string(done.stderr))
	if !done.ended {
		return
	}
	obs.Set("exit_code", done.code)
	obs.Set("signal", done.signal)
	why := "the program ended with exit code " + strconv.Itoa(done.code)
	if done.signal != "" {
		why = "the program was ended by " + done.signal
	}
	obs.Explain("exit_code", check.ExpectCode("exit_code"), why+done.said())
	if p.json {
		p.recordJSON(obs, done)
	}
}

func (p *execProbe) recordJSON(obs *check.Observation, done *execDone) {
	value, err := decodeJSON(done.stdout, int64(p.max))
	switch {
	case err == nil:
		obs.Set("json", value)
	case done.cut:
		obs.Explain("json", check.ExpectCode("json"), "the output is larger than max_output, "+check.Size(p.max).String())
	default:
		obs.Explain("json", check.ExpectCode("json"), "stdout is not usable as JSON: "+err.Error()+"; it begins "+excerpt(done.stdout))
	}
}

// said quotes the first line that the program wrote, stderr's first.
func (d *execDone) said() string {
	for _, text := range [][]byte{d.stderr, d.stdout} {
		if line, _, _ := strings.Cut(strings.TrimSpace(string(text)), "\n"); line != "" {
			return ": " + excerpt([]byte(line))
		}
	}
	return ""
}

// maxLine is the length of the fact output, in bytes.
const maxLine = 256

// cleanLine makes foreign text one line of printable characters, cut to maxLine.
func cleanLine(s string) string {
	s = strings.TrimSpace(strings.Map(func(r rune) rune {
		switch {
		case r == '\t':
			return ' '
		case r < ' ' || r >= 0x7f && r < 0xa0:
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD")))
	if len(s) <= maxLine {
		return s
	}
	cut := maxLine - len("…")
	for !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + "…"
}
