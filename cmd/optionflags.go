package cmd

import (
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/sonde-cli/sonde/config"
)

// optionFlag is a flag of `sonde check` that sets an option of a kind.
type optionFlag struct {
	name, short string
	path        string // of the option in the kind's block
	arg         string // what the value is called in help; empty for a switch
	value       string // what a switch sets
	doc         string
}

// optionFlagList returns the flags, named after curl's where curl has them.
func optionFlagList() []optionFlag {
	return []optionFlag{
		{name: "method", short: "X", path: "method", arg: "METHOD", doc: "HTTP method"},
		{name: "head", short: "I", path: "method", value: "HEAD", doc: "HTTP method HEAD"},
		{name: "user", short: "u", path: "user", arg: "NAME:PASSWORD", doc: "HTTP basic authentication; write the password as '${PASSWORD}'"},
		{name: "user-agent", short: "A", path: "headers.User-Agent", arg: "TEXT", doc: "HTTP User-Agent header"},
		{name: "max-redirs", path: "max_redirects", arg: "N", doc: "how many redirects to follow; 0 for none"},
		{name: "http1.1", path: "http_version", value: "1.1", doc: "speak HTTP/1.1"},
		{name: "http2", path: "http_version", value: "2", doc: "speak HTTP/2"},
		{name: "proxy", short: "x", path: "proxy", arg: "URL", doc: "proxy to go through; env for the environment's"},
		{name: "resolver", path: "resolver", arg: "SERVER", doc: "name server to resolve with: IP[:port], tcp://IP or tls://IP"},
		{name: "ipv4", short: "4", path: "family", value: "4", doc: "IPv4 only"},
		{name: "ipv6", short: "6", path: "family", value: "6", doc: "IPv6 only"},
		{name: "address", path: "address", arg: "IP", doc: "connect to this address instead of resolving the name"},
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
	headers, sets []string
	data          string
	given         []config.Setting // in the order in which they were given
}

func (f *optionFlags) register(c *cobra.Command) {
	flags := c.Flags()
	flags.StringArrayVarP(&f.headers, "header", "H", nil, "HTTP `'NAME: VALUE'`, or @FILE with one on each line; repeatable")
	flags.StringVarP(&f.data, "data", "d", "", "HTTP body `TEXT`, @FILE or @- for standard input; the method becomes POST")
	for _, o := range optionFlagList() {
		flag := flags.VarPF(&optionValue{flags: f, optionFlag: o}, o.name, o.short, o.doc)
		if o.arg == "" {
			flag.NoOptDefVal = o.value
		}
	}
	flags.BoolP("location", "L", true, "follow redirects, which is the default; for those used to curl")
	flags.StringArrayVar(&f.sets, "set", nil, "`OPTION=VALUE`: any option of the kind, such as tls.min_version=1.3; repeatable")
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
	if v.arg == "" && text != v.value {
		return fmt.Errorf("it takes no value")
	}
	v.flags.given = append(v.flags.given, config.Setting{Path: v.path, Value: text, Flag: "--" + v.name})
	return nil
}

// String is empty: the default is the kind's.
func (v *optionValue) String() string { return "" }

// Type names the value in help.
func (v *optionValue) Type() string {
	if v.arg == "" {
		return "bool" // pflag shows no value for it
	}
	return v.arg
}

// settings returns what all flags together set.
func (f *optionFlags) settings(stdin io.Reader) ([]config.Setting, error) {
	all := f.given
	for _, h := range f.headers {
		lines, err := headerLines(h)
		if err != nil {
			return nil, err
		}
		for _, line := range lines {
			name, value, ok := strings.Cut(line, ":")
			if name = strings.TrimSpace(name); !ok || name == "" {
				return nil, usagef("write it like --header 'Accept: application/json'", "--header %q has no name", line)
			}
			all = append(all, config.Setting{Path: "headers." + name, Value: strings.TrimSpace(value), Flag: "--header"})
		}
	}
	if f.data != "" {
		body, err := content(f.data, stdin)
		if err != nil {
			return nil, err
		}
		all = append(all, config.Setting{Path: "body", Value: body, Flag: "--data"})
		if !sets(all, "method") {
			all = append(all, config.Setting{Path: "method", Value: "POST", Flag: "--data"})
		}
	}
	for _, s := range f.sets {
		path, value, ok := strings.Cut(s, "=")
		if !ok || path == "" {
			return nil, usagef("write it like --set tls.min_version=1.3", "--set %q names no option", s)
		}
		all = append(all, config.Setting{Path: path, Value: value, Flag: "--set"})
	}
	return all, nil
}

func sets(all []config.Setting, path string) bool {
	for _, s := range all {
		if s.Path == path {
			return true
		}
	}
	return false
}

// headerLines returns the header, or those of the file that @FILE names.
func headerLines(h string) ([]string, error) {
	name, isFile := strings.CutPrefix(h, "@")
	if !isFile {
		return []string{h}, nil
	}
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, usagef("", "--header %s: %v", h, err)
	}
	var lines []string
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, line)
		}
	}
	return lines, nil
}

// maxData bounds a body from a file or standard input, in bytes.
const maxData = 64 << 20

// content returns the text, or what @FILE or @- holds.
func content(text string, stdin io.Reader) (string, error) {
	name, isFile := strings.CutPrefix(text, "@")
	if !isFile {
		return text, nil
	}
	if name != "-" {
		file, err := os.Open(name)
		if err != nil {
			return "", usagef("", "--data %s: %v", text, err)
		}
		defer file.Close()
		stdin = file
	}
	body, err := io.ReadAll(io.LimitReader(stdin, maxData+1))
	if err != nil {
		return "", usagef("", "--data %s: %v", text, err)
	}
	if len(body) > maxData {
		return "", usagef("", "--data %s: more than 64 MiB", text)
	}
	return string(body), nil
}
