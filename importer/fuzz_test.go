package importer

import (
	"strings"
	"testing"

	"gopkg.in/yaml.v3"

	"github.com/sonde-cli/sonde/check"
	"github.com/sonde-cli/sonde/config"
	"github.com/sonde-cli/sonde/expect"
	"github.com/sonde-cli/sonde/probes"
)

func facts(t testing.TB, kind string) []check.Fact {
	t.Helper()
	for _, k := range probes.Kinds() {
		if k.Name == kind {
			return k.AllFacts()
		}
	}
	t.Fatalf("no kind %s", kind)
	return nil
}

// FuzzCondition demands that what a condition of Gatus becomes is valid.
func FuzzCondition(f *testing.F) {
	for _, seed := range []string{
		"[STATUS] == 200", "[STATUS] == pat(2*)", "[STATUS] == any(200, 429)", "[RESPONSE_TIME] < 1s", "[BODY].a[0].b-c == pat(*it's*)",
		"len([BODY].x) >= 0x10", "has([BODY][3].y) == false", "[BODY] == pat(*<div id=\"u\">*)", "any(a,b) != [BODY].z", "[BODY].n > 1e309",
		"[BODY].a == [BODY].b", "[CERTIFICATE_EXPIRATION] > 48h", "[DNS_RCODE] == NOERROR", "[IP] == pat(10.*)", "[CONNECTED] != true",
		"len([BODY]) == 3", "[BODY].x == -5", "[BODY].x == NaN", "[BODY].x == 1_0", "[RESPONSE_TIME] < 99999999999999h",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, condition string) {
		for _, kind := range []string{"http", "tcp", "dns", "icmp"} {
			expression, err := translate(condition, kind)
			if err != nil || expression == "" {
				continue
			}
			if len(expression) > 4000 { // the language has a limit, and so has a loader's patience
				continue
			}
			if _, err := expect.Compile(expression, facts(t, kind)); err != nil {
				t.Errorf("%s of %q becomes %s: %v", kind, condition, expression, err)
			}
		}
	})
}

// valid demands YAML, and for what has checks a file that loads or is refused
// for a reason of its values.
func valid(t *testing.T, result *Result, err error) {
	t.Helper()
	if err != nil {
		return
	}
	var tree yaml.Node
	if err := yaml.Unmarshal(result.Text, &tree); err != nil {
		t.Fatalf("%v in\n%s", err, result.Text)
	}
	loader := config.Loader{Kinds: probes.Kinds(), Stdin: strings.NewReader(string(result.Text))}
	_, _ = loader.Load(t.Context(), "-") // a host may be odd, but nothing panics
}

func FuzzCommand(f *testing.F) {
	for _, seed := range []string{
		"check_http -H example.com -S -w 1 -c 2", "/usr/lib/check_http -I ::1 -p 80 -u '/a?b=c' -e 200,301 -k 'X: y' -f follow",
		"check_tcp -p 25 -s \"a\\\\n\" -E -e b", "check_icmp -w 1,2% -c 3,4% h", "check_smtp -H h -C a -R b", "check_dig -l x -T MX",
		"check_ssl_cert -H h -w 1", "check_http -H 'h\\ -a u:p", "check_ping --hostname=h --packets 3 -4v", "check_http -H h -C 30,x",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, line string) {
		words, err := splitWords(line)
		if err != nil {
			return
		}
		result, err := Command(words)
		valid(t, result, err)
	})
}

// FuzzImport gives every importer anything.
func FuzzImport(f *testing.F) {
	for _, seed := range []string{
		"endpoints: [{name: x, url: 'http://u:p@h/?token=$T', conditions: ['[STATUS] == 200']}]",
		"modules: {a: {prober: tcp, tcp: {tls: true, query_response: [{expect: a}, {send: !!binary AAD/}]}}}",
		"probe { name: \"x\" type: HTTP targets { host_names: \"a,[::1]:2\" } http_probe { headers { name: \"a\" value: \"b\" } } }",
		`{"monitorList": [{"type": "http", "url": "http://h", "headers": "{}", "accepted_statuscodes": ["200-299"]}]}`,
		"define command {\n command_name a\n command_line check_http -H $ARG1$\n}\ndefine service {\n use x\n host_name h\n check_command a!b\n}",
		"command[a]=check_ssh h",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, source string) {
		for _, format := range append(Formats(), "") {
			result, err := Import(Source{Name: "in", Format: format, Text: source, Targets: &Source{Name: "targets", Text: "- a"}})
			valid(t, result, err)
		}
	})
}
