package importer

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"gopkg.in/yaml.v3"
)

// kumaInterval is the interval of a monitor unless it says otherwise.
const kumaInterval = time.Minute

// kuma imports the monitors of a backup of Uptime Kuma.
func kuma(j *job) error {
	root, err := j.yaml()
	if err != nil {
		return err
	}
	j.out.defaults = fields{{"interval", kumaInterval}}
	groups := make(map[string]string)
	monitors := root.list("monitorList")
	for _, n := range monitors {
		if o := j.object(nil, n, ""); o.str("type") == "group" {
			groups[o.str("id")] = o.str("name")
		}
	}
	for _, n := range monitors {
		if o := j.object(&item{}, n, ""); o.str("type") != "group" {
			j.monitor(n, groups)
		}
	}
	root.rest("version", "notificationList", "proxyList")
	if len(root.list("notificationList")) > 0 {
		j.miss(nil, root.place("notificationList"), "notificationList has no equivalent")
	}
	return nil
}

// kumaIdle are keys of a monitor that say nothing about how it is checked, that
// are always there, or that belong to a type which is left out as a whole.
var kumaIdle = regexp.MustCompile(`^(id|weight|description|pathName|path|childrenIDs|forceInactive|maintenance|includeSensitiveData|` +
	`resendInterval|dns_last_result|notificationIDList|screenshot|httpBodyEncoding|authMethod|expectedValue|jsonPath|jsonPathOperator|` +
	`mqtt.*|radius.*|grpc.*|kafka.*|docker.*|game.*|gamedig.*|database.*|pushToken|snmp.*|rabbitmq.*|remote_browser|oauth_.*|auth(Workstation|Domain)|` +
	`ping_numeric|ping_per_request_timeout|smtpSecurity|manual_status|` +
	`dns_resolve_(type|server)|hostname|port|url|keyword|invertKeyword|headers|body|basic_auth_.*|tls.*|accepted_statuscodes|maxredirects|method|` +
	`ignoreTls|expiryNotification|packetSize|ping_count|saveResponse|saveErrorResponse|responseMaxLength|ipFamily|dns_port|user_id|userId)$`)

// monitor imports one monitor.
func (j *job) monitor(n *yaml.Node, groups map[string]string) {
	it := new(item)
	o := j.object(it, n, "")
	it.name = o.str("name")
	if group := groups[o.str("parent")]; group != "" {
		it.name, it.tags = group+"/"+it.name, []string{group}
	}
	it.disabled = !o.flag("active", true)
	j.kumaTimes(it, o)
	j.kumaTags(it, o)
	if why := j.kumaKind(it, o); why != "" {
		j.skip(it, n, it.name+" is left out, for "+why)
		return
	}
	j.kumaRest(o)
	j.add(it)
}

// kumaTags imports tags, those with a value as labels.
func (j *job) kumaTags(it *item, o *object) {
	for _, t := range o.list("tags") {
		tag := j.object(it, t, "tags.")
		name, value := tag.str("name"), tag.str("value")
		switch {
		case value != "":
			it.labels.set(name, value)
		case !slices.Contains(it.tags, name):
			it.tags = append(it.tags, name)
		}
	}
}

// kumaKind imports what the monitor's type says. It returns why there is no check
// like it, if so.
func (j *job) kumaKind(it *item, o *object) (missing string) {
	inverted := o.flag("upsideDown", false)
	switch kind := o.str("type"); {
	case kind == "http" && inverted:
		return "upsideDown has no equivalent for http"
	case kind == "http" || kind == "keyword" || kind == "json-query":
		j.kumaHTTP(it, o, kind, inverted)
	case kind == "port":
		j.kumaPort(it, o, inverted)
	case kind == "ping":
		j.kumaPing(it, o, inverted)
	case (kind == "postgres" || kind == "mysql" || kind == "redis") && !inverted:
		if !j.kumaDatabase(it, o, kind) {
			return "its connection string is no URL with a host and a user"
		}
	case kind == "dns" && !inverted:
		j.kumaDNS(it, o)
	default:
		return "sonde import does not know a monitor of type " + kind
	}
	return ""
}

func (j *job) kumaPort(it *item, o *object, inverted bool) {
	it.kind = "tcp"
	it.option("host", o.str("hostname"))
	it.option("port", j.port(o.str("port")))
	if inverted {
		it.wants("error != ''")
	}
}

func (j *job) kumaPing(it *item, o *object, inverted bool) {
	it.kind = "icmp"
	it.option("host", o.str("hostname"))
	count, ok := o.number("ping_count")
	if !ok || count < 1 {
		count = 1
	}
	it.option("count", count)
	if size, ok := o.number("packetSize"); ok && size > 0 {
		it.option("size", strconv.Itoa(max(size, 24))+"B")
	}
	if inverted {
		it.wants("received == 0")
	}
}

// kumaRest names what was not imported.
func (j *job) kumaRest(o *object) {
	var idle []string
	for _, key := range o.keys {
		if kumaIdle.MatchString(key.Value) || o.vals[key.Value].Value == "false" || o.vals[key.Value].Value == "0" {
			idle = append(idle, key.Value)
		}
	}
	o.rest(idle...)
	if o.flag("expiryNotification", false) && o.item.kind == "http" {
		o.item.prefers("cert.expires_in > 21d")
	}
}

// kumaTimes takes over interval, timeout and retries. Without a timeout a
// monitor has 80 % of its interval.
func (j *job) kumaTimes(it *item, o *object) {
	interval := o.duration("interval", time.Second)
	if interval == 0 {
		interval = kumaInterval
	}
	o.interval(it, "interval", interval, kumaInterval)
	it.timeout = o.duration("timeout", time.Second)
	if it.timeout == 0 {
		it.timeout = interval * 4 / 5
	}
	retries, ok := o.number("maxretries")
	wait := o.duration("retryInterval", time.Second)
	if !ok || retries < 1 {
		return
	}
	if wait == 0 {
		wait = interval
	}
	it.retry = fields{{"attempts", min(retries, 99) + 1}, {"wait", wait}, {"factor", 1}, {"max_wait", wait}}
}

func (j *job) kumaHTTP(it *item, o *object, kind string, inverted bool) {
	it.kind = "http"
	it.option("url", j.url(it, o.str("url"), o.place("url")))
	if method := o.str("method"); method != "" && !strings.EqualFold(method, "GET") {
		it.option("method", strings.ToUpper(method))
	}
	j.kumaRequest(it, o)
	if n, ok := o.number("maxredirects"); ok && n != 10 {
		it.option("redirects", n)
	}
	if o.flag("ignoreTls", false) {
		it.tls("insecure", true)
	}
	if family := o.str("ipFamily"); family != "" {
		it.option("family", strings.TrimPrefix(family, "ipv"))
	}
	if codes := o.strs("accepted_statuscodes"); len(codes) > 0 {
		if e := statuses(codes); e == "" {
			j.miss(it, o.place("accepted_statuscodes"), "accepted_statuscodes has a range that is not understood")
		} else if e != "status == 2xx" {
			it.wants("%s", e)
		}
	}
	switch keyword := o.str("keyword"); {
	case kind == "keyword" && o.flag("invertKeyword", false) != inverted:
		it.wants("not (body contains %s)", quoted(keyword))
	case kind == "keyword":
		it.wants("body contains %s", quoted(keyword))
	case kind == "json-query":
		j.kumaQuery(it, o, inverted)
	}
}

// kumaRequest takes over headers, which a backup holds as a text, body and
// authentication.
func (j *job) kumaRequest(it *item, o *object) {
	var sent fields
	if s := o.str("headers"); s != "" {
		headers, err := parse(s)
		if err != nil || headers.Kind != yaml.MappingNode {
			j.miss(it, o.place("headers"), "headers are left out, for they are not JSON")
		} else {
			for _, n := range headers.Content {
				n.Line, n.Column = o.place("headers").Line, o.place("headers").Column
			}
			sent = j.headers(it, j.object(it, headers, "headers."))
		}
	}
	body := o.str("body")
	typed := func(f field) bool { return strings.EqualFold(f.key, "Content-Type") }
	if kind := kumaTypes()[o.str("httpBodyEncoding")]; body != "" && kind != "" && !slices.ContainsFunc(sent, typed) {
		sent.set("Content-Type", kind)
	}
	if len(sent) > 0 {
		it.option("headers", sent)
	}
	if body != "" {
		it.option("body", j.body(it, body, o.place("body")))
		j.keepMethod(it)
	}
	switch method := o.str("authMethod"); method {
	case "", "basic":
		j.auth(it, o.str("basic_auth_user"), o.str("basic_auth_pass"), o.place("basic_auth_pass"))
	case "oauth2-cc":
		style := map[string]string{"client_secret_post": "body"}[o.str("oauth_auth_method")]
		j.login(it, o, j.grant(it, o, grant{url: "oauth_token_url", id: "oauth_client_id", secret: "oauth_client_secret", scopes: "oauth_scopes", style: style}))
		if audience := o.str("oauth_audience"); audience != "" {
			j.miss(it, o.place("oauth_audience"), "oauth_audience is left out")
		}
	default:
		j.miss(it, o.place("authMethod"), "authMethod "+method+" has no equivalent")
	}
}

// kumaTypes are the media types of a body by the monitor's encoding.
func kumaTypes() map[string]string {
	return map[string]string{"json": "application/json", "form": "application/x-www-form-urlencoded", "xml": "text/xml; charset=utf-8"}
}

// kumaRange is a status code or a range of them.
var kumaRange = regexp.MustCompile(`^([1-5]\d\d)(?:-([1-5]\d\d))?$`)

// statuses makes an expectation of accepted status codes; "" for bad ones.
func statuses(codes []string) string {
	var listed, ranges []string
	for _, code := range codes {
		m := kumaRange.FindStringSubmatch(strings.TrimSpace(code))
		switch {
		case m == nil:
			return ""
		case m[2] == "":
			listed = append(listed, m[1])
		case strings.HasSuffix(m[1], "00") && m[2] == m[1][:1]+"99":
			listed = append(listed, m[1][:1]+"xx")
		default:
			ranges = append(ranges, fmt.Sprintf("status in %s..%s", m[1], m[2]))
		}
	}
	if len(listed) == 1 {
		ranges = append([]string{"status == " + listed[0]}, ranges...)
	} else if len(listed) > 1 {
		ranges = append([]string{"status in [" + strings.Join(listed, ", ") + "]"}, ranges...)
	}
	return strings.Join(ranges, " || ")
}

// kumaPath is a path of JSONata that is nothing but a path.
var kumaPath = regexp.MustCompile(`^\$?\.?([A-Za-z_][A-Za-z0-9_]*(\[\d{1,9}\])?(\.|$))+$`)

func (j *job) kumaQuery(it *item, o *object, inverted bool) {
	query, value, operator := o.str("jsonPath"), o.str("expectedValue"), o.str("jsonPathOperator")
	path, err := jsonPath(strings.TrimPrefix(strings.TrimPrefix(query, "$"), "."))
	if !kumaPath.MatchString(query) || err != nil {
		j.miss(it, o.place("jsonPath"), "the query "+query+" has no equivalent; it is written json.a.b in expect")
		return
	}
	shown := quoted(value)
	switch {
	case value == "true" || value == "false":
		shown = value
	case number.MatchString(value):
		shown = decimal(value)
	}
	switch operator {
	case "", "==":
		operator = "=="
	case "!=", "<", ">", "<=", ">=":
	case "contains":
		shown = quoted(value)
	default:
		j.miss(it, o.place("jsonPathOperator"), "the operator "+operator+" has no equivalent")
		return
	}
	it.expect = append(it.expect, plain(negated(path+" "+operator+" "+shown, inverted)))
}

func (j *job) kumaDNS(it *item, o *object) {
	it.kind = "dns"
	it.option("name", o.str("hostname"))
	kind := o.str("dns_resolve_type")
	if kind != "" {
		it.option("type", kind)
	}
	if server := o.str("dns_resolve_server"); server != "" {
		first, _, several := strings.Cut(server, ",")
		if several {
			j.miss(it, o.place("dns_resolve_server"), "of several name servers the first is asked")
		}
		if port := o.str("port"); port != "" && port != "53" {
			first += ":" + port
		}
		it.option("server", strings.TrimSpace(first))
	}
	conditions := o.list("conditions")
	if len(conditions) == 0 {
		return
	}
	c := j.object(it, conditions[0], "conditions.")
	operator, known := map[string]string{"equals": "# == ", "contains": "# contains ", "starts_with": "# startsWith ", "ends_with": "# endsWith "}[c.str("operator")]
	if len(conditions) > 1 || !known || c.str("variable") != "record" {
		j.miss(it, o.place("conditions"), "conditions have no equivalent; they are written any(answers, ...) in expect")
		return
	}
	it.wants("any(answers, %s%s)", operator, quoted(c.str("value")))
}
