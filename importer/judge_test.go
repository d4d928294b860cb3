package importer_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/sonde-cli/sonde/check"
	"github.com/sonde-cli/sonde/importer"
	"github.com/sonde-cli/sonde/internal/testnet"
)

// judge measures the only check of an imported file.
func judge(t *testing.T, source string) (check.Verdict, string) {
	t.Helper()
	result, err := importer.Import(importer.Source{Name: "in", Text: source})
	if err != nil {
		t.Fatal(err)
	}
	return measure(t, result)
}

func measure(t *testing.T, result *importer.Result) (check.Verdict, string) {
	t.Helper()
	for _, w := range result.Warnings {
		t.Errorf("%s", w)
	}
	set := load(t, result)
	if len(set.Checks) != 1 {
		t.Fatalf("%d checks", len(set.Checks))
	}
	c := set.Checks[0]
	ctx, cancel := context.WithTimeout(t.Context(), c.Timeout)
	defer cancel()
	o := c.Probe.Observe(ctx)
	j := c.Judge(&o)
	return j.Verdict, fmt.Sprintf("%v in\n%s", j.Reason, result.Text)
}

// site answers with the status and body of the request's parameters.
func site(t *testing.T) string {
	t.Helper()
	s, err := testnet.ListenHTTP(nil, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Vary", "Accept")
		if r.FormValue("status") == "503" {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		_, _ = io.WriteString(w, r.FormValue("body"))
	}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return "http://" + s.Addr() + "/?"
}

const sample = `{"status": "UP", "n": 5, "ok": true, "list": [{"id": 1, "name": "john.doe"}, {"id": 2}], "a-b": {"c": "it's"}, "x": "UP"}`

// TestGatusConditions measures imported conditions. What is wanted is what
// Gatus's documentation says of them.
func TestGatusConditions(t *testing.T) {
	base := site(t)
	for _, tc := range []struct {
		condition, status, body string
		up                      bool
	}{
		{"[STATUS] == 200", "200", "", true},
		{"[STATUS] == 200", "503", "", false},
		{"[STATUS] == 503", "503", "", true},
		{"[STATUS] != 200", "503", "", true},
		{"[STATUS] < 300", "503", "", false},
		{"[STATUS] == any(200, 503)", "503", "", true},
		{"any(200, 429) == [STATUS]", "503", "", false},
		{"[STATUS] == pat(5*)", "503", "", true},
		{"[STATUS] == pat(2??)", "503", "", false},
		{"[RESPONSE_TIME] < 5000", "503", "", true},
		{"[RESPONSE_TIME] > 1m", "200", "", false},
		{"[CONNECTED] == true", "503", "", true},
		{"[CONNECTED] == false", "200", "", false},
		{"[IP] == 127.0.0.1", "200", "", true},
		{"[IP] == pat(10.*)", "200", "", false},
		{"[IP] == any(127.0.0.1, 127.0.0.2)", "503", "", true},
		{"[BODY] == hello", "200", " hello\n", true},
		{"[BODY] != hello", "200", "hello", false},
		{"[BODY] == pat(*ll*)", "200", "hello", true},
		{"[BODY] == pat(*xx*)", "200", "hello", false},
		{"[BODY] == pat(h?l*)", "200", "hello", true},
		{"[BODY] == pat(*.*.*.*)", "200", "10.0.0.1", true},
		{"[BODY] == any(a, hello)", "200", "hello", true},
		{"len([BODY]) == 5", "200", "hello", true},
		{"len([BODY]) > 5", "200", "hello", false},
		{"len([BODY]) == 2", "200", "[1, 2]", true},
		{"has([BODY]) == true", "200", "", false},
		{"[BODY].status == UP", "200", sample, true},
		{"[BODY].status == DOWN", "200", sample, false},
		{"[BODY].status != DOWN", "200", sample, true},
		{"[BODY].status == pat(U*)", "200", sample, true},
		{"[BODY].status == any(UP, OK)", "200", sample, true},
		{"[BODY].n == 5", "200", sample, true},
		{"[BODY].n == 0x5", "200", sample, true},
		{"[BODY].n >= 6", "200", sample, false},
		{"[BODY].ok == true", "200", sample, true},
		{"[BODY].list[1].id == 2", "200", sample, true},
		{"[BODY].list[0].name == pat(john*)", "200", sample, true},
		{"len([BODY].list) == 2", "200", sample, true},
		{"len([BODY].status) > 2", "200", sample, false},
		{"has([BODY].errors) == false", "200", sample, true},
		{"has([BODY].errors) == true", "200", sample, false},
		{"has([BODY].status) != true", "200", sample, false},
		{"[BODY].a-b.c == it's", "200", sample, true},
		{"[BODY].status == [BODY].x", "200", sample, true},
		{"[BODY][0].id > 1", "200", `[{"id": 2}]`, true},
		{"[body].missing == 1", "200", sample, false},
	} {
		address := base + url.Values{"status": {tc.status}, "body": {tc.body}}.Encode()
		verdict, why := judge(t, fmt.Sprintf("endpoints: [{name: x, url: %q, conditions: [%q]}]", address, tc.condition))
		if (verdict == check.Up) != tc.up {
			t.Errorf("%s of %s %q: %v, %s", tc.condition, tc.status, tc.body, verdict, why)
		}
	}
}

func TestGatusClosedPort(t *testing.T) {
	refused, err := testnet.Refuse()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = refused.Close() }()
	for condition, want := range map[string]check.Verdict{"[CONNECTED] == false": check.Up, "[CONNECTED] == true": check.Down} {
		source := fmt.Sprintf("endpoints: [{name: x, url: 'tcp://%s', conditions: [%q]}]", refused.Addr(), condition)
		if verdict, why := judge(t, source); verdict != want {
			t.Errorf("%s: %v, %s", condition, verdict, why)
		}
	}
}

// TestGatusOverOthers measures endpoints of UDP and SSH.
func TestGatusOverOthers(t *testing.T) {
	echo, err := testnet.ListenUDP(testnet.EchoUDP)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = echo.Close() }()
	mute, err := testnet.ListenUDP(func([]byte, func([]byte)) {})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = mute.Close() }()
	keys, err := testnet.SSHKeys()
	if err != nil {
		t.Fatal(err)
	}
	sshd, err := testnet.ListenTCP(testnet.SSH(keys, nil, func() { t.Error("a login") }))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = sshd.Close() }()
	for _, tc := range []struct {
		url, condition string
		want           check.Verdict
		ends           bool // at the timeout
	}{
		{"udp://" + echo.Addr(), "[BODY] == ping", check.Up, false},
		{"udp://" + echo.Addr(), "[BODY] == pong", check.Down, true},
		{"udp://" + echo.Addr(), "[CONNECTED] == true", check.Up, false},
		{"udp://" + mute.Addr(), "[CONNECTED] == true", check.Down, true},
		{"udp://" + mute.Addr(), "[CONNECTED] == false", check.Up, true},
		{"ssh://" + sshd.Addr(), "[STATUS] == 0", check.Up, false},
		{"ssh://" + sshd.Addr(), "[CONNECTED] == false", check.Down, false},
	} {
		timeout := "60s"
		if tc.ends {
			timeout = "300ms"
		}
		source := fmt.Sprintf("endpoints: [{name: x, url: %q, body: ping, client: {timeout: %s}, conditions: [%q]}]", tc.url, timeout, tc.condition)
		if verdict, why := judge(t, source); verdict != tc.want {
			t.Errorf("%s of %s: %v, %s", tc.condition, tc.url, verdict, why)
		}
	}
}

func TestGatusDNS(t *testing.T) {
	server, err := testnet.ListenDNS(func(q *testnet.DNSQuery) {
		m := q.Answer()
		switch name := q.Msg.Question[0].Name; name {
		case "here.test.":
			rr, err := dns.NewRR(name + " 60 IN A 192.0.2.7")
			if err != nil {
				panic(err) // the test's own mistake
			}
			m.Answer = append(m.Answer, rr)
		case "gone.test.":
			m.Rcode = dns.RcodeNameError
		}
		q.ReplyMsg(m)
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = server.Close() }()
	for _, tc := range []struct {
		name, condition string
		up              bool
	}{
		{"here.test", "[DNS_RCODE] == NOERROR", true},
		{"here.test", "[BODY] == 192.0.2.7", true},
		{"here.test", "[BODY] == pat(10.*)", false},
		{"here.test", "[BODY] != pat(10.*)", true},
		{"none.test", "[DNS_RCODE] == NOERROR", true},
		{"gone.test", "[DNS_RCODE] == NOERROR", false},
		{"gone.test", "[DNS_RCODE] == NXDOMAIN", true},
		{"gone.test", "[DNS_RCODE] == any(NOERROR, NXDOMAIN)", true},
	} {
		source := fmt.Sprintf("endpoints: [{name: x, url: %q, dns: {query-name: %s, query-type: A}, conditions: [%q]}]", server.Addr(), tc.name, tc.condition)
		if verdict, why := judge(t, source); (verdict == check.Up) != tc.up {
			t.Errorf("%s of %s: %v, %s", tc.condition, tc.name, verdict, why)
		}
	}
}

// TestBlackboxModules measures modules as blackbox_exporter documents them.
func TestBlackboxModules(t *testing.T) {
	base := site(t)
	for _, tc := range []struct {
		http, query string
		up          bool
	}{
		{"{}", "status=200", true},
		{"{}", "status=503", false},
		{"{valid_status_codes: [200, 503]}", "status=503", true},
		{"{fail_if_ssl: true}", "", true},
		{"{fail_if_not_ssl: true}", "", false},
		{"{valid_http_versions: ['HTTP/1.1']}", "", true},
		{"{valid_http_versions: ['HTTP/2.0']}", "", false},
		{"{fail_if_body_matches_regexp: [a, ell]}", "body=hello", false},
		{"{fail_if_body_not_matches_regexp: [ell]}", "body=hello", true},
		{"{fail_if_body_not_matches_regexp: [ell, xyz]}", "body=hello", false},
		{"{fail_if_header_matches: [{header: Vary, regexp: Acc}]}", "", false},
		{"{fail_if_header_matches: [{header: None, regexp: Acc}]}", "", false},
		{"{fail_if_header_matches: [{header: None, regexp: Acc, allow_missing: true}]}", "", true},
		{"{fail_if_header_not_matches: [{header: Vary, regexp: Acc}]}", "", true},
		{"{fail_if_header_not_matches: [{header: None, regexp: Acc, allow_missing: true}]}", "", true},
	} {
		result, err := importer.Import(importer.Source{
			Text:    fmt.Sprintf("modules: {m: {prober: http, http: %s}}", tc.http),
			Targets: &importer.Source{Text: fmt.Sprintf("- %q", base+tc.query)},
		})
		if err != nil {
			t.Fatal(err)
		}
		if verdict, why := measure(t, result); (verdict == check.Up) != tc.up {
			t.Errorf("%s of %s: %v, %s", tc.http, tc.query, verdict, why)
		}
	}
}

// TestPlugins measures command lines, with the verdicts that stand for the
// plugins' OK, WARNING and CRITICAL.
func TestPlugins(t *testing.T) {
	base, err := url.Parse(site(t))
	if err != nil {
		t.Fatal(err)
	}
	greeter, err := testnet.ListenTCP(testnet.Say("SSH-2.0-Test\r\n"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = greeter.Close() }()
	_, tcp, err := net.SplitHostPort(greeter.Addr())
	if err != nil {
		t.Fatal(err)
	}
	var ports []string // of UDP: an echo, and a clock that is 90 seconds ahead
	for _, handler := range []func([]byte, func([]byte)){testnet.EchoUDP, testnet.NTP{Stratum: 1, Ahead: 90 * time.Second}.Serve} {
		server, err := testnet.ListenUDP(handler)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = server.Close() }()
		_, port, err := net.SplitHostPort(server.Addr())
		if err != nil {
			t.Fatal(err)
		}
		ports = append(ports, port)
	}
	web := "check_http -H 127.0.0.1 -p " + base.Port() + " -u /?body=hello"
	for line, want := range map[string]check.Verdict{
		web:                        check.Up,
		web + "&status=503":        check.Down,
		web + "&status=503 -e 503": check.Up,
		web + " -s ell":            check.Up,
		web + " -s xyz":            check.Down,
		web + " -R HEL":            check.Up,
		web + " -r HEL":            check.Down,
		web + " -w 60 -c 120":      check.Up,
		web + " -w 0.000001 -c 60": check.Degraded,
		web + " -c 0.000001":       check.Down,
		web + " -e 204":            check.Down,
		"check_tcp -H 127.0.0.1 -p " + tcp + " -e SSH-":                 check.Up,
		"check_tcp -H 127.0.0.1 -p " + tcp + " -e FTP -t 1":             check.Down,
		"check_tcp -H 127.0.0.1 -p " + tcp + " -e FTP -e SSH":           check.Up,
		"check_udp -H 127.0.0.1 -p " + ports[0] + " -s ping -e pi":      check.Up,
		"check_udp -H 127.0.0.1 -p " + ports[0] + " -s ping -e no -t 1": check.Down,
		"check_ntp_time -H 127.0.0.1 -p " + ports[1]:                    check.Degraded,
		"check_ntp_time -H 127.0.0.1 -w 1 -c 2 -p " + ports[1]:          check.Down,
		"check_ntp_time -H 127.0.0.1 -w 95 -c 99 -p " + ports[1]:        check.Up,
		"check_ssh -p " + tcp + " 127.0.0.1":                            check.Up,
		"check_ssh -t 1 -r OpenSSH -p " + tcp + " -H 127.0.0.1":         check.Down,
	} {
		result, err := importer.Command(strings.Fields(line))
		if err != nil {
			t.Fatal(err)
		}
		if verdict, why := measure(t, result); verdict != want {
			t.Errorf("%s: %v, %s", line, verdict, why)
		}
	}
}

// TestKumaMonitors measures monitors of a backup.
func TestKumaMonitors(t *testing.T) {
	base := site(t)
	for _, tc := range []struct {
		monitor, query string
		up             bool
	}{
		{`"type": "http", "accepted_statuscodes": ["200-299"]`, "status=503", false},
		{`"type": "http", "accepted_statuscodes": ["200-299", "500-504"]`, "status=503", true},
		{`"type": "keyword", "keyword": "ell"`, "body=hello", true},
		{`"type": "keyword", "keyword": "ell", "invertKeyword": true`, "body=hello", false},
		{`"type": "json-query", "jsonPath": "status", "expectedValue": "UP"`, url.Values{"body": {sample}}.Encode(), true},
		{`"type": "json-query", "jsonPath": "$.list[1].id", "expectedValue": "3"`, url.Values{"body": {sample}}.Encode(), false},
		{`"type": "json-query", "jsonPath": "$.n", "jsonPathOperator": ">", "expectedValue": "4"`, url.Values{"body": {sample}}.Encode(), true},
	} {
		source := fmt.Sprintf(`{"monitorList": [{"name": "x", "url": %q, %s}]}`, base+tc.query, tc.monitor)
		if verdict, why := judge(t, source); (verdict == check.Up) != tc.up {
			t.Errorf("%s of %s: %v, %s", tc.monitor, tc.query, verdict, why)
		}
	}
}

// TestCloudproberValidators measures probes of text protobuf.
func TestCloudproberValidators(t *testing.T) {
	base, err := url.Parse(site(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		query, validator string
		up               bool
	}{
		{"status=503", "", true},
		{"status=503", `http_validator { success_status_codes: "200-299" }`, false},
		{"status=503", `http_validator { failure_status_codes: "400-599" }`, false},
		{"body=hello", `regex: "ell"`, true},
		{"body=hello", `regex: "xyz"`, false},
		{"", `http_validator { success_header { name: "Vary" } }`, true},
		{"", `http_validator { failure_header { name: "vary" value_regex: "Acc" } }`, false},
		{"", `http_validator { failure_header { name: "none" } }`, true},
	} {
		if tc.validator != "" {
			tc.validator = "validator { name: \"v\" " + tc.validator + " }"
		}
		source := fmt.Sprintf("probe { name: \"x\" type: HTTP interval: \"10s\" timeout: %q targets { host_names: \"127.0.0.1\" }\nhttp_probe { port: %s relative_url: %q }\n%s }",
			time.Minute, base.Port(), "/?"+tc.query, tc.validator)
		if verdict, why := judge(t, source); (verdict == check.Up) != tc.up {
			t.Errorf("%s of %s: %v, %s", tc.validator, tc.query, verdict, why)
		}
	}
}
