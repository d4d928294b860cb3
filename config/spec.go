package config

import (
	"time"
)

// Defaults and bounds of a check's own keys.
const (
	defaultInterval = 30 * time.Second
	defaultTimeout  = 5 * time.Second
	minInterval     = time.Second // a prober is not to attack what it watches
	defaultSpacing  = 100 * time.Millisecond
	// MinSpacing is the least spacing of samples, for the same reason.
	MinSpacing = 10 * time.Millisecond
	// MaxSamples is the largest count of samples.
	MaxSamples = 10_000
)

// spec is every key of a check besides the block of its kind. The file's
// decoder and the JSON schema are made from it.
type spec struct {
	head
	reuse
	body
}

// head tells which check it is and whether it runs.
type head struct {
	Name    string   `yaml:"name" required:"true" shown:"true" doc:"name of the check, unique in a run"`
	Tags    []string `yaml:"tags" shown:"true" doc:"words to select checks by"`
	Enabled bool     `yaml:"enabled" doc:"false leaves the check out"`
}

// reuse is what makes a check from templates and many from one.
type reuse struct {
	Use  []string `yaml:"use" shown:"true" single:"true" doc:"template, or list of templates, whose keys the check takes over"`
	Each eachSpec `yaml:"each" doc:"makes one check for each value of a list, or of the product of several lists"`
}

// eachSpec has a form of its own; see parseEach.
type eachSpec struct{}

// body is how it is measured and judged.
type body struct {
	Expect          []string          `yaml:"expect" single:"true" doc:"expression, or list of expressions, over the kind's facts; a miss is down"`
	Prefer          []string          `yaml:"prefer" single:"true" doc:"expression, or list of expressions, over the kind's facts; a miss is degraded"`
	Retry           retrySpec         `yaml:"retry" doc:"how often a failed attempt is tried again"`
	Samples         samplesSpec       `yaml:"samples" doc:"how a run observes several times and is judged as a whole"`
	Interval        time.Duration     `yaml:"interval" doc:"time between two runs in a loop, at least 1s; 30s by default"`
	IntervalFailing time.Duration     `yaml:"interval_failing" doc:"interval while the check is down or degraded, at least 1s; the interval by default"`
	Schedule        []string          `yaml:"schedule" shown:"true" single:"true" doc:"window of time, or list of windows, outside of which a loop does not run the check, such as mon-fri 08:00-18:00 Europe/Berlin; always by default"`
	Timeout         time.Duration     `yaml:"timeout" doc:"time that one attempt may take; 5s by default"`
	DependsOn       []string          `yaml:"depends_on" shown:"true" single:"true" doc:"name or id, or list of them, of checks that must be up before sonde wait begins with this one; a name stands for all that each made of it"`
	Labels          map[string]string `yaml:"labels" shown:"true" doc:"names and values that results carry"`
	Optional        bool              `yaml:"optional" doc:"true keeps the check from failing the run"`
}

type retrySpec struct {
	Attempts int           `yaml:"attempts" doc:"attempts all together; 1, the default, means no retry"`
	Wait     time.Duration `yaml:"wait" doc:"wait before the second attempt; 1s by default"`
	Factor   float64       `yaml:"factor" doc:"by which the wait grows from attempt to attempt; 2 by default"`
	MaxWait  time.Duration `yaml:"max_wait" doc:"where the growth of the wait ends; 30s by default"`
}

type samplesSpec struct {
	Count   int           `yaml:"count" doc:"observations of a run, at most 10000; 1, the default, means a single one that is judged alone"`
	Spacing time.Duration `yaml:"spacing" doc:"from the start of one observation to the start of the next, at least 10ms; they never overlap; 100ms by default"`
	Pass    ratio         `yaml:"pass" doc:"share of the observations that must pass, such as 95%; 100% by default, and none where an expectation names pass_rate"`
}

func newSpec() *spec {
	return &spec{
		head: head{Enabled: true},
		body: body{
			Interval: defaultInterval, Timeout: defaultTimeout,
			Retry:   retrySpec{Attempts: 1, Wait: time.Second, Factor: 2, MaxWait: 30 * time.Second},
			Samples: samplesSpec{Count: 1, Spacing: defaultSpacing, Pass: 1},
		},
	}
}

// fileKeys are the top-level keys.
func fileKeys() []string { return []string{"version", "limits", "defaults", "templates", "checks"} }
