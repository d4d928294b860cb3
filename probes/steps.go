package probes

import (
	"regexp"
	"strings"

	"github.com/sonde-cli/sonde/check"
)

func init() {
	register(check.Kind{
		Name:  "steps",
		Doc:   "a journey of HTTP requests, where one can use what another was answered",
		Facts: stepsFacts(),
		New:   func() check.Options { return &stepsOptions{Defaults: *newHTTPOptions()} },
	})
}

func stepsFacts() []check.Fact {
	return []check.Fact{
		{Name: "journey", Type: check.Bool, Doc: "every step went as it expects; facts of a step are steps.NAME.FACT, those of http and latency, phase.* and captures, such as steps.login.status"},
		{Name: "completed", Type: check.Int, Unit: "steps", Doc: "how many steps went as they expect"},
		{Name: "failed_step", Type: check.String, Doc: "name of the step that ended the journey, '' for none"},
		{Name: "preferred", Type: check.Bool, Doc: "every step that was made met what it prefers"},
		{Name: "cleanup", Type: check.Bool, Doc: "every request of cleanup went as it expects; only when one was made"},
	}
}

// Limits of a journey.
const (
	maxSteps        = 50
	maxCleanup      = 10
	maxStepsBodies  = 256 << 20 // bytes, the sum of all max_body
	cleanupShare    = 5         // one part in so many of the timeout is kept for cleanup
	maxReferenced   = 64 << 10  // bytes of a value that a reference stands for
	maxExpandedText = 1 << 20   // bytes of a request's texts with all values in them
	maxRemembered   = 64        // secrets of a run that the next one hides, too
)

// stepsOptions are the options of the kind steps.
type stepsOptions struct {
	Base     string        `yaml:"base" address:"true" doc:"what a url without a host is appended to, such as https://shop.example.com"`
	Defaults httpOptions   `yaml:"defaults" doc:"options that every request begins with, as those of http"`
	Requests []stepRequest `yaml:"requests" over:"defaults" required:"true" doc:"the steps in their order, each with its own of the options under defaults, and these; the first that fails ends the journey"`
	Cleanup  []stepRequest `yaml:"cleanup" over:"defaults" doc:"requests, as those of requests, to make at the end whatever came before, in a fifth of the timeout; a failure is degraded"`
}

// stepRequest is one step: a request with all that http has.
type stepRequest struct {
	Name    string                    `yaml:"name" shown:"true" doc:"name of the step, of small letters, digits and underscores"`
	HTTP    httpOptions               `yaml:",inline"`
	Capture map[string]string         `yaml:"capture" shown:"true" doc:"facts of the step to keep under names, such as {token: json.token}, for ${steps.NAME.captures.token}; a missing one fails the step"`
	Extract map[string]*regexp.Regexp `yaml:"extract" shown:"true" doc:"regular expressions (RE2) over the body whose first group, or match, to keep as capture does"`
	Expect  []string                  `yaml:"expect" single:"true" doc:"expression, or list of expressions, over the step's facts and those of steps before; a miss ends the journey"`
	Prefer  []string                  `yaml:"prefer" single:"true" doc:"expression, or list of expressions; a miss is degraded"`
}

// Defers is what references to steps begin with.
func (o *stepsOptions) Defers() string { return "steps." }

// ListFacts returns the facts of the steps.
func (o *stepsOptions) ListFacts() []check.Fact {
	var all []check.Fact
	for _, r := range o.Requests {
		if isStepName(r.Name) {
			all = append(all, factsOfStep(r.Name)...)
		}
	}
	return all
}

// stepFacts are the facts of one step that others may name.
func stepFacts() []check.Fact {
	facts := []check.Fact{
		{Name: "latency", Type: check.Duration, Doc: "time of the step"},
		{Name: "captures", Type: check.Map, Hidden: true, Doc: "what the step captured and extracted, by name"},
	}
	for _, name := range check.PhaseNames() {
		facts = append(facts, check.Fact{Name: "phase." + name, Type: check.Duration, Doc: "time of the phase " + name})
	}
	return append(facts, httpFacts()...)
}

// factsOfStep are those facts by the name that the check has for them.
func factsOfStep(step string) []check.Fact {
	facts := stepFacts()
	for i := range facts {
		f := &facts[i]
		f.Name, f.Doc = "steps."+step+"."+f.Name, "step "+step+": "+f.Doc
	}
	return facts
}

// ownFacts are what a step's own expectations are about: its facts, and those of
// the steps before.
func ownFacts(before []*step) []check.Fact {
	var facts []check.Fact
	for _, f := range check.CommonFacts() {
		if f.Name == "error" {
			facts = append(facts, f)
		}
	}
	facts = append(facts, stepFacts()...)
	for _, s := range before {
		facts = append(facts, factsOfStep(s.name)...)
	}
	return facts
}

func isStepName(name string) bool {
	return name != "" && name[0] >= 'a' && name[0] <= 'z' && strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789_") == ""
}
