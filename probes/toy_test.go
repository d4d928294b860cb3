package probes

import (
	"context"
	"net"
	"strings"

	"github.com/sonde-cli/sonde/check"
)

// The kind toy shows that one file makes a kind: the suite of
// conformance_test.go finds it in the registry.
func init() {
	register(check.Kind{
		Name: "toy", Doc: "reads a word and says what it is", Schemes: []string{"toy"},
		Facts: append(connectFacts(), check.Fact{Name: "word", Type: check.String, Doc: "what the peer says"}),
		New:   func() check.Options { return new(toyOptions) },
	})
}

type toyOptions struct {
	Addr     string `yaml:"addr" address:"true" required:"true" doc:"host:port"`
	Password string `yaml:"password" secret:"true" doc:"sent first"`
}

func (o *toyOptions) SetTarget(target string) error {
	o.Addr = strings.TrimPrefix(target, "toy://")
	return nil
}

func (o *toyOptions) Build(check.Setup) (check.Plan, error) {
	return check.Plan{Probe: o, Target: o.Addr}, nil
}

func (o *toyOptions) Observe(ctx context.Context) check.Observation {
	j := begin()
	host, port, err := net.SplitHostPort(o.Addr)
	if err != nil {
		return j.fail(check.ConnectUnreachable, err.Error())
	}
	conn, reason := j.connect(ctx, &router{}, host, port)
	if reason != nil {
		return j.stop(reason)
	}
	defer conn.Close()
	word := make([]byte, 16)
	n, err := conn.Read(word)
	if err != nil {
		return j.stop(new(j.cause(err, check.ConnectTimeout)))
	}
	j.obs.Set("word", string(word[:n])+o.Password)
	return j.end()
}
