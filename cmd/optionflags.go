package cmd

import (
	"errors"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/sonde-cli/sonde/config"
)

// optionFlag is a flag of `sonde check` that sets an option of a kind.
type optionFlag struct {
	name, short string
	path        string // of the option in the kind's block; empty sets nothing
	arg         string // what the value is called in help; empty for a switch
	value       string // what a switch sets
	doc         string
}

// optionFlagList returns the flags, named after curl's where curl has them.
func optionFlagList() []optionFlag {
	return []optionFlag{
		{name: "method", short: "X", path: "method", arg: "METHOD", doc: "HTTP method"},
		{name: "head", short: "I", path: "method", value: "HEAD", doc: "HTTP method HEAD"},
		{name: "bearer", path: "auth.token", arg: "TOKEN", doc: "HTTP bearer authentication; write it as '${TOKEN}'"},
		{name: "user-agent", short: "A", path: "headers.User-Agent", arg: "TEXT", doc: "HTTP User-Agent header"},
		{name: "location", short: "L", doc: "follow redirects, which is the default; for those used to curl"},
		{name: "max-redirs", path: "redirects", arg: "N", doc: "how many redirects to follow; 0 for none"},
		{name: "http1.1", path: "version", value: "1.1", doc: "speak HTTP/1.1"},
		{name: "http2", path: "version", value: "2", doc: "speak HTTP/2"},
		{name: "proxy", short: "x", path: "proxy", arg: "URL", doc: "proxy to go through; env for the environment's"},
		{name: "resolver", path: "resolver", arg: "SERVER", doc: "name server to resolve with: IP[:port], or tcp://IP, tls://IP, quic://IP, https://HOST/PATH"},
		{name: "ipv4", short: "4", path: "family", value: "4", doc: "IPv4 only"},
		{name: "ipv6", short: "6", path: "family", value: "6", doc: "IPv6 only"},
		{name: "address", path: "address", arg: "IP", doc: "connect to this address instead of resolving the name; all probes each address of the name"},
		{name: "interface", path: "interface", arg: "NAME", doc: "network interface to connect by"},
		{name: "insecure", short: "k", path: "tls.insecure", value: "true", doc: "do not demand a verified certificate; its facts are reported all the same"},
		{name: "cacert", path: "tls.ca", arg: "FILE", doc: "PEM certificates to trust instead of the system's"},
		{name: "cert", short: "E", path: "tls.cert", arg: "FILE", doc: "client certificate, PEM"},
		{name: "key", path: "tls.key", arg: "FILE", doc: "client certificate's key, PEM"},
		{name: "servername", path: "tls.server_name", arg: "NAME", doc: "name to ask for (SNI) and to verify"},
		{name: "type", short: "t", path: "type", arg: "TYPE", doc: "DNS record type"},
		{name: "count", short: "c", path: "count", arg: "N", doc: "ICMP echo requests to send"},
	}
}

// optionFlags are the flags that set options of kinds.
type optionFlags struct {
	headers, sets list
	data          []string
	user          string
	given         []config.Setting // in the order in which they were given
}

func (f *optionFlags) register(c *cobra.Command) {
	f.headers.arg, f.sets.arg = "'NAME: VALUE'", "OPTION=VALUE"
	flags := c.Flags()
	flags.VarP(&f.headers, "header", "H", "HTTP header, or @FILE with one on each line; repeatable")
	flags.VarP(&dataValue{&f.data}, "data", "d", "HTTP body, @FILE or @- for standard input; POST of a form unless said otherwise; repeated ones are joined with &")
	flags.StringVarP(&f.user, "user", "u", "", "HTTP basic authentication `NAME:PASSWORD`; write it as 'name:${PASSWORD}'")
	for _, o := range optionFlagList() {
		flag := flags.VarPF(&optionValue{flags: f, optionFlag: o}, o.name, o.short, o.doc)
		if o.arg == "" {
			flag.NoOptDefVal = "true"
		}
	}
	flags.Var(&f.sets, "set", "any option of the kind, such as tls.min_version=1.3, a list or a map as in a file, such as 'json={a: 1}'; repeatable")
}

// optionValue adapts one optionFlag to a flag set.
type optionValue struct {
	optionFlag
	flags *optionFlags
}

var _ pflag.Value = (*optionValue)(nil)

// Set records the setting. What is wrong with a value is told by whoever knows
// the option.
func (v *optionValue) Set(text string) error {
	if v.arg == "" {
		if text != "true" {
			return errors.New("it takes no value")
		}
		text = v.value
	}
	if v.path != "" {
		v.flags.given = append(v.flags.given, config.Setting{Path: v.path, Value: text, Flag: "--" + v.name})
	}
	return nil
}

// String is empty: the default is the kind's.
func (v *optionValue) String() string { return "" }

// Type names the value in help.
func (v *optionValue) Type() string {
	if v.arg == "" {
		return "bool" // which is how help knows a switch
	}
	return v.arg
}

// dataValue is the flag --data, which can be repeated and empty.
type dataValue struct{ values *[]string }

// Set adds a part of the body.
func (d *dataValue) Set(text string) error {
	*d.values = append(*d.values, text)
	return nil
}

// String is empty: there is no body unless one is given.
func (d *dataValue) String() string { return "" }

// Type names the value in help.
func (d *dataValue) Type() string { return "TEXT" }

// settings returns what all flags together set.
func (f *optionFlags) settings(stdin io.Reader) ([]config.Setting, error) {
	all := slices.Clone(f.given)
	for _, part := range []func(io.Reader) ([]config.Setting, error){f.headerSettings, f.userSettings, f.dataSettings, f.otherSettings} {
		settings, err := part(stdin)
		if err != nil {
			return nil, err
		}
		all = append(all, settings...)
	}
	if len(f.data) > 0 {
		all = append(all, formSettings(all)...)
	}
	return all, nil
}

// formSettings returns what --data implies, as it does with curl, where
// nothing else was said.
func formSettings(said []config.Setting) []config.Setting {
	var all []config.Setting
	if !slices.ContainsFunc(said, func(s config.Setting) bool { return s.Path == "method" }) {
		all = append(all, config.Setting{Path: "method", Value: "POST", Flag: "--data"})
	}
	typed := func(s config.Setting) bool {
		return s.Path == "headers_file" || strings.EqualFold(s.Path, "headers.Content-Type")
	}
	if !slices.ContainsFunc(said, typed) {
		all = append(all, config.Setting{Path: "headers.Content-Type", Value: "application/x-www-form-urlencoded", Flag: "--data"})
	}
	return all
}

func (f *optionFlags) headerSettings(io.Reader) ([]config.Setting, error) {
	var all []config.Setting
	for _, h := range f.headers.values {
		if file, ok := strings.CutPrefix(h, "@"); ok {
			all = append(all, config.Setting{Path: "headers_file", Value: literal(file), Flag: "--header"})
			continue
		}
		name, value, ok := strings.Cut(h, ":")
		if name = strings.TrimSpace(name); !ok || name == "" {
			return nil, usagef("write it like --header 'Accept: application/json'", "--header takes a name, a colon and a value")
		}
		all = append(all, config.Setting{Path: "headers." + name, Value: strings.TrimSpace(value), Flag: "--header"})
	}
	return all, nil
}

func (f *optionFlags) userSettings(io.Reader) ([]config.Setting, error) {
	if f.user == "" {
		return nil, nil
	}
	name, password, ok := strings.Cut(f.user, ":")
	if !ok || name == "" {
		return nil, usagef("write it like --user 'name:${PASSWORD}'", "--user takes a name and a password")
	}
	return []config.Setting{
		{Path: "auth.username", Value: name, Flag: "--user"},
		{Path: "auth.password", Value: password, Flag: "--user"},
	}, nil
}

func (f *optionFlags) dataSettings(stdin io.Reader) ([]config.Setting, error) {
	if len(f.data) == 0 {
		return nil, nil
	}
	isFile := func(s string) bool { return strings.HasPrefix(s, "@") }
	switch {
	case !slices.ContainsFunc(f.data, isFile):
		return []config.Setting{{Path: "body", Value: strings.Join(f.data, "&"), Flag: "--data"}}, nil
	case len(f.data) > 1:
		return nil, usagef("write all of the body into the file", "--data takes one @FILE, or several texts")
	case f.data[0] != "@-":
		return []config.Setting{{Path: "body_file", Value: literal(f.data[0][1:]), Flag: "--data"}}, nil
	}
	body, err := io.ReadAll(io.LimitReader(stdin, maxData+1))
	if err == nil && len(body) > maxData {
		err = errors.New("standard input holds more than 64 MiB")
	}
	if err != nil {
		return nil, usagef("", "--data @-: %v", err)
	}
	return []config.Setting{{Path: "body", Value: literal(string(body)), Flag: "--data"}}, nil
}

func (f *optionFlags) otherSettings(io.Reader) ([]config.Setting, error) {
	var all []config.Setting
	for _, s := range f.sets.values {
		path, value, ok := strings.Cut(s, "=")
		if !ok || path == "" {
			return nil, usagef("write it like --set tls.min_version=1.3", "--set takes an option and a value")
		}
		all = append(all, config.Setting{Path: path, Value: value, Flag: "--set " + path})
	}
	return all, nil
}

// maxData bounds a body from standard input, in bytes.
const maxData = 64 << 20

// literal keeps the loader from expanding variables in what is no template.
func literal(s string) string { return strings.ReplaceAll(s, "${", "$${") }

// insteadOfCurl tells a curl user what to write for a flag of curl's that is
// not one of sonde's, or "".
func insteadOfCurl(flag string) string {
	switch flag {
	case "resolve", "connect-to":
		return "--address IP connects there and keeps the host's name"
	case "connect-timeout", "max-time":
		return "--timeout 5s bounds the whole attempt"
	case "json":
		return "write --data '{...}' --header 'Content-Type: application/json'"
	case "data-raw", "data-binary", "data-ascii":
		return "write --data, which sends a file as it is"
	case "cookie", "b":
		return "write --header 'Cookie: name=value'"
	case "referer":
		return "write --header 'Referer: URL'"
	case "compressed":
		return "write --set compression=any"
	case "unix-socket":
		return "write --set unix=PATH"
	case "digest":
		return "write --set auth.type=digest beside --user"
	case "http3", "http3-only":
		return "write --set version=3"
	case "form", "F", "form-string":
		return "write --set 'multipart=[{name: NAME, value: VALUE}]', with file: PATH for a file"
	case "data-urlencode":
		return "write --set form.NAME=VALUE"
	case "socks5", "socks5-hostname":
		return "write --proxy socks5://HOST:PORT, or socks5h:// to let the proxy resolve the name"
	case "proxy-insecure":
		return "write --set proxy_tls.insecure=true"
	case "doh-url", "dns-servers":
		return "write --resolver"
	case "tlsv1.2", "tlsv1.3":
		return "write --set tls.min_version=" + strings.TrimPrefix(flag, "tlsv")
	case "request":
		return "write --method"
	case "silent", "s", "output", "o":
		return "write --report quiet to see nothing while all is up"
	case "fail", "f":
		return "a status other than 2xx is a failure already"
	case "oauth2-bearer":
		return "write --bearer '${TOKEN}'"
	}
	return ""
}
