package importer

import (
	"fmt"
	"net"
	"regexp"
	"strconv"
	"strings"
	"time"

	"gopkg.in/yaml.v3"
)

// Cloudprober's defaults of a probe.
const (
	cloudproberInterval = 2 * time.Second
	cloudproberTimeout  = time.Second
)

// goTemplate is an action of Go's templates.
var goTemplate = regexp.MustCompile(`(?m)^[^#\n]*\{\{`)

// includeLine takes in another file.
var includeLine = regexp.MustCompile(`(?m)^include\s+"[^"\n]*"[^\n]*$`)

// cloudprober imports the probes of Cloudprober, from text protobuf, YAML or
// JSON.
func cloudprober(j *job) error {
	if at := strings.Index(j.source.Text, "**$"); at >= 0 {
		j.miss(nil, &yaml.Node{Line: 1 + strings.Count(j.source.Text[:at], "\n")}, "**$NAME** is not expanded; write ${NAME}")
	}
	if at := goTemplate.FindStringIndex(j.source.Text); at != nil {
		return j.failure(1+strings.Count(j.source.Text[:at[1]], "\n"), 1, "templates ({{ }}) are not expanded here",
			"let Cloudprober do so first: cloudprober --dumpconfig --config_file FILE")
	}
	var root *object
	if looksLikeProto(j.source.Text) || includeLine.MatchString(j.source.Text) {
		for _, at := range includeLine.FindAllStringIndex(j.source.Text, -1) {
			j.miss(nil, &yaml.Node{Line: 1 + strings.Count(j.source.Text[:at[0]], "\n")}, "include has no equivalent; import that file, too")
		}
		n, err := parseProto(includeLine.ReplaceAllString(j.source.Text, ""))
		if err != nil {
			return j.failure(protoLine(err), 1, "this is not valid text protobuf: "+err.Error(), "")
		}
		root = j.object(nil, n, "")
	} else {
		o, err := j.yaml()
		if err != nil {
			return err
		}
		root = o
	}
	j.out.defaults = fields{{"interval", cloudproberInterval}, {"timeout", cloudproberTimeout}}
	shared := make(map[string]*object)
	for _, n := range root.list("shared_targets") {
		o := j.object(nil, n, "shared_targets.")
		shared[o.str("name")], _ = o.object("targets")
	}
	for _, n := range root.list("probe") {
		j.probe(n, shared)
	}
	root.rest()
	return nil
}

// endpoint is a target of Cloudprober.
type endpoint struct {
	name, host, ip, port, url string
}

// address makes a check connect to the endpoint's address where it has one.
func (e endpoint) address(it *item) {
	if e.ip != "" {
		it.option("address", e.ip)
	}
}

// probe imports one probe: a check for each of its targets.
func (j *job) probe(n *yaml.Node, shared map[string]*object) {
	it := new(item)
	o := j.object(it, n, "")
	it.name = o.str("name")
	prober := strings.ToLower(o.str("type"))
	kind := map[string]string{"ping": "icmp", "http": "http", "dns": "dns", "tcp": "tcp"}[prober]
	if kind == "" {
		j.skip(it, n, it.name+" is left out, for sonde import does not know the type "+strings.ToUpper(prober))
		return
	}
	it.kind = kind
	j.probeTimes(it, o)
	switch o.str("ip_version") {
	case "IPV4":
		it.option("family", "4")
	case "IPV6":
		it.option("family", "6")
	}
	if source := o.str("source_ip"); source != "" {
		it.option("source", source)
	}
	block, _ := o.object(prober + "_probe")
	t, _ := o.object("targets")
	t.item = it
	all := j.endpoints(it, t, shared)
	build := map[string]func(*item, *object) func(*item, endpoint){"icmp": j.probePing, "http": j.probeHTTP, "dns": j.probeDNS, "tcp": j.probeTCP}[kind](it, block)
	for _, v := range o.list("validator") {
		j.validator(it, j.object(it, v, "validator."))
	}
	if it.kind == "http" && !it.mentions("status") {
		it.wants("status >= 100") // Cloudprober takes any status
	}
	if o.flag("negative_test", false) {
		it.expect = []text{"error != ''"}
		if it.kind == "icmp" {
			it.expect = []text{"received == 0"}
		}
	}
	for _, l := range o.list("additional_label") {
		label := j.object(it, l, "additional_label.")
		if value := label.str("value"); strings.Contains(value, "@") {
			j.miss(it, l, "additional_label with @ has no equivalent")
		} else {
			it.labels.set(label.str("key"), value)
		}
	}
	block.rest("interval_between_targets_msec", "resolve_first", "max_idle_conns", "use_datagram_socket", "latency_breakdown")
	o.rest("latency_unit", "latency_distribution", "stats_export_interval_msec", "latency_metric_name", "debug_options")
	if len(all) == 0 {
		j.skip(it, n, it.name+" is left out, for none of its targets can be imported")
		return
	}
	j.expand(it, all, build)
}

// expand adds a check for each target.
func (j *job) expand(it *item, all []endpoint, build func(*item, endpoint)) {
	for i, e := range all {
		one := *it
		one.options = append(fields{}, it.options...)
		if i > 0 {
			one.notes = nil
		}
		if len(all) > 1 {
			one.name += " " + e.name
		}
		build(&one, e)
		j.add(&one)
	}
}

func (j *job) probeTimes(it *item, o *object) {
	interval, timeout := o.duration("interval", time.Second), o.duration("timeout", time.Second)
	key := "interval"
	if interval == 0 {
		key, interval = "interval_msec", o.duration("interval_msec", time.Millisecond)
	}
	if timeout == 0 {
		timeout = o.duration("timeout_msec", time.Millisecond)
	}
	o.interval(it, key, interval, cloudproberInterval)
	it.limit(timeout, cloudproberTimeout)
}

// endpoints lists the targets that are written down.
func (j *job) endpoints(it *item, o *object, shared map[string]*object) []endpoint {
	var all []endpoint
	if name := o.str("shared_targets"); name != "" {
		if s := shared[name]; s != nil {
			all = append(all, j.endpoints(it, s, nil)...)
		}
	}
	for names := range strings.SplitSeq(o.str("host_names"), ",") {
		names = strings.TrimSpace(names)
		if names == "" {
			continue
		}
		e := endpoint{name: names, host: names}
		if host, port, err := net.SplitHostPort(names); err == nil {
			e.host, e.port = host, port
		}
		all = append(all, e)
	}
	for _, n := range o.list("endpoint") {
		p := j.object(it, n, "targets.endpoint.")
		e := endpoint{name: p.str("name"), ip: p.str("ip"), port: p.str("port"), url: p.str("url")}
		e.host = e.name
		p.rest("labels")
		all = append(all, e)
	}
	o.rest("exclude_lameducks")
	return all
}

func (j *job) probePing(it *item, o *object) func(*item, endpoint) {
	count, ok := o.number("packets_per_probe")
	if !ok {
		count = 2
	}
	it.option("count", count)
	if n, ok := o.number("packets_interval_msec"); ok {
		it.option("interval", time.Duration(max(n, 1))*time.Millisecond)
	}
	if n, ok := o.number("payload_size"); ok {
		it.option("size", strconv.Itoa(max(n, 24))+"B")
	}
	return func(one *item, e endpoint) {
		one.option("host", e.host)
		e.address(one)
	}
}

func (j *job) probeTCP(it *item, o *object) func(*item, endpoint) {
	own := o.str("port")
	if o.flag("tls_handshake", false) {
		it.option("tls", fields{})
		j.probeTLS(it, o)
	}
	return func(one *item, e endpoint) {
		port := own
		if port == "" {
			port = e.port
		}
		one.option("host", e.host)
		one.option("port", j.port(port))
		e.address(one)
	}
}

func (j *job) probeDNS(it *item, o *object) func(*item, endpoint) {
	domain, kind := o.str("resolved_domain"), o.str("query_type")
	if domain == "" {
		domain = "www.google.com."
	}
	if kind == "" {
		kind = "MX"
	}
	it.option("name", domain)
	it.option("type", kind)
	switch o.str("dns_proto") {
	case "TCP":
		it.option("transport", "tcp")
	case "TCP_TLS":
		it.option("transport", "tls")
	}
	if !o.flag("recursion_desired", true) {
		it.option("recursion", false)
	}
	least, _ := o.number("min_answers")
	it.wants("answer_count >= %d", max(least, 0))
	return func(one *item, e endpoint) {
		server := e.host
		if e.ip != "" {
			server = e.ip
		}
		if e.port != "" {
			server = net.JoinHostPort(server, e.port)
		}
		one.option("server", server)
	}
}

func (j *job) probeTLS(it *item, o *object) {
	t, _ := o.object("tls_config")
	for _, key := range [][2]string{{"ca_cert_file", "ca"}, {"tls_cert_file", "cert"}, {"tls_key_file", "key"}, {"server_name", "server_name"}} {
		if v := t.str(key[0]); v != "" {
			it.tls(key[1], v)
		}
	}
	if t.flag("disable_cert_validation", o.flag("disable_cert_validation", false)) {
		it.tls("insecure", true)
	}
	t.rest()
}

func (j *job) probeHTTP(it *item, o *object) func(*item, endpoint) {
	scheme := strings.ToLower(o.str("scheme"))
	if scheme == "" {
		scheme = strings.ToLower(o.str("protocol"))
	}
	if scheme == "" {
		scheme = "http"
	}
	own, path := o.str("port"), o.str("relative_url")
	if method := o.str("method"); method != "" && method != "GET" {
		it.option("method", method)
	}
	j.probeHeaders(it, o)
	if body := strings.Join(o.strs("body"), ""); body != "" {
		it.option("body", j.body(it, body, o.place("body")))
		j.keepMethod(it)
	}
	if file := o.str("body_file"); file != "" {
		it.option("body_file", file)
		j.keepMethod(it)
	}
	if n, ok := o.number("max_redirects"); ok {
		it.option("redirects", n)
	}
	if o.flag("disable_http2", false) {
		it.option("version", "1.1")
	}
	if o.flag("keep_alive", false) {
		it.option("connection", "reuse")
	}
	if proxy := o.str("proxy_url"); proxy != "" {
		it.option("proxy", j.url(it, proxy, o.place("proxy_url")))
	}
	j.probeTLS(it, o)
	j.probeOAuth(it, o)
	return func(one *item, e endpoint) {
		address, port := e.url, own
		if port == "" {
			port = e.port
		}
		if address == "" {
			host := e.host
			if strings.Contains(host, ":") {
				host = "[" + host + "]"
			}
			if port != "" {
				host += ":" + port
			}
			address = fmt.Sprintf("%s://%s/%s", scheme, host, strings.TrimPrefix(path, "/"))
		}
		one.option("url", j.url(one, address, o.at))
		e.address(one)
	}
}

func (j *job) probeHeaders(it *item, o *object) {
	var headers fields
	for _, key := range []string{"headers", "header"} {
		for _, n := range o.list(key) {
			h := j.object(it, n, key+".")
			name := h.str("name")
			if key == "header" {
				name = h.str("key") // an entry of a map in text protobuf
			}
			if name == "" { // the map in YAML
				headers = append(headers, j.headers(it, h)...)
				continue
			}
			headers.set(name, j.header(it, name, h.str("value"), n))
		}
	}
	if agent := o.str("user_agent"); agent != "" {
		headers.set("User-Agent", agent)
	}
	if len(headers) > 0 {
		it.option("headers", headers)
	}
}

// validator translates what an answer must be like.
func (j *job) validator(it *item, v *object) {
	v.str("name")
	if re := v.str("regex"); re != "" {
		if it.kind == "http" {
			j.matches(it, v.place("regex"), "body matches %s", re)
		} else {
			j.miss(it, v.place("regex"), "validator.regex has no equivalent for the kind "+it.kind)
		}
	}
	if h, ok := v.object("http_validator"); ok {
		if codes := h.str("success_status_codes"); codes != "" {
			j.statusRule(it, h.place("success_status_codes"), "%s", codes)
		}
		if codes := h.str("failure_status_codes"); codes != "" {
			j.statusRule(it, h.place("failure_status_codes"), "not (%s)", codes)
		}
		j.headerRule(it, h, "success_header", "%[1]s matches %[2]s")
		j.headerRule(it, h, "failure_header", "%[1]s == nil || not (%[1]s matches %[2]s)")
		h.rest()
	}
	if d, ok := v.object("dns_validator"); ok && d.has("authoritative") {
		it.wants("authoritative == %t", d.flag("authoritative", true))
	}
	v.rest()
}

func (j *job) statusRule(it *item, at *yaml.Node, format, codes string) {
	e := statuses(strings.Split(codes, ","))
	if e == "" {
		j.miss(it, at, "a range of status codes is not understood")
		return
	}
	it.wants(format, e)
}

// headerRule translates what a header must be like; any value will do when there
// is no regular expression.
func (j *job) headerRule(it *item, h *object, key, format string) {
	header, ok := h.object(key)
	if !ok {
		return
	}
	re := header.str("value_regex")
	if _, err := regexp.Compile(re); err != nil {
		j.miss(it, header.at, "a regular expression is left out, for it is not valid")
		return
	}
	it.wants(format, "headers["+quoted(strings.ToLower(header.str("name")))+"]", quoted(re))
}
