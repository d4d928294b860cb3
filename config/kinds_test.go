package config

import (
	"context"
	"errors"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/sonde-cli/sonde/check"
)

// web is a kind with every type of option.
type webOptions struct {
	testRoute
	URL      string            `yaml:"url" address:"true" required:"true" doc:"where to go"`
	Method   string            `yaml:"method" enum:"GET,HEAD,POST" doc:"method of the request"`
	Headers  map[string]string `yaml:"headers" doc:"headers of the request"`
	Body     string            `yaml:"body" doc:"body of the request"`
	Password string            `yaml:"password" secret:"true" doc:"password to log in with"`
	Follow   bool              `yaml:"follow" doc:"follow redirects"`
	Hops     int               `yaml:"hops" doc:"most redirects"`
	Ratio    float64           `yaml:"ratio" doc:"some number"`
	Limit    check.Size        `yaml:"limit" doc:"most bytes"`
	Pause    time.Duration     `yaml:"pause" doc:"some pause"`
	Match    *regexp.Regexp    `yaml:"match" doc:"what the body must match"`
	Names    []string          `yaml:"names" doc:"some names"`
	Steps    []testStep        `yaml:"steps" doc:"a dialogue"`
	TLS      testTLS           `yaml:"tls" doc:"options of TLS"`
	Proxy    *testProxy        `yaml:"proxy" doc:"proxy to go through"`
}

type testRoute struct {
	Family string `yaml:"family" enum:"any,4,6" doc:"address family"`
}

type testTLS struct {
	CA         string `yaml:"ca" path:"true" doc:"file of certificates"`
	Key        string `yaml:"key" path:"true" private:"true" doc:"file with a key"`
	MinVersion string `yaml:"min_version" enum:"1.2,1.3" doc:"lowest version"`
	Insecure   bool   `yaml:"insecure" doc:"do not verify"`
}

type testStep struct {
	Send   string         `yaml:"send" doc:"what to send"`
	Expect *regexp.Regexp `yaml:"expect" doc:"what must come"`
}

type testProxy struct {
	URL string `yaml:"url" address:"true" required:"true" doc:"of the proxy"`
}

func (o *webOptions) SetTarget(target string) error {
	o.URL = target
	if strings.Contains(target, " ") {
		return check.OptionErrorf("url", "%q has a space", target)
	}
	return nil
}

func (o *webOptions) Build(s check.Setup) (check.Plan, error) {
	u, err := url.Parse(o.URL)
	if err != nil || u.Host == "" {
		err = check.OptionErrorf("url", "%q is no URL with a host", o.URL)
	}
	for _, step := range o.Steps {
		if step.Send == "bad" {
			err = errors.Join(err, check.OptionErrorf("steps[1].send", "must not be bad"))
		}
	}
	if o.Body != "" && o.Method == "GET" {
		err = errors.Join(err, check.OptionErrorf("tls.insecure", "stands nowhere"), check.OptionErrorf("body", "must not be %s", o.Body))
	}
	if err != nil {
		return check.Plan{}, err
	}
	plan := check.Plan{
		Probe: testProbe{o, s}, Target: o.URL,
		Defaults: []check.Default{{Expect: "status < 300"}, {Expect: "cert.trusted", WhenSeen: true}},
	}
	if auth := o.Headers["Authorization"]; auth != "" {
		plan.Secrets = []string{auth}
	}
	if password, ok := u.User.Password(); ok {
		plan.Secrets = append(plan.Secrets, password)
	}
	return plan, nil
}

type testProbe struct {
	options any
	setup   check.Setup
}

func (testProbe) Observe(context.Context) check.Observation { return check.Observation{} }

type pingOptions struct {
	Host  string `yaml:"host" address:"true" required:"true" doc:"who to ask"`
	Count int    `yaml:"count" doc:"how often"`
}

func (o *pingOptions) SetTarget(target string) error {
	o.Host = strings.TrimPrefix(target, "icmp://")
	return nil
}

func (o *pingOptions) Build(s check.Setup) (check.Plan, error) {
	if strings.Contains(o.Host, "_") {
		return check.Plan{}, check.OptionErrorf("host", "%q is no host name", o.Host)
	}
	return check.Plan{Probe: testProbe{o, s}, Target: o.Host, Defaults: []check.Default{{Expect: "loss < 1"}}}, nil
}

func testKinds() []check.Kind {
	return []check.Kind{
		{Name: "ping", Doc: "asks", Schemes: []string{"icmp"}, New: func() check.Options { return &pingOptions{Count: 3} },
			Facts: []check.Fact{{Name: "loss", Type: check.Float, Doc: "share of lost packets"}}},
		{Name: "web", Doc: "gets", Schemes: []string{"http", "https", "tcp", "dns"},
			New: func() check.Options {
				return &webOptions{Method: "GET", Hops: 10, Limit: 1 << 20, Headers: map[string]string{"Accept": "*/*"}}
			},
			Facts: []check.Fact{
				{Name: "status", Type: check.Int, Doc: "status"},
				{Name: "cert.trusted", Type: check.Bool, Doc: "whether it is trusted"},
				{Name: "json", Type: check.Any, Doc: "the body"},
			}},
	}
}

func testLoader(env map[string]string) *Loader {
	return &Loader{Kinds: testKinds(), Version: "1.2.3", LookupEnv: func(name string) (string, bool) {
		v, ok := env[name]
		return v, ok
	}}
}

func testEnv() map[string]string {
	return map[string]string{
		"TOKEN": "s3cr3t-token", "HOST": "eu.example.com", "EMPTY": "", "PORT": "8443", "NO": "no",
		"URL": "https://eu.example.com/health?key=q-secret", "EVIL": "a: b\n- '\"$HOME ${TOKEN} # c",
	}
}
