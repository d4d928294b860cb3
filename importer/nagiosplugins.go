package importer

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// plugin is what is known of a plugin: its options, see flags.parse, and how
// they become a check.
type plugin struct {
	options string
	read    func(*flags) error
}

var errHost = errors.New("it names no host")

const (
	commonOptions = "H=hostname t=timeout w=warning c=critical v/verbose 4/use-ipv4 6/use-ipv6 "
	tcpOptions    = commonOptions + "p=port s=send e=expect q=quit S/ssl D=certificate E/escape A/all M=mismatch r=refuse j/jail m=maxbytes d=delay"
	httpOptions   = commonOptions + "I=IP-address p=port u=url S:ssl x/sni e=expect s=string r=regex l/linespan R=eregi m=pagesize " +
		"P=post j=method a=authorization b=proxy-authorization k=header A=useragent T=content-type C=certificate f=onredirect N/no-body " +
		"d=header-string M=max-age E/extended-perfdata L/link J=client-cert K=private-key"
	ntpOptions  = commonOptions + "p=port q/quiet o=time-offset d=delay k=retries"
	pingOptions = commonOptions + "p=packets n=number L/link i=interval I=max_interval b=bytes l=ttl s=source m=minhosts"
)

// plugins are those that can be imported.
func plugins() map[string]plugin {
	banner := func(port int, expect string, tls bool) plugin {
		return plugin{tcpOptions, func(f *flags) error { return tcpPlugin(f, port, expect, tls) }}
	}
	return map[string]plugin{
		"check_http":     {httpOptions, httpPlugin},
		"check_curl":     {httpOptions, httpPlugin},
		"check_tcp":      banner(0, "", false),
		"check_ftp":      banner(21, "220", false),
		"check_imap":     banner(143, "* OK", false),
		"check_simap":    banner(993, "* OK", true),
		"check_pop":      banner(110, "+OK", false),
		"check_spop":     banner(995, "+OK", true),
		"check_ssmtp":    banner(465, "220", true),
		"check_smtp":     {commonOptions + "p=port e=expect f=from C=command R=response F=fqdn S/starttls D=certificate A=authtype U=authuser P=authpass q/ignore-quit-failure", smtpPlugin},
		"check_ssh":      {commonOptions + "p=port r=remote-version P=remote-protocol", sshPlugin},
		"check_udp":      {commonOptions + "p=port s=send e=expect q=quit E/escape A/all M=mismatch", udpPlugin},
		"check_ntp_time": {ntpOptions, ntpPlugin},
		"check_dns":      {commonOptions + "s=server a=expected-address A/expect-authority q=querytype n/accept-cname", dnsPlugin},
		"check_dig":      {commonOptions + "p=port l=query_address T=record_type a=expected_address A=dig-arguments", digPlugin},
		"check_ping":     {pingOptions, pingPlugin},
		"check_icmp":     {pingOptions, pingPlugin},
		"check_fping":    {pingOptions, pingPlugin},
		"check_ssl_cert": {commonOptions + "p=port n=cn r=rootcert C=clientcert K=clientkey s/selfsigned A/noauth u=url P=protocol", certPlugin},
	}
}

func pluginNames() []string { return slices.Sorted(maps.Keys(plugins())) }

// httpPlugin reads check_http, which verifies no certificate and takes a
// redirect for OK, an error of the client for a warning.
func httpPlugin(f *flags) error {
	it := f.item
	host, address := f.first("H", ""), f.first("I", "")
	if host == "" && address == "" {
		return errHost
	}
	if host == "" {
		host, address = address, ""
	}
	f.common()
	if f.has("C") {
		return f.certificate(host, f.first("p", "443"), f.first("C", ""))
	}
	it.kind = "http"
	scheme, tls := "http", f.has("S")
	if tls {
		scheme = "https"
	}
	f.all("x") // SNI is always sent
	port := f.first("p", "")
	if strings.Contains(host, ":") && !strings.HasPrefix(host, "[") && strings.Count(host, ":") > 1 {
		host = "[" + host + "]"
	}
	if port != "" {
		host += ":" + port
	}
	uri := f.first("u", "/")
	if !strings.HasPrefix(uri, "/") {
		uri = "/" + uri
	}
	it.option("url", f.job.url(it, scheme+"://"+host+uri, f.at))
	if address != "" {
		it.option("address", address)
	}
	f.request()
	if tls {
		f.unverified()
		if version := strings.TrimSuffix(f.first("S", ""), "+"); len(version) == len("1.2") {
			it.tls("min_version", text(version))
		}
	}
	f.redirects()
	f.response()
	f.thresholds()
	return nil
}

// request reads what is sent.
func (f *flags) request() {
	it := f.item
	if method := f.first("j", ""); method != "" {
		it.option("method", method)
	}
	var headers fields
	for _, h := range f.all("k") {
		name, value, _ := strings.Cut(h, ":")
		headers.set(name, f.job.header(it, name, strings.TrimSpace(value), f.at))
	}
	if agent := f.first("A", ""); agent != "" {
		headers.set("User-Agent", agent)
	}
	if kind := f.first("T", ""); kind != "" {
		headers.set("Content-Type", kind)
	}
	if len(headers) > 0 {
		it.option("headers", headers)
	}
	if body := f.first("P", ""); body != "" {
		it.option("body", f.job.body(it, body, f.at))
	}
	if login := f.first("a", ""); login != "" {
		user, password, _ := strings.Cut(login, ":")
		f.job.auth(it, user, password, f.at)
	}
	for _, key := range [][2]string{{"J", "cert"}, {"K", "key"}} {
		if file := f.first(key[0], ""); file != "" {
			it.tls(key[1], file)
		}
	}
}

// redirects reads what a redirect means.
func (f *flags) redirects() {
	follow := f.first("f", "ok")
	if follow != "follow" && follow != "sticky" && follow != "stickyport" {
		f.item.option("redirects", 0)
	}
	if f.has("e") {
		f.statusLine()
		return
	}
	switch follow {
	case "warning":
		f.item.prefers("status < 300")
	case "critical":
		f.item.wants("status < 300 || status >= 400")
	}
	f.item.prefers("status < 400")
	f.item.wants("status < 500")
}

// statusLine reads what the status line must begin with, or have in it.
func (f *flags) statusLine() {
	var codes []string
	for part := range strings.SplitSeq(f.first("e", ""), ",") {
		code := ""
		for word := range strings.FieldsSeq(part) {
			if n, err := strconv.Atoi(word); err == nil && n >= 100 && n <= 599 {
				code = strconv.Itoa(n)
			}
		}
		if code == "" {
			f.job.miss(f.item, f.at, f.plugin+" -e is left out where it has no status of three digits")
			continue
		}
		codes = append(codes, code)
	}
	if len(codes) > 0 {
		f.item.wants("status in [%s]", strings.Join(codes, ", "))
		return
	}
	f.item.wants("status >= 100")
}

// response reads what the answer must be like.
func (f *flags) response() {
	for _, s := range f.all("s") {
		f.item.wants("body contains %s", quoted(s))
	}
	flags := ""
	if f.has("l") {
		flags = "(?s)"
	}
	for _, re := range f.all("r") {
		f.job.matches(f.item, f.at, "body matches %s", flags+re)
	}
	for _, re := range f.all("R") {
		f.job.matches(f.item, f.at, "body matches %s", "(?i)"+flags+re)
	}
	if size := f.first("m", ""); size != "" {
		low, high, both := strings.Cut(size, ":")
		if n, err := strconv.ParseUint(low, 10, 40); err == nil {
			f.item.wants("size >= %d", n)
		}
		if n, err := strconv.ParseUint(high, 10, 40); err == nil && both && n > 0 {
			f.item.wants("size <= %d", n)
		}
	}
}

// certificate makes a check of a certificate alone.
func (f *flags) certificate(host, port, days string) error {
	it := f.item
	it.kind = "tcp"
	it.option("host", host)
	it.option("port", f.job.port(port))
	it.option("tls", fields{})
	if f.plugin != "check_ssl_cert" {
		f.unverified()
	}
	warning, critical, _ := strings.Cut(days, ",")
	f.days(warning, critical)
	for _, short := range []string{"S", "x", "I"} {
		f.all(short)
	}
	return nil
}

// unverified makes TLS as most plugins do it.
func (f *flags) unverified() {
	f.item.tls("insecure", true)
	f.job.remark(f.item, f.plugin+" verifies no certificate; remove insecure to do so")
}

// days sets how long a certificate must last.
func (f *flags) days(warning, critical string) {
	if n, err := strconv.ParseUint(warning, 10, 16); err == nil {
		f.item.prefers("cert.expires_in > %dd", n)
	}
	n, _ := strconv.ParseUint(critical, 10, 16) // none is 0: not expired
	f.item.wants("cert.expires_in > %dd", n)
}

func tcpPlugin(f *flags, port int, expect string, tls bool) error {
	it := f.item
	host := f.first("H", "localhost")
	p := f.first("p", "")
	if p == "" && port == 0 {
		return errors.New("it names no port")
	}
	if p == "" {
		p = strconv.Itoa(port)
	}
	f.common()
	if f.has("D") {
		f.all("S")
		return f.certificate(host, p, f.first("D", ""))
	}
	it.kind = "tcp"
	it.option("host", host)
	it.option("port", f.job.port(p))
	if tls || f.has("S") {
		f.unverified()
	}
	wanted := f.all("e")
	if len(wanted) == 0 && expect != "" {
		wanted = []string{expect}
	}
	step := fields{}
	if s := f.first("s", ""); s != "" {
		if f.has("E") {
			s = unescape(s)
		}
		step.set("send", s)
	}
	if len(wanted) > 0 {
		all := make([]string, len(wanted))
		for i, w := range wanted {
			all[i] = regexp.QuoteMeta(w)
		}
		step.set("expect", "^(?:"+strings.Join(all, "|")+")")
		if len(all) == 1 {
			step[len(step)-1].value = "^" + all[0]
		}
	}
	if len(step) > 0 {
		it.option("steps", []fields{step})
	}
	f.all("q") // good manners, which decide nothing
	f.all("E")
	f.thresholds()
	return nil
}

// udpPlugin reads check_udp, which is check_tcp with datagrams.
func udpPlugin(f *flags) error {
	if !f.has("s") || !f.has("e") {
		return errors.New("it needs -s and -e")
	}
	err := tcpPlugin(f, 0, "", false)
	f.item.kind = "udp"
	return err
}

// ntpPlugin reads check_ntp_time, which has thresholds of its own.
func ntpPlugin(f *flags) error {
	if f.first("H", "") == "" {
		return errHost
	}
	f.common()
	f.item.kind = "ntp"
	f.item.option("host", f.first("H", ""))
	if port := f.first("p", ""); port != "" {
		f.item.option("port", f.job.port(port))
	}
	warning, critical := time.Minute, 2*time.Minute
	if d, ok := f.seconds("w"); ok {
		warning = d
	}
	if d, ok := f.seconds("c"); ok {
		critical = d
	}
	f.item.prefers("off_by <= %s", duration(warning))
	f.item.wants("off_by <= %s", duration(critical))
	return nil
}

// unescape replaces \n, \r, \t and \\.
func unescape(s string) string {
	return strings.NewReplacer(`\n`, "\n", `\r`, "\r", `\t`, "\t", `\\`, `\`).Replace(s)
}

func smtpPlugin(f *flags) error {
	if f.has("D") {
		return errors.New("STARTTLS has no equivalent")
	}
	if f.first("H", "") == "" {
		return errHost
	}
	f.common()
	it := f.item
	it.kind = "tcp"
	it.option("host", f.first("H", ""))
	it.option("port", f.job.port(f.first("p", "25")))
	steps := []fields{
		{{"expect", "^" + regexp.QuoteMeta(f.first("e", "220"))}},
		{{"send", "EHLO " + f.first("F", "localhost") + "\r\n"}, {"expect", "(?m)^250 "}},
	}
	if from := f.first("f", ""); from != "" {
		steps = append(steps, fields{{"send", "MAIL FROM:<" + from + ">\r\n"}, {"expect", "(?m)^250 "}})
	}
	replies := f.all("R")
	for i, c := range f.all("C") {
		step := fields{{"send", c + "\r\n"}}
		if i < len(replies) {
			step.set("expect", "(?m)^"+regexp.QuoteMeta(replies[i]))
		}
		steps = append(steps, step)
	}
	it.option("steps", append(steps, fields{{"send", "QUIT\r\n"}}))
	f.all("q")
	f.thresholds()
	return nil
}

func sshPlugin(f *flags) error {
	host := f.first("H", f.positional())
	if host == "" {
		return errHost
	}
	f.common()
	f.item.kind = "tcp"
	f.item.option("host", host)
	f.item.option("port", f.job.port(f.first("p", "22")))
	expect := "^SSH-"
	if v := f.first("r", ""); v != "" {
		expect = "^SSH-[^-]+-" + regexp.QuoteMeta(v)
	}
	f.item.option("steps", []fields{{{"expect", expect}}})
	return nil
}

func dnsPlugin(f *flags) error {
	f.item.kind = "dns"
	name := f.first("H", "")
	if name == "" {
		return errHost
	}
	return f.question(name, strings.ToUpper(f.first("q", "A")), f.first("s", ""), f.all("a"))
}

func digPlugin(f *flags) error {
	f.item.kind = "dns"
	name := f.first("l", "")
	if name == "" {
		return errors.New("it asks for no name")
	}
	server := f.first("H", "")
	if port := f.first("p", ""); port != "" && server != "" {
		server += ":" + port
	}
	return f.question(name, strings.ToUpper(f.first("T", "A")), server, f.all("a"))
}

func (f *flags) question(name, kind, server string, wanted []string) error {
	f.common()
	it := f.item
	it.option("name", name)
	it.option("type", kind)
	if server != "" {
		it.option("server", server)
	}
	for _, w := range wanted {
		for one := range strings.SplitSeq(w, ",") {
			it.wants("any(answers, # contains %s)", quoted(one))
		}
	}
	if f.plugin == "check_dns" && f.has("A") {
		it.wants("authoritative")
	}
	f.thresholds()
	return nil
}

// pingPlugin reads check_ping, check_icmp and check_fping, whose thresholds are
// a time in milliseconds and a loss: 100,20%.
func pingPlugin(f *flags) error {
	it := f.item
	host := f.first("H", f.positional())
	if host == "" {
		return errHost
	}
	if len(f.args) > 1 {
		return errors.New("it pings several hosts")
	}
	f.common()
	it.kind = "icmp"
	it.option("host", host)
	count, err := strconv.Atoi(f.first("p", f.first("n", "5")))
	if err != nil || count < 1 || count > 1000 {
		count = 5
	}
	it.option("count", count)
	if n, err := strconv.Atoi(f.first("b", "")); err == nil {
		it.option("size", strconv.Itoa(max(n, 24))+"B")
	}
	if n, err := strconv.Atoi(f.first("l", "")); err == nil && n > 0 {
		it.option("ttl", n)
	}
	for short, add := range map[string]func(string, ...any){"w": it.prefers, "c": it.wants} {
		value := f.first(short, "")
		if value == "" {
			continue
		}
		rtt, loss, _ := strings.Cut(value, ",")
		if ms, err := strconv.ParseFloat(strings.TrimSuffix(rtt, "ms"), 64); err == nil && ms > 0 && ms < 1e9 {
			add("rtt.avg < %s", duration(time.Duration(ms*float64(time.Millisecond))))
		}
		if percent, err := strconv.ParseFloat(strings.TrimSuffix(loss, "%"), 64); err == nil && percent >= 0 && percent <= 100 {
			add("loss < %s", strconv.FormatFloat(percent/100, 'f', -1, 64))
		}
	}
	return nil
}

func certPlugin(f *flags) error {
	host := f.first("H", f.positional())
	if host == "" {
		return errHost
	}
	f.common()
	it := f.item
	if err := f.certificate(host, f.first("p", "443"), fmt.Sprintf("%s,%s", f.first("w", "20"), f.first("c", "15"))); err != nil {
		return err
	}
	for _, key := range [][2]string{{"r", "ca"}, {"C", "cert"}, {"K", "key"}, {"n", "server_name"}} {
		if v := f.first(key[0], ""); v != "" {
			it.tls(key[1], v)
		}
	}
	return nil
}
