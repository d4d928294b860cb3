//go:build oracle && !windows

package cmd

import (
	"bytes"
	"io"
	"net/http"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sonde-cli/sonde/internal/testnet"
)

// sondeIn puts sonde into the folder and returns its path.
func sondeIn(t *testing.T, dir string) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "sonde")
	if err := os.Symlink(self, path); err != nil {
		t.Fatal(err)
	}
	return path
}

// listen returns the address of an HTTP server on loopback.
func listen(t *testing.T) string {
	t.Helper()
	server, err := testnet.ListenHTTP(nil, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	return server.Addr()
}

const nagiosMain = `log_file=DIR/nagios.log
cfg_file=DIR/objects.cfg
object_cache_file=DIR/objects.cache
status_file=DIR/status.dat
status_update_interval=1
nagios_user=USER
nagios_group=GROUP
check_external_commands=0
command_file=DIR/nagios.cmd
query_socket=DIR/nagios.qh
lock_file=DIR/nagios.lock
temp_file=DIR/nagios.tmp
temp_path=DIR
event_broker_options=0
use_syslog=0
check_result_path=DIR
check_result_reaper_frequency=1
retain_state_information=0
interval_length=1
check_for_updates=0
enable_notifications=0
execute_host_checks=0
service_inter_check_delay_method=n
`

// nagiosObjects has the command of docs/reports.md.
const nagiosObjects = `define timeperiod {
  timeperiod_name never
  alias           never
}
define timeperiod {
  timeperiod_name always
  alias           always
  sunday          00:00-24:00
  monday          00:00-24:00
  tuesday         00:00-24:00
  wednesday       00:00-24:00
  thursday        00:00-24:00
  friday          00:00-24:00
  saturday        00:00-24:00
}
define command {
  command_name none
  command_line /bin/true
}
define contact {
  contact_name                  nobody
  host_notification_period      never
  service_notification_period   never
  host_notification_commands    none
  service_notification_commands none
}
define command {
  command_name sonde
  command_line SONDE run $ARG1$ --exit-style nagios --report nagios --timeout 50s
}
define host {
  host_name           here
  address             127.0.0.1
  max_check_attempts  1
  contacts            nobody
  notification_period never
}
define service {
  name                sonde-service
  register            0
  host_name           here
  max_check_attempts  1
  check_interval      1
  retry_interval      1
  check_period        always
  notification_period never
  contacts            nobody
}
`

// nagiosChecks gives each service a file of one check, and what Nagios must make
// of it.
func nagiosChecks(addr string) map[string]string {
	host, port, _ := strings.Cut(addr, ":")
	at := "{host: " + host + ", port: " + port + "}"
	return map[string]string{
		"well":    "{name: 'w e=l|l', tcp: " + at + ", prefer: ['latency < 9s'], expect: ['latency < 99s']}",
		"slow":    "{name: slow, tcp: " + at + ", prefer: ['latency < 1ns']}",
		"gone":    "{name: gone, tcp: {host: 127.0.0.1, port: 1}}",
		"mistake": "{name: mistake, tpc: " + at + "}",
	}
}

// TestOracleNagios lets a real Nagios run sonde as its plugin and reads from its
// status file what it made of the exit code and the output.
func TestOracleNagios(t *testing.T) {
	services := startNagios(t, nagiosChecks(listen(t)))
	for name, want := range map[string][2]string{
		"well":    {"0", "SONDE OK - 1 check: 1 up"},
		"slow":    {"1", "SONDE WARNING - 1 check: 1 degraded"},
		"gone":    {"2", "SONDE CRITICAL - 1 check: 1 down"},
		"mistake": {"3", "SONDE UNKNOWN - "},
	} {
		s := services[name]
		if s["current_state"] != want[0] || !strings.HasPrefix(s["plugin_output"], want[1]) {
			t.Errorf("%s: state %s, output %q, want %s, %q", name, s["current_state"], s["plugin_output"], want[0], want[1])
		}
	}
	if long := services["gone"]["long_plugin_output"]; !strings.Contains(long, "down gone connect.refused") {
		t.Errorf("long output %q", long)
	}
	got := perfdata(t, services["well"]["performance_data"])
	want := []string{
		"up 1  - - 0 1", "degraded 0  - - 0 1", "down 0  - - 0 1", "unknown 0  - - 0 1", "flaky 0  - - 0 1",
		"w e_l¦l SOME s 9.000000 99.000000 0 -",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("performance data as Monitoring::Plugin reads it (-want +got):\n%s", diff)
	}
}

// startNagios runs Nagios with a service for each file of checks, until it has
// checked all, and returns what its status file says of them.
func startNagios(t *testing.T, checks map[string]string) map[string]map[string]string {
	t.Helper()
	dir := t.TempDir()
	objects := strings.ReplaceAll(nagiosObjects, "SONDE", sondeIn(t, dir))
	for name, text := range checks {
		file := filepath.Join(dir, name+".yaml")
		write(t, file, "version: 1\nchecks:\n  - "+text+"\n")
		objects += "define service {\n  use sonde-service\n  service_description " + name + "\n  check_command sonde!" + file + "\n}\n"
	}
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	group, err := user.LookupGroupId(me.Gid)
	if err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(dir, "nagios.cfg")
	write(t, config, strings.NewReplacer("DIR", dir, "USER", me.Username, "GROUP", group.Name).Replace(nagiosMain))
	write(t, filepath.Join(dir, "objects.cfg"), objects)
	if out, err := exec.Command("nagios4", "-v", config).CombinedOutput(); err != nil {
		t.Fatalf("nagios4 -v: %v\n%s", err, out)
	}

	var out safeBuffer
	nagios := exec.Command("nagios4", config)
	nagios.Stdout, nagios.Stderr = &out, &out
	if err := nagios.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = nagios.Process.Signal(syscall.SIGTERM)
		_ = nagios.Wait()
		if t.Failed() {
			t.Logf("nagios4: %s", &out)
		}
	}()
	var services map[string]map[string]string
	eventually(t, "Nagios checks all services", func() bool {
		services = nagiosStatus(filepath.Join(dir, "status.dat"))
		for name := range checks {
			if services[name]["has_been_checked"] != "1" {
				return false
			}
		}
		return true
	})
	return services
}

// nagiosStatus reads the blocks of services, key=value on each line.
func nagiosStatus(path string) map[string]map[string]string {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil // not there yet
	}
	services := make(map[string]map[string]string)
	for _, block := range strings.Split(string(text), "\nservicestatus {\n")[1:] {
		block, _, _ = strings.Cut(block, "\n\t}")
		values := make(map[string]string)
		for line := range strings.Lines(block) {
			key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
			values[key] = value
		}
		services[values["service_description"]] = values
	}
	return services
}

// perfdata lets Perl's library of plugins read performance data: label, value,
// unit, warning, critical, minimum and maximum of each. A latency's value is
// SOME.
func perfdata(t *testing.T, text string) []string {
	t.Helper()
	const script = `use Monitoring::Plugin::Performance;
for (Monitoring::Plugin::Performance->parse_perfstring($ARGV[0])) {
  my $value = $_->uom eq "s" && $_->value > 0 ? "SOME" : $_->value;
  print join(" ", $_->label, $value, $_->uom, map { defined $_ && $_ ne "" ? $_ : "-" } $_->warning, $_->critical, $_->min, $_->max), "\n";
}`
	out, err := exec.Command("perl", "-e", script, text).CombinedOutput()
	if err != nil {
		t.Fatalf("perl: %v\n%s", err, out)
	}
	return strings.Split(strings.TrimSpace(string(out)), "\n")
}

// TestOracleNodeExporter lets a real node_exporter serve what was written into
// the folder that it collects from.
func TestOracleNodeExporter(t *testing.T) {
	dir := t.TempDir()
	sonde := sondeIn(t, t.TempDir())
	addr := start(t, exec.Command("prometheus-node-exporter", "--collector.disable-defaults", "--collector.textfile",
		"--collector.textfile.directory="+dir, "--web.disable-exporter-metrics", "--web.listen-address=127.0.0.1:0"), `address=(127[0-9.:]+)`)
	web := listen(t)
	for i, file := range []string{"first.prom", "second.prom"} { // equal families in two files are one
		target := []string{"http://" + web + "/", "tcp://127.0.0.1:1"}[i]
		cmd := exec.Command(sonde, "check", target, "--report", "prometheus="+filepath.Join(dir, file))
		if out, _ := cmd.CombinedOutput(); cmd.ProcessState.ExitCode() != i {
			t.Fatalf("sonde: %s\n%s", cmd.ProcessState, out)
		}
	}
	response, err := http.Get("http://" + addr + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"node_textfile_scrape_error 0\n",
		`probe_success{check="http://` + web + `/",kind="http",target="http://` + web + `/"} 1` + "\n",
		`probe_http_status_code{check="http://` + web + `/",kind="http",target="http://` + web + `/"} 200` + "\n",
		`probe_success{check="tcp://127.0.0.1:1",kind="tcp",target="127.0.0.1:1"} 0` + "\n",
		`sonde_reason_info{check="tcp://127.0.0.1:1",code="connect.refused",kind="tcp",target="127.0.0.1:1"} 1` + "\n",
	} {
		if !bytes.Contains(body, []byte(want)) {
			t.Errorf("no %q in:\n%s", want, body)
		}
	}
}
