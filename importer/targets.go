package importer

import (
	"fmt"
	"net"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"
)

func parsePort(s string) (int, error) {
	n, err := strconv.Atoi(s)
	if err == nil && (n < 1 || n > 65535) {
		err = fmt.Errorf("%d is no port", n)
	}
	return n, err
}

// example shows how a check uses a template, for a file must have a check.
func (j *job) example(template *item) {
	it := &item{name: "example", use: template.name, kind: template.kind, disabled: true,
		notes: []string{"An example of a check that uses a template; the others are used alike."}}
	j.point(it, template, "localhost:80")
	j.out.items = append(j.out.items, it)
}

// point makes a check that uses a template measure a target.
func (j *job) point(it, template *item, address string) {
	switch template.kind {
	case "http":
		if !strings.Contains(address, "://") {
			address = "http://" + address
		}
		it.option("url", j.url(it, address, nil))
	case "tcp":
		host, port, err := net.SplitHostPort(address)
		if err != nil {
			host = address
		}
		it.option("host", host)
		it.option("port", j.port(port))
	case "dns":
		it.option("server", address)
	default:
		it.option("host", hostOf(address))
	}
}

// targets reads the file of targets and makes checks of modules for them.
func (j *job) targets() error {
	t := &job{source: *j.source.Targets, names: j.names, variables: j.variables, literal: plain}
	root, err := parse(t.source.Text)
	if err != nil {
		return t.failure(1, 1, "the targets are not valid YAML: "+err.Error(), "")
	}
	var all []string
	switch {
	case root.Kind == yaml.MappingNode:
		for _, n := range t.object(nil, root, "").list("scrape_configs") {
			j.scrape(t, n)
		}
	case root.Kind == yaml.SequenceNode:
		for _, n := range root.Content {
			if s, ok := scalarText(n); ok {
				all = append(all, s)
				continue
			}
			all = append(all, t.object(nil, n, "").strs("targets")...)
		}
	default: // one on each line
		all = strings.Fields(root.Value)
	}
	for _, template := range j.out.templates {
		j.use(t, root, template, template.name, all)
	}
	j.warnings = append(j.warnings, t.warnings...)
	j.found = append(j.found, t.found...)
	if len(j.out.items) == 0 {
		return t.failure(1, 1, "there are no targets for the modules",
			"a prometheus.yml has scrape_configs with params: {module: [...]} and static_configs; a list of targets will do")
	}
	return nil
}

// scrape makes checks of a job of Prometheus that probes.
func (j *job) scrape(t *job, n *yaml.Node) {
	o := t.object(nil, n, "")
	params, _ := o.object("params")
	module := strings.Join(params.strs("module"), "")
	if module == "" {
		return // it scrapes something else
	}
	var all []string
	for _, s := range o.list("static_configs") {
		all = append(all, t.object(nil, s, "").strs("targets")...)
	}
	for _, template := range j.out.templates {
		if template.name != module {
			continue
		}
		if len(all) == 0 {
			t.miss(nil, n, "the job "+o.str("job_name")+" has no static_configs; other ways to find targets have no equivalent")
			j.out.notes = append(j.out.notes, t.out.notes...)
			t.out.notes = nil
		}
		j.use(t, n, template, o.str("job_name"), all)
		return
	}
	t.miss(nil, n, "the job "+o.str("job_name")+" is left out, for there is no module "+module)
	j.out.notes = append(j.out.notes, t.out.notes...)
	t.out.notes = nil
}

// use makes the checks of a module for its targets: one with each, except that
// tcp wants host and port apart.
func (j *job) use(t *job, at *yaml.Node, template *item, name string, all []string) {
	it := &item{name: name, use: template.name, kind: template.kind}
	for _, address := range all {
		switch {
		case template.kind == "http" && !strings.Contains(address, "://"):
			address = "http://" + address
		case template.kind != "http" && strings.Contains(address, "://"):
			t.miss(it, at, "the target "+hostOf(address)+" is left out, for "+template.name+" takes no URL")
			continue
		}
		if template.kind == "tcp" {
			if _, _, err := net.SplitHostPort(address); err != nil {
				t.miss(it, at, "the target "+address+" is left out, for it has no port")
				continue
			}
			single := &item{name: name + " " + address, use: template.name, kind: template.kind}
			j.point(single, template, address)
			j.add(single)
			continue
		}
		it.each = append(it.each, j.url(it, address, nil))
	}
	if len(it.each) == 0 {
		return
	}
	key := map[string]string{"http": "url", "dns": "server"}[template.kind]
	if key == "" {
		key = "host"
	}
	it.option(key, text("${each.target}"))
	j.add(it)
}
