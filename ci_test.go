//go:build unix

package main

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"

	"github.com/sonde-cli/sonde/cmd"
	"github.com/sonde-cli/sonde/internal/testnet"
	"github.com/sonde-cli/sonde/probes"
)

// action is what a test needs of action.yml.
type action struct {
	Inputs map[string]struct{ Default string }
	Runs   struct{ Steps []actionStep }
}

type actionStep struct {
	ID, Run, Shell string
	Env            map[string]string
}

func readAction(t *testing.T) action {
	t.Helper()
	var a action
	if err := yaml.Unmarshal([]byte(page(t, "action.yml")), &a); err != nil {
		t.Fatal(err)
	}
	return a
}

// TestActionIsSafe finds expressions in the shell's text, which would let an
// input be code.
func TestActionIsSafe(t *testing.T) {
	scripts := 0
	for _, step := range readAction(t).Runs.Steps {
		if step.Run == "" {
			continue
		}
		scripts++
		if strings.Contains(step.Run, "${{") || step.Shell != "bash" || !strings.HasPrefix(step.Run, "set -euo pipefail\n") {
			t.Errorf("step %s: shell %q\n%s", step.ID, step.Shell, step.Run)
		}
	}
	if scripts != 2 {
		t.Errorf("%d scripts", scripts)
	}
}

// runner is a job of GitHub Actions, faked.
type runner struct {
	t         *testing.T
	action    action
	workspace string
	temp      string
	inputs    map[string]string
}

func newRunner(t *testing.T, inputs map[string]string) *runner {
	r := &runner{t: t, action: readAction(t), workspace: t.TempDir(), temp: t.TempDir(), inputs: inputs}
	for name, value := range inputs {
		if _, known := r.action.Inputs[name]; !known {
			t.Fatalf("the action has no input %q, for %q", name, value)
		}
	}
	return r
}

func (r *runner) write(name, text string) {
	r.t.Helper()
	if err := os.WriteFile(filepath.Join(r.workspace, name), []byte(text), 0o600); err != nil {
		r.t.Fatal(err)
	}
}

// read returns what the steps wrote to a file of the job.
func (r *runner) read(name string) string {
	text, err := os.ReadFile(filepath.Join(r.temp, name))
	if err != nil {
		return ""
	}
	return string(text)
}

// goOfTests makes `go` build with what the tests are built with, for which there
// is a cache.
func (r *runner) goOfTests() {
	r.t.Helper()
	path, err := exec.LookPath("go")
	if err != nil {
		r.t.Fatal(err)
	}
	script := "#!/bin/bash\nwords=()\nfor word; do [ \"$word\" = -trimpath ] || words+=(\"$word\"); done\n" +
		"unset CGO_ENABLED\n" + "[ -z \"$SONDE_TEST_CGO\" ] || export CGO_ENABLED=\"$SONDE_TEST_CGO\"\nexec '" + path + "' \"${words[@]}\"\n"
	r.t.Setenv("SONDE_TEST_CGO", os.Getenv("CGO_ENABLED"))
	tools := filepath.Join(r.temp, "tools")
	if err := os.Mkdir(tools, 0o700); err != nil {
		r.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(tools, "go"), []byte(script), 0o700); err != nil {
		r.t.Fatal(err)
	}
}

// step runs a step of the action and returns what it printed and its exit code.
func (r *runner) step(id string) (out string, code int) {
	r.t.Helper()
	i := slices.IndexFunc(r.action.Runs.Steps, func(s actionStep) bool { return s.ID == id })
	if i < 0 {
		r.t.Fatalf("the action has no step %q", id)
	}
	step := r.action.Runs.Steps[i]
	shell := exec.Command("bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step.Run)
	shell.Dir = r.workspace
	shell.Env = append(os.Environ(), "RUNNER_TEMP="+r.temp, "GITHUB_PATH="+filepath.Join(r.temp, "path"), "GITHUB_OUTPUT="+filepath.Join(r.temp, "output"),
		"GITHUB_STEP_SUMMARY="+filepath.Join(r.temp, "summary"), "PATH="+filepath.Join(r.temp, "sonde-bin")+":"+filepath.Join(r.temp, "tools")+":"+os.Getenv("PATH"))
	for name, value := range step.Env {
		shell.Env = append(shell.Env, name+"="+r.expand(value))
	}
	var both bytes.Buffer
	shell.Stdout, shell.Stderr = &both, &both
	err := shell.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		r.t.Fatal(err)
	}
	return both.String(), shell.ProcessState.ExitCode()
}

// expand replaces an expression as the runner would.
func (r *runner) expand(value string) string {
	expression := regexp.MustCompile(`^\$\{\{ (inputs\.)?(\S+) \}\}$`).FindStringSubmatch(value)
	switch {
	case expression == nil:
		r.t.Fatalf("cannot expand %q", value)
	case expression[2] == "github.action_path":
		path, err := filepath.Abs(".")
		if err != nil {
			r.t.Fatal(err)
		}
		return path
	}
	if given, ok := r.inputs[expression[2]]; ok {
		return given
	}
	input, known := r.action.Inputs[expression[2]]
	if !known {
		r.t.Fatalf("%q is no input", value)
	}
	return input.Default
}

// TestActionRuns installs and runs as the action does, with files and arguments
// that would be more than words if the shell read them.
func TestActionRuns(t *testing.T) {
	server, err := testnet.ListenTCP(testnet.Silence)
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	refuse, err := testnet.Refuse()
	if err != nil {
		t.Fatal(err)
	}
	defer refuse.Close()

	r := newRunner(t, map[string]string{
		"files": "all checks $(touch pwned).yaml\n\nother; touch pwned.yaml\n", "args": "--only=*\n--tag\n$(touch pwned) `touch pwned`\n", "reports": "junit\njson\ntap\nhtml\nprometheus\n",
	})
	r.goOfTests()
	if out, code := r.step("install"); code != 0 {
		t.Fatalf("exit code %d: %s", code, out)
	}
	if got, want := r.read("path"), filepath.Join(r.temp, "sonde-bin")+"\n"; got != want {
		t.Errorf("GITHUB_PATH holds %q, want %q", got, want)
	}
	tcp := func(name, addr string) string {
		host, port, _ := strings.Cut(addr, ":")
		return "version: 1\nchecks:\n  - name: " + name + "\n    tags: [\"$(touch pwned) `touch pwned`\"]\n    tcp: {host: " + host + ", port: " + port + "}\n"
	}
	r.write("all checks $(touch pwned).yaml", tcp("good", server.Addr()))
	r.write("other; touch pwned.yaml", tcp("bad", refuse.Addr()))
	out, code := r.step("run")
	if code != 1 || !strings.Contains(out, "::error file=other; touch pwned.yaml,line=") {
		t.Errorf("exit code %d\n%s", code, out)
	}
	if strings.Contains(out, "warning: ") {
		t.Error(out)
	}
	if got := r.read("output"); got != "reports="+r.temp+"/sonde-reports\nexit-code=1\n" {
		t.Errorf("GITHUB_OUTPUT holds %q", got)
	}
	if got := r.read("summary"); !strings.Contains(got, "connect.refused") {
		t.Errorf("GITHUB_STEP_SUMMARY holds %q", got)
	}
	for name, begin := range map[string]string{"junit.xml": "<?xml", "sonde.json": "{", "sonde.tap": "TAP version", "sonde.html": "<!", "sonde.prom": "# HELP"} {
		if got := r.read("sonde-reports/" + name); !strings.HasPrefix(got, begin) {
			t.Errorf("%s holds %q", name, got)
		}
	}
	if _, err := os.Stat(filepath.Join(r.workspace, "pwned")); err == nil {
		t.Error("an input was code")
	}

	// All up, no summary; then a mistake.
	r.inputs = map[string]string{"files": "all checks $(touch pwned).yaml", "summary": "false", "reports": ""}
	_ = os.Remove(filepath.Join(r.temp, "summary"))
	if out, code := r.step("run"); code != 0 || r.read("summary") != "" {
		t.Errorf("exit code %d, summary %q\n%s", code, r.read("summary"), out)
	}
	r.inputs = nil
	if out, code := r.step("run"); code != 2 || !strings.Contains(out, "checks.yaml") {
		t.Errorf("exit code %d\n%s", code, out)
	}

	// What pre-commit and GitLab call.
	var hooks []struct{ Entry, Files string }
	if err := yaml.Unmarshal([]byte(page(t, ".pre-commit-hooks.yaml")), &hooks); err != nil {
		t.Fatal(err)
	}
	r.write("checks-wrong.yaml", "version: 1\nchecks:\n  - surname: x\n")
	if !regexp.MustCompile(hooks[0].Files).MatchString("a/checks-wrong.yaml") {
		t.Errorf("the hook does not look at checks-wrong.yaml: %s", hooks[0].Files)
	}
	if out, code := r.bash(hooks[0].Entry + ` "$@"`); code != 2 || !strings.Contains(out, "checks-wrong.yaml:3:5: ") {
		t.Errorf("exit code %d\n%s", code, out)
	}
	var jobs map[string]struct{ Script []string }
	if err := yaml.Unmarshal([]byte(page(t, "packaging/ci/gitlab.yml")), &jobs); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(r.temp, "sonde-bin", "sonde"), filepath.Join(r.workspace, ".sonde")); err != nil {
		t.Fatal(err)
	}
	r.write("checks.yaml", tcp("good", server.Addr()))
	script := "export SONDE_FILES=checks.yaml SONDE_ARGS='--only g*'\n" + strings.Join(jobs[".sonde"].Script, "\n")
	if out, code := r.bash(script); code != 0 || !strings.Contains(out, "good") {
		t.Errorf("exit code %d\n%s", code, out)
	}
	for _, name := range []string{"sonde-junit.xml", "gl-code-quality-report.json"} {
		if _, err := os.Stat(filepath.Join(r.workspace, name)); err != nil {
			t.Error(err)
		}
	}
}

// bash runs a script in the workspace, with the sonde that was installed.
func (r *runner) bash(script string) (out string, code int) {
	r.t.Helper()
	shell := exec.Command("bash", "-ec", script, "bash", "checks-wrong.yaml")
	shell.Dir = r.workspace
	shell.Env = append(os.Environ(), "PATH="+filepath.Join(r.temp, "sonde-bin")+":"+os.Getenv("PATH"))
	both, err := shell.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		r.t.Fatal(err)
	}
	return string(both), shell.ProcessState.ExitCode()
}

// TestPipelines reads the files of other tools in the page: each is YAML, and
// the workflow gives the action inputs that there are.
func TestPipelines(t *testing.T) {
	inputs := readAction(t).Inputs
	documents, steps := 0, 0
	for _, text := range blocks(page(t, "docs/ci.md"), "yaml") {
		decoder := yaml.NewDecoder(strings.NewReader(text))
		for {
			var document struct {
				Jobs map[string]struct {
					Steps []struct {
						Uses string
						With map[string]any
					}
				}
			}
			err := decoder.Decode(&document)
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatalf("%v in\n%s", err, text)
			}
			documents++
			for _, job := range document.Jobs {
				for _, step := range job.Steps {
					if step.Uses != "./tools/sonde" {
						continue
					}
					steps++
					for name := range step.With {
						if _, known := inputs[name]; !known {
							t.Errorf("the action has no input %q", name)
						}
					}
				}
			}
		}
	}
	if documents != 8 || steps != 1 {
		t.Errorf("%d documents, %d steps with the action", documents, steps)
	}
	for name := range inputs {
		if row := "| `" + name + "` | "; !strings.Contains(page(t, "docs/ci.md"), row) {
			t.Errorf("docs/ci.md lacks the row %q", row)
		}
	}
}

// TestCommandsOfPipelines knows every command and flag of sonde that the page and
// the files for pipelines name.
func TestCommandsOfPipelines(t *testing.T) {
	var text strings.Builder
	for _, name := range []string{"docs/ci.md", "docs/plan.md", "action.yml", "packaging/ci/gitlab.yml", "README.md"} {
		text.WriteString(page(t, name))
	}
	help := make(map[string]string)
	command := regexp.MustCompile(`sonde"? (run|validate|plan|check|serve|watch)((?: [^|\n]*)?)`)
	found := 0
	for _, m := range command.FindAllStringSubmatch(text.String(), -1) {
		if help[m[1]] == "" {
			help[m[1]] = helpOf(t, m[1])
		}
		for _, flag := range regexp.MustCompile(`(?:^| )--[a-z][a-z-]*`).FindAllString(m[2], -1) {
			found++
			if !regexp.MustCompile(regexp.QuoteMeta(strings.TrimSpace(flag)) + `\b`).MatchString(help[m[1]]) {
				t.Errorf("sonde %s has no flag %s, which is in %q", m[1], flag, m[0])
			}
		}
	}
	if found < 20 {
		t.Errorf("found %d flags", found)
	}
}

func helpOf(t *testing.T, command string) string {
	t.Helper()
	var out, errs bytes.Buffer
	app := cmd.App{Args: []string{command, "--help"}, Kinds: probes.Kinds(), Stdout: &out, Stderr: &errs, LookupEnv: os.LookupEnv}
	if code := cmd.Main(app); code != 0 {
		t.Fatalf("sonde %s --help: exit code %d, %s", command, code, &errs)
	}
	return out.String() + errs.String()
}

// blocks returns the fenced blocks of a language.
func blocks(text, language string) []string {
	var all []string
	for _, m := range regexp.MustCompile("(?s)```"+language+"\n(.*?)```").FindAllStringSubmatch(text, -1) {
		all = append(all, m[1])
	}
	return all
}
