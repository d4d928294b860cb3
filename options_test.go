package main

import (
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"

	"github.com/sonde-cli/sonde/config"
	"github.com/sonde-cli/sonde/probes"
)

// TestEveryOptionHasAnExample finds each option of each kind in a sample of YAML
// that [TestDocumentedFiles] loads: below the kind's key, so that http's method
// does not stand for that of steps. What kinds share, such as the way to the
// target and TLS, needs one example.
func TestEveryOptionHasAnExample(t *testing.T) {
	used := make(map[string]bool)
	for _, text := range documentedFiles(t) {
		var file yaml.Node
		if err := yaml.Unmarshal([]byte(text), &file); err != nil {
			t.Fatalf("%v in\n%s", err, text)
		}
		for _, k := range probes.Kinds() {
			below(&file, k.Name, func(block *yaml.Node) { noteOptions(used, block, k.Name) })
		}
	}
	paths := make(map[declared][]string)
	for _, k := range probes.Kinds() {
		optionPaths(reflect.TypeOf(k.New()), k.Name, paths)
	}
	for _, paths := range paths {
		if !slices.ContainsFunc(paths, func(path string) bool { return used[path] }) {
			t.Errorf("%s is in no example", strings.Join(paths, ", "))
		}
	}
}

// below calls f with the blocks of a key wherever a check, a template or the
// defaults have it.
func below(n *yaml.Node, key string, f func(*yaml.Node)) {
	for i, c := range n.Content {
		if n.Kind == yaml.MappingNode && i%2 == 1 && n.Content[i-1].Value == key && c.Kind != yaml.ScalarNode {
			f(c)
		}
		below(c, key, f)
	}
}

// noteOptions notes the paths of the options in a block, without the places in
// lists.
func noteOptions(used map[string]bool, n *yaml.Node, path string) {
	switch n.Kind {
	case yaml.SequenceNode:
		for _, item := range n.Content {
			noteOptions(used, item, path)
		}
	case yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			option := path + "." + n.Content[i].Value
			used[option] = true
			noteOptions(used, n.Content[i+1], option)
		}
	}
}

// declared is an option in the struct that declares it, which several kinds can
// share.
type declared struct {
	in   reflect.Type
	name string
}

// optionPaths notes where the options of a struct, and of those in it, stand.
func optionPaths(t reflect.Type, path string, paths map[declared][]string) {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct || t == reflect.TypeFor[regexp.Regexp]() {
		return
	}
	for f := range t.Fields() {
		name, option, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		switch {
		case f.Type.Kind() == reflect.Struct && (f.Anonymous && name == "" || option == "inline"):
			optionPaths(f.Type, path, paths)
		case f.IsExported() && name != "" && name != "-":
			key := declared{t, name}
			paths[key] = append(paths[key], path+"."+name)
			optionPaths(f.Type, path+"."+name, paths)
		}
	}
}

// TestFactsNeedTheirOptions refuses expectations of facts that an option brings,
// without it.
func TestFactsNeedTheirOptions(t *testing.T) {
	blocks := map[string]string{
		"http": "url: 'https://h.example/'", "websocket": "url: 'ws://h.example/'", "ssh": "host: h.example", "tcp": "host: h.example, port: 1",
	}
	load := func(kind, options, fact string) error {
		text := "version: 1\nchecks: [{name: a, " + kind + ": {" + options + "}, expect: \"" + fact + " == " + fact + "\"}]\n"
		loader := config.Loader{Kinds: probes.Kinds(), Stdin: strings.NewReader(text), LookupEnv: func(string) (string, bool) { return "", false }}
		_, err := loader.Load(t.Context(), "-")
		return err
	}
	brought := 0
	for _, k := range probes.Kinds() {
		for _, f := range k.Facts {
			if f.Option == "" || blocks[k.Name] == "" {
				continue
			}
			brought++
			err := load(k.Name, blocks[k.Name], f.Name)
			if err == nil || !strings.Contains(err.Error(), f.Name+", which is never there without "+f.Option) {
				t.Errorf("%s: %s without %s: %v", k.Name, f.Name, f.Option, err)
			}
			option := f.Option
			switch option {
			case "unix", "known_hosts":
				option += ": options_test.go"
			case "ping":
				option += ": true"
			}
			if err := load(k.Name, blocks[k.Name]+", "+option, f.Name); err != nil && strings.Contains(err.Error(), "never there") {
				t.Errorf("%s: %s with %s: %v", k.Name, f.Name, f.Option, err)
			}
		}
	}
	if brought < 20 {
		t.Errorf("%d facts of options", brought)
	}
}

// TestAllMissingOptionsAtOnce tells of each option that an expectation lacks.
func TestAllMissingOptionsAtOnce(t *testing.T) {
	text := "version: 1\nchecks: [{name: a, http: {url: 'http://h.example/'}, expect: ['cold.latency < 1s', 'dns.age < 1s', 'v4.up']}]\n"
	loader := config.Loader{Kinds: probes.Kinds(), Stdin: strings.NewReader(text)}
	_, err := loader.Load(t.Context(), "-")
	for _, want := range []string{"cold.latency, which", "dns.age, which", "v4.up, which"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v\nwant %s", err, want)
		}
	}
}
