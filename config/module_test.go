package config

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sonde-cli/sonde/check"
)

const moduleFile = `version: 1
defaults: {timeout: 7s, web: {hops: 3}}
templates:
  plain: {tags: [a]}
  page: {use: plain, expect: status == 200, web: {method: HEAD, password: "${TOKEN}"}}
  fast: {use: page, timeout: 1s}
  ping: {ping: {count: 5}}
  broken: {web: {body: "${NOT_SET}"}}
checks:
  - {name: one, use: page, web: {url: "https://a.example.com/"}}
`

func loadModules(t *testing.T, text string) map[string]*Module {
	t.Helper()
	path := filepath.Join(t.TempDir(), "checks.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	l := testLoader(testEnv())
	l.Modules = true
	set, err := l.Load(context.Background(), path)
	if err != nil {
		t.Fatal(err)
	}
	modules := make(map[string]*Module)
	for _, m := range set.Modules {
		modules[m.Name] = m
	}
	return modules
}

func TestModules(t *testing.T) {
	modules := loadModules(t, moduleFile)
	if len(modules) != 4 || modules["plain"] != nil {
		t.Fatalf("modules: %v", modules)
	}
	c, err := modules["fast"].Check("https://user:hunter22@eu.example.com/x")
	if err != nil {
		t.Fatal(err)
	}
	o := c.Probe.(testProbe).options.(*webOptions)
	if o.URL != "https://user:hunter22@eu.example.com/x" || o.Method != "HEAD" || o.Hops != 3 || o.Password != "s3cr3t-token" {
		t.Errorf("options %+v", o)
	}
	if c.Timeout != time.Second || len(c.Expectations) != 2 || c.Tags != nil || c.Kind != "web" {
		t.Errorf("check %+v", c)
	}
	if text := c.ID + c.Target + c.Mask.String("hunter22 s3cr3t-token"); strings.Contains(text, "hunter22") || strings.Contains(text, "s3cr3t") {
		t.Errorf("a secret shows: %s", text)
	}
	if c, err = modules["ping"].Check("192.0.2.1"); err != nil || c.Probe.(testProbe).options.(*pingOptions).Host != "192.0.2.1" {
		t.Errorf("%+v, %v", c, err)
	}
}

func TestModuleErrors(t *testing.T) {
	modules := loadModules(t, moduleFile)
	for _, tt := range []struct{ module, target, want string }{
		{"page", "icmp://192.0.2.1", "icmp is no scheme of web"},
		{"page", "https://a b/", "has a space"},
		{"ping", "under_score", "no host name"},
		{"broken", "https://eu.example.com/", "NOT_SET"},
	} {
		_, err := modules[tt.module].Check(tt.target)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s at %s: %v, want %q", tt.module, tt.target, err, tt.want)
		}
	}
}

// TestModulesConcurrently makes checks and errors of modules at once, for the
// race detector.
func TestModulesConcurrently(t *testing.T) {
	modules := loadModules(t, moduleFile)
	var all sync.WaitGroup
	for _, name := range []string{"broken", "page", "broken", "ping"} {
		all.Go(func() {
			if _, err := modules[name].Check("eu.example.com"); (err != nil) != (name == "broken") && name != "page" {
				t.Errorf("%s: %v", name, err)
			}
		})
	}
	all.Wait()
}

func TestModulesAreNotKeptUnasked(t *testing.T) {
	path := filepath.Join(t.TempDir(), "checks.yaml")
	if err := os.WriteFile(path, []byte(moduleFile), 0o600); err != nil {
		t.Fatal(err)
	}
	set, err := testLoader(testEnv()).Load(context.Background(), path)
	if err != nil || set.Modules != nil {
		t.Errorf("%v, %v", set, err)
	}
}

// TestNoModuleWithoutTargets keeps a kind that takes no targets, and may run
// programs, from whoever chooses targets.
func TestNoModuleWithoutTargets(t *testing.T) {
	l := testLoader(testEnv())
	l.Kinds = append(l.Kinds, check.Kind{
		Name: "run", Doc: "runs", New: func() check.Options { return new(runOptions) },
		Facts: []check.Fact{{Name: "done", Type: check.Bool, Doc: "it is done"}},
	})
	l.Modules, l.Stdin = true, strings.NewReader(`version: 1
templates:
  local: {run: {word: a}}
  mixed: {run: {word: a}, web: {hops: 1}}
checks:
  - {name: one, use: local}
`)
	set, err := l.Load(t.Context(), "-")
	if err != nil || len(set.Modules) != 1 || set.Modules[0].Kind != "web" {
		t.Fatalf("%v, %v", set, err)
	}
	if e := set.Checks[0].Expectations; len(e) != 1 || e[0].Level != check.Prefer {
		t.Errorf("the kind's own preference: %v", e)
	}
	if _, err := l.Target("run://a", TargetOptions{}); err == nil || !strings.Contains(err.Error(), "unknown scheme") {
		t.Errorf("a target of it: %v", err)
	}
}

// runOptions are of a kind without targets, which prefers something by default.
type runOptions struct {
	Word string `yaml:"word" doc:"a word"`
}

func (o *runOptions) Build(check.Setup) (check.Plan, error) {
	return check.Plan{Probe: testProbe{}, Target: o.Word, Defaults: []check.Default{{Expect: "done", Level: check.Prefer}}}, nil
}
