package importer

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"gopkg.in/yaml.v3"
)

// blackbox imports the modules of blackbox_exporter: each as a template, and
// with targets a check that uses it, too.
func blackbox(j *job) error {
	root, err := j.yaml()
	if err != nil {
		return err
	}
	modules, _ := root.object("modules")
	for _, key := range modules.keys {
		j.module(key, modules.node(key.Value))
	}
	root.rest()
	if j.source.Targets != nil {
		return j.targets()
	}
	if len(j.out.templates) > 0 {
		j.example(j.out.templates[0])
	}
	return nil
}

// module imports one module as a template.
func (j *job) module(key, n *yaml.Node) {
	it := &item{name: clean(key.Value)}
	o := j.object(it, n, "")
	it.limit(o.duration("timeout", time.Nanosecond), 0)
	prober := o.str("prober")
	block, _ := o.object(prober)
	switch it.kind = prober; prober {
	case "http":
		j.blackboxHTTP(it, block)
	case "tcp":
		j.blackboxTCP(it, block)
	case "icmp":
		it.option("count", 1)
		j.blackboxICMP(it, block)
	case "dns":
		j.blackboxDNS(it, block)
	default:
		j.miss(nil, key, "the module "+it.name+" is left out, for sonde import does not know the prober "+prober)
		return
	}
	j.blackboxRoute(it, block)
	block.rest()
	o.rest()
	j.oneLogin(it)
	j.out.templates = append(j.out.templates, it)
}

// blackboxRoute takes over what all probers have.
func (j *job) blackboxRoute(it *item, o *object) {
	protocol := o.str("preferred_ip_protocol")
	if !o.flag("ip_protocol_fallback", true) {
		it.option("family", map[string]string{"ip4": "4"}[protocol]+map[bool]string{true: "6"}[protocol != "ip4"])
	} else if protocol != "" {
		j.miss(it, o.place("preferred_ip_protocol"), "preferred_ip_protocol has no equivalent: both families race, unless family is 4 or 6")
	}
	if source := o.str("source_ip_address"); source != "" {
		it.option("source", source)
	}
}

// prometheusTLS takes over a block tls_config.
func (j *job) prometheusTLS(it *item, o *object) {
	t, ok := o.object("tls_config")
	if !ok {
		return
	}
	for _, key := range [][2]string{{"ca_file", "ca"}, {"cert_file", "cert"}, {"key_file", "key"}, {"server_name", "server_name"}} {
		if v := t.str(key[0]); v != "" {
			it.tls(key[1], v)
		}
	}
	for _, key := range []string{"min_version", "max_version"} {
		if v := t.str(key); len(v) == len("TLS12") {
			it.tls(key, text(v[3:4]+"."+v[4:]))
		}
	}
	if t.flag("insecure_skip_verify", false) {
		it.tls("insecure", true)
	}
	t.rest()
}

func (j *job) blackboxHTTP(it *item, o *object) {
	if method := o.str("method"); method != "" && method != "GET" {
		it.option("method", method)
	}
	headers, _ := o.object("headers")
	fields := j.headers(it, headers)
	more, _ := o.object("http_headers")
	for _, key := range more.keys {
		values, _ := more.object(key.Value)
		switch {
		case values.has("files"):
			fields.set(key.Value, text("${file:"+string(plain(last(values.strs("files"))))+"}"))
		case values.has("secrets"):
			fields.set(key.Value, j.secret(it, key.Value, last(values.strs("secrets")), key))
		default:
			fields.set(key.Value, j.header(it, key.Value, last(values.strs("values")), key))
		}
		values.rest("values", "secrets")
	}
	if len(fields) > 0 {
		it.option("headers", fields)
	}
	if body := o.str("body"); body != "" {
		it.option("body", j.body(it, body, o.place("body")))
		j.keepMethod(it)
	}
	if file := o.str("body_file"); file != "" {
		it.option("body_file", file)
		j.keepMethod(it)
	}
	j.blackboxAuth(it, o)
	j.prometheusOAuth2(it, o)
	if !o.flag("follow_redirects", !o.flag("no_follow_redirects", false)) {
		it.option("redirects", 0)
	}
	switch coding := o.str("compression"); coding {
	case "", "identity":
	default:
		it.option("compression", coding)
	}
	if limit := o.str("body_size_limit"); limit != "" && limit != "0" {
		it.option("max_body", limit)
	}
	if proxy := o.str("proxy_url"); proxy != "" {
		it.option("proxy", j.url(it, proxy, o.place("proxy_url")))
	}
	j.prometheusTLS(it, o)
	j.blackboxExpect(it, o)
}

// keepMethod keeps a body from making the method POST.
func (j *job) keepMethod(it *item) {
	if it.optionOf("method") == nil {
		it.option("method", "GET")
	}
}

func last(values []string) string {
	if len(values) == 0 {
		return ""
	}
	return values[len(values)-1]
}

func (j *job) blackboxAuth(it *item, o *object) {
	if basic, ok := o.object("basic_auth"); ok {
		user := basic.str("username")
		if file := basic.str("password_file"); file != "" {
			it.option("auth", fields{{"username", user}, {"password", text("${file:" + string(plain(file)) + "}")}})
		} else {
			j.auth(it, user, basic.str("password"), basic.place("password"))
		}
		basic.rest()
	}
	token, file := o.str("bearer_token"), o.str("bearer_token_file")
	at := o.place("bearer_token")
	if a, ok := o.object("authorization"); ok {
		if kind := a.str("type"); kind != "" && kind != "Bearer" {
			j.miss(it, a.place("type"), "authorization of another type than Bearer has no equivalent")
		} else {
			token, file, at = a.str("credentials"), a.str("credentials_file"), a.place("credentials")
		}
		a.rest("credentials")
	}
	switch {
	case file != "":
		it.option("auth", fields{{"token_file", plain(file)}})
	case token != "":
		it.option("auth", fields{{"token", j.secret(it, "token", token, at)}})
	}
}

// blackboxExpect translates what an HTTP response must be like.
func (j *job) blackboxExpect(it *item, o *object) {
	if codes := o.strs("valid_status_codes"); len(codes) > 0 {
		it.wants("status in [%s]", strings.Join(codes, ", "))
	}
	if versions := o.strs("valid_http_versions"); len(versions) > 0 {
		for i, v := range versions {
			v = strings.TrimPrefix(v, "HTTP/")
			versions[i] = quoted(strings.Replace(v, "2.0", "2", 1))
		}
		it.wants("version in [%s]", strings.Join(versions, ", "))
	}
	if o.flag("fail_if_ssl", false) {
		it.wants("url startsWith 'http://'")
	}
	if o.flag("fail_if_not_ssl", false) {
		it.wants("url startsWith 'https://'")
	}
	for _, re := range o.strs("fail_if_body_matches_regexp") {
		j.matches(it, o.place("fail_if_body_matches_regexp"), "not (body matches %s)", re)
	}
	for _, re := range o.strs("fail_if_body_not_matches_regexp") {
		j.matches(it, o.place("fail_if_body_not_matches_regexp"), "body matches %s", re)
	}
	for _, n := range o.list("fail_if_header_matches") {
		j.headerMatch(it, n, "not (%[1]s matches %[2]s)")
	}
	for _, n := range o.list("fail_if_header_not_matches") {
		j.headerMatch(it, n, "%[1]s matches %[2]s")
	}
}

// matches adds an expectation with a regular expression.
func (j *job) matches(it *item, at *yaml.Node, format, re string) {
	if _, err := regexp.Compile(re); err != nil {
		j.miss(it, at, "a regular expression is left out, for it is not valid")
		return
	}
	it.wants(format, quoted(re))
}

func (j *job) headerMatch(it *item, n *yaml.Node, format string) {
	o := j.object(it, n, "")
	name, re := "headers["+quoted(strings.ToLower(o.str("header")))+"]", o.str("regexp")
	if o.flag("allow_missing", false) {
		format = "%[1]s == nil || " + format
	}
	o.rest()
	if _, err := regexp.Compile(re); err != nil {
		j.miss(it, n, "a regular expression is left out, for it is not valid")
		return
	}
	it.wants(format, name, quoted(re))
}

func (j *job) blackboxTCP(it *item, o *object) {
	if o.flag("tls", false) {
		it.option("tls", fields{})
		j.prometheusTLS(it, o)
	}
	var steps []fields
	for _, n := range o.list("query_response") {
		q := j.object(it, n, "query_response.")
		if q.flag("starttls", false) {
			j.miss(it, n, "starttls has no equivalent; the dialogue ends before it")
			break
		}
		expect := q.str("expect")
		if bytes := q.str("expect_bytes"); bytes != "" {
			expect = regexp.QuoteMeta(bytes)
		} else if expect != "" {
			expect = "(?m)" + expect
		}
		if expect != "" {
			if _, err := regexp.Compile(expect); err != nil {
				j.miss(it, n, "a step is left out, for its regular expression is not valid")
				continue
			}
			if k := len(steps) - 1; k >= 0 && steps[k][0].key == "send" && len(steps[k]) == 1 {
				steps[k].set("expect", expect)
			} else {
				steps = append(steps, fields{{"expect", expect}})
			}
		}
		send, sends := q.str("send"), q.has("send")
		if sends && send == "" && q.node("send").Value != "" {
			break // it was named: bytes that are no text
		}
		if strings.Contains(send, "${") {
			j.miss(it, n, "sending what was matched before has no equivalent; the dialogue ends before it")
			break
		} else if sends {
			steps = append(steps, fields{{"send", send + "\n"}})
		}
		q.rest()
	}
	if len(steps) > 0 {
		it.option("steps", steps)
	}
}

func (j *job) blackboxICMP(it *item, o *object) {
	if n, ok := o.number("payload_size"); ok && n > 0 {
		it.option("size", strconv.Itoa(max(n, 24))+"B")
	}
	if n, ok := o.number("ttl"); ok {
		it.option("ttl", n)
	}
	if o.flag("dont_fragment", false) {
		it.option("dont_fragment", true)
	}
}

func (j *job) blackboxDNS(it *item, o *object) {
	it.option("name", o.str("query_name"))
	kind := o.str("query_type")
	if kind == "" {
		kind = "ANY"
	}
	it.option("type", kind)
	if class := o.str("query_class"); class != "" {
		it.option("class", class)
	}
	transport := o.str("transport_protocol")
	if o.flag("dns_over_tls", false) {
		transport = "tls"
		j.prometheusTLS(it, o)
	}
	if transport != "" {
		it.option("transport", transport)
	}
	if !o.flag("recursion_desired", true) {
		it.option("recursion", false)
	}
	if codes := o.strs("valid_rcodes"); len(codes) > 0 {
		it.wants("rcode in %s", texts(strings.Join(codes, ",")))
	}
	for _, section := range []string{"answer", "authority", "additional"} {
		j.records(it, o, "validate_"+section+"_rrs", strings.Replace(section, "answer", "answers", 1))
	}
	if !it.mentions("answers") {
		it.wants("answer_count >= 0")
	}
}

// records translates what the records of a section must match. The regular
// expressions see whole records, but the fact answers has their data alone.
func (j *job) records(it *item, o *object, key, fact string) {
	v, ok := o.object(key)
	if !ok {
		return
	}
	for _, rule := range [][2]string{
		{"fail_if_matches_regexp", "none(%s, # matches %%s)"},
		{"fail_if_all_match_regexp", "len(%[1]s) == 0 || not all(%[1]s, # matches %%s)"},
		{"fail_if_not_matches_regexp", "all(%s, # matches %%s)"},
		{"fail_if_none_matches_regexp", "any(%s, # matches %%s)"},
	} {
		for _, re := range v.strs(rule[0]) {
			if strings.ContainsAny(re, "\t ") || strings.Contains(re, `\t`) || strings.Contains(re, `\s`) {
				j.miss(it, v.place(rule[0]), key+"."+rule[0]+" has no equivalent, for it is about more than a record's data")
				continue
			}
			j.remark(it, rule[0]+" is about a record's data here, not its name, time to live and type")
			j.matches(it, v.place(rule[0]), fmt.Sprintf(rule[1], fact), re)
		}
	}
	v.rest()
}
