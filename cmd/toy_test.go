package cmd

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync/atomic"

	"github.com/sonde-cli/sonde/check"
)

// toyKind is a whole kind in one file: it does what it is told, so that a test
// can have every verdict without a network.
func toyKind() check.Kind {
	return check.Kind{
		Name:    "toy",
		Doc:     "does what it is told",
		Schemes: []string{"toy"},
		Facts: []check.Fact{
			{Name: "value", Type: check.Int, Unit: "beans", Doc: "what the option value says"},
			{Name: "note", Type: check.String, Doc: "what the option note says"},
		},
		New: func() check.Options { return &toyOptions{Value: 1} },
	}
}

type toyOptions struct {
	Does  string   `yaml:"does" enum:"up,down,unknown,flaky,hang,panic" doc:"how it ends; hang waits to be stopped"`
	Value int      `yaml:"value" doc:"the fact value"`
	Note  string   `yaml:"note" doc:"the fact note"`
	Knock string   `yaml:"knock" doc:"host:port to connect to when it begins"`
	Deep  toyBlock `yaml:"deep"`
}

type toyBlock struct {
	Secret string   `yaml:"secret" secret:"true" doc:"never shown"`
	Words  []string `yaml:"words" doc:"some words"`
}

func (o *toyOptions) SetTarget(target string) error {
	does, ok := strings.CutPrefix(target, "toy://")
	if !ok {
		return errors.New("a toy's target begins with toy://")
	}
	o.Does = does
	return nil
}

func (o *toyOptions) Build(check.Setup) (check.Plan, error) {
	return check.Plan{
		Probe: &toy{toyOptions: o}, Target: "toy://" + o.Does,
		Defaults: []check.Default{{Expect: "value > 0"}},
	}, nil
}

// toy is the probe.
type toy struct {
	*toyOptions
	seen atomic.Int32
}

func (t *toy) Observe(ctx context.Context) check.Observation {
	var o check.Observation
	o.Set("value", t.Value)
	o.Set("note", t.Note)
	o.Reproduce = func() string { return "toy " + t.Does }
	if t.Knock != "" {
		conn, err := net.Dial("tcp", t.Knock)
		if err != nil {
			panic(err) // the test's own server
		}
		defer conn.Close()
	}
	fail := func(code check.Code, message string) { o.Failure = check.Reason{Code: code, Message: message} }
	switch t.Does {
	case "down":
		fail(check.ConnectRefused, "nobody is at home")
	case "unknown":
		fail(check.LocalPermission, "not allowed to look")
	case "flaky":
		if t.seen.Add(1) == 1 {
			fail(check.ConnectReset, "the first one is free")
		}
	case "panic":
		panic("on purpose")
	case "hang":
		<-ctx.Done()
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			fail(check.ConnectTimeout, "waited for nothing")
		} else {
			fail(check.LocalShutdown, "interrupted")
		}
	}
	return o
}
