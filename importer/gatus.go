package importer

import (
	"encoding/json"
	"net"
	"net/url"
	"strings"
	"time"

	"gopkg.in/yaml.v3"
)

// Gatus's defaults of an endpoint.
const (
	gatusInterval = time.Minute
	gatusTimeout  = 10 * time.Second
)

// gatus imports the endpoints of Gatus.
func gatus(j *job) error {
	j.literal = j.env
	root, err := j.yaml()
	if err != nil {
		return err
	}
	j.out.defaults = fields{{"interval", gatusInterval}, {"timeout", gatusTimeout}}
	for _, n := range root.list("endpoints") {
		j.endpoint(n)
	}
	root.rest()
	return nil
}

// endpoint imports one endpoint.
func (j *job) endpoint(n *yaml.Node) {
	it := new(item)
	o := j.object(it, n, "")
	name, group := o.str("name"), o.str("group")
	it.name = name
	if group != "" {
		it.name, it.tags = group+"/"+name, []string{group}
	}
	it.disabled = !o.flag("enabled", true)
	o.interval(it, "interval", o.duration("interval", time.Nanosecond), gatusInterval)
	address := o.str("url")
	scheme, rest, _ := strings.Cut(address, "://")
	dns, isDNS := o.object("dns")
	switch {
	case isDNS:
		it.kind = "dns"
		j.gatusDNS(it, address, dns)
	case scheme == "http" || scheme == "https":
		it.kind = "http"
		j.gatusHTTP(it, o, address)
	case scheme == "tcp" || scheme == "tls" || scheme == "starttls":
		it.kind = "tcp"
		if scheme != "tcp" {
			it.kind = "tls"
		}
		if !j.hostPort(it, o, rest) {
			return
		}
		if scheme == "starttls" {
			it.option("starttls", "smtp") // Gatus knows no other protocol
		}
	case scheme == "ssh":
		if !j.gatusSSH(it, o, rest) {
			return
		}
	case scheme == "udp":
		if !j.gatusUDP(it, o, rest) {
			return
		}
	case scheme == "icmp":
		it.kind = "icmp"
		it.option("host", j.literal(strings.TrimSuffix(rest, "/")))
		it.option("count", 1)
	default:
		j.skip(it, n, it.name+" is left out, for sonde import does not know "+scheme+"://")
		return
	}
	j.gatusClient(it, o)
	j.conditions(it, o)
	if labels, ok := o.object("extra-labels"); ok {
		for _, key := range labels.keys {
			it.labels.set(key.Value, j.literal(labels.str(key.Value)))
		}
	}
	o.rest("method", "body", "headers", "graphql")
	j.add(it)
}

// gatusSSH imports an endpoint whose banner Gatus reads; that is all it does
// without a login.
func (j *job) gatusSSH(it *item, o *object, address string) bool {
	if login, _ := o.object("ssh"); login.str("username") != "" || login.str("password") != "" || login.str("private-key") != "" {
		j.skip(it, o.at, it.name+" is left out, for sonde makes no login over SSH")
		return false
	}
	it.kind = "ssh"
	address = strings.TrimSuffix(address, "/")
	if _, _, err := net.SplitHostPort(address); err != nil {
		address = net.JoinHostPort(strings.Trim(address, "[]"), "22")
	}
	return j.hostPort(it, o, address)
}

// gatusUDP imports an endpoint to which Gatus sends the body. Any answer will do.
func (j *job) gatusUDP(it *item, o *object, address string) bool {
	body := o.str("body")
	if body == "" {
		j.skip(it, o.at, it.name+" is left out, for udp:// without a body tells nothing")
		return false
	}
	it.kind = "udp"
	if !j.hostPort(it, o, address) {
		return false
	}
	it.option("steps", []fields{{{"send", j.body(it, body, o.place("body"))}, {"expect", "(?s)^.*"}}})
	return true
}

// hostPort sets host and port, or leaves the check out.
func (j *job) hostPort(it *item, o *object, address string) bool {
	host, port, err := net.SplitHostPort(strings.TrimSuffix(address, "/"))
	if err != nil {
		j.skip(it, o.at, it.name+" is left out, for its address has no port")
		return false
	}
	it.option("host", j.literal(host))
	it.option("port", j.port(port))
	return true
}

// port makes a number of the port where it is one.
func (j *job) port(s string) any {
	if n, err := parsePort(s); err == nil {
		return n
	}
	return j.literal(s)
}

func (j *job) gatusDNS(it *item, server string, o *object) {
	it.option("name", j.literal(o.str("query-name")))
	if kind := o.str("query-type"); kind != "" {
		it.option("type", j.literal(kind))
	}
	scheme, rest, ok := strings.Cut(server, "://")
	if ok {
		server = rest
	}
	it.option("server", j.literal(server))
	switch scheme {
	case "tcp":
		it.option("transport", "tcp")
	case "tls":
		it.option("transport", "tls")
	}
	o.rest()
}

func (j *job) gatusHTTP(it *item, o *object, address string) {
	it.option("url", j.url(it, address, o.place("url")))
	if method := o.str("method"); method != "" && method != "GET" {
		it.option("method", j.literal(method))
	}
	headers, _ := o.object("headers")
	fields := j.headers(it, headers)
	body := o.str("body")
	if o.flag("graphql", false) {
		wrapped, err := json.Marshal(map[string]string{"query": body})
		if err == nil { // a map of texts always is
			body = string(wrapped)
		}
		fields.set("Content-Type", "application/json")
	}
	if len(fields) > 0 {
		it.option("headers", fields)
	}
	if body != "" {
		it.option("body", j.body(it, body, o.place("body")))
		if o.str("method") == "" {
			it.option("method", "GET")
		}
	}
}

// gatusClient takes over how Gatus connects.
func (j *job) gatusClient(it *item, endpoint *object) {
	o, ok := endpoint.object("client")
	if !ok {
		return
	}
	it.limit(o.duration("timeout", time.Nanosecond), gatusTimeout)
	if it.kind == "http" {
		if o.flag("ignore-redirect", false) {
			it.option("redirects", 0)
		}
		if g, ok := o.object("oauth2"); ok {
			j.login(it, g, j.grant(it, g, grant{url: "token-url", id: "client-id", secret: "client-secret", scopes: "scopes"}))
			g.rest()
		}
		if proxy := o.str("proxy-url"); proxy != "" {
			it.option("proxy", j.url(it, proxy, o.place("proxy-url")))
		}
	}
	if it.kind == "http" || it.kind == "tcp" {
		j.gatusTLS(it, o)
	}
	switch network := o.str("network"); {
	case strings.HasSuffix(network, "4"):
		it.option("family", "4")
	case strings.HasSuffix(network, "6"):
		it.option("family", "6")
	}
	if resolver := o.str("dns-resolver"); resolver != "" && it.kind != "dns" {
		it.option("resolver", j.literal(strings.TrimPrefix(resolver, "udp://")))
	}
	o.rest()
}

func (j *job) gatusTLS(it *item, o *object) {
	if it.kind == "tcp" {
		return
	}
	if o.flag("insecure", false) {
		it.tls("insecure", true)
	}
	tls, _ := o.object("tls")
	for _, key := range [][2]string{{"certificate-file", "cert"}, {"private-key-file", "key"}} {
		if file := tls.str(key[0]); file != "" {
			it.tls(key[1], j.literal(file))
		}
	}
	tls.rest()
}

// conditions translates the conditions, and adds what keeps the kind's own
// expectations from demanding what Gatus does not.
func (j *job) conditions(it *item, o *object) {
	for _, n := range o.list("conditions") {
		condition, ok := scalarText(n)
		if !ok {
			j.miss(it, n, "a condition that is no text is left out")
			continue
		}
		expression, err := translate(condition, it.kind)
		if err != nil {
			j.miss(it, n, "the condition "+condition+" has no equivalent: "+err.Error())
			continue
		}
		if expression != "" {
			it.expect = append(it.expect, j.literal(expression))
		}
	}
	switch {
	case it.kind == "http" && !it.mentions("status") && !it.mentions("error"):
		it.wants("status >= 100") // Gatus takes any status
	case it.kind == "dns" && !it.mentions("rcode"):
		it.wants("rcode != ''")
	}
	if it.kind == "dns" && !it.mentions("answers") {
		it.wants("answer_count >= 0")
	}
}

// translate makes an expectation of a condition.
func translate(condition, kind string) (string, error) {
	c, err := parseCondition(condition)
	if err != nil {
		return "", err
	}
	return c.expression(kind)
}

// optionOf returns an option's value.
func (it *item) optionOf(key string) any {
	for _, f := range it.options {
		if f.key == key {
			return f.value
		}
	}
	return nil
}

// hostOf returns the host of a URL or of host:port, for names.
func hostOf(target string) string {
	if u, err := url.Parse(target); err == nil && u.Hostname() != "" {
		return u.Hostname()
	}
	if host, _, err := net.SplitHostPort(target); err == nil {
		return host
	}
	return target
}
