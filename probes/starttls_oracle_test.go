//go:build oracle && linux

package probes

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

// startPostfix runs Postfix, which only root can.
func startPostfix(t *testing.T) (port string) {
	t.Helper()
	h := newHome(t, "")
	port = freePort(t)
	cert, key := h.key(t)
	h.directory(t, "queue", "")
	h.directory(t, "data", "postfix")
	h.file(t, "main.cf", fmt.Sprintf(`compatibility_level = 3.6
queue_directory = %[1]s/queue
data_directory = %[1]s/data
mail_owner = postfix
setgid_group = postdrop
inet_interfaces = 127.0.0.1
myhostname = mail.test
mynetworks = 127.0.0.0/8
alias_maps =
local_recipient_maps =
smtpd_tls_cert_file = %[2]s
smtpd_tls_key_file = %[3]s
smtpd_tls_security_level = may
maillog_file = /dev/stdout
`, h.dir, cert, key))
	h.file(t, "master.cf", port+` inet n - n - - smtpd
postlog unix-dgram n - n - 1 postlogd
rewrite unix - - n - - trivial-rewrite
proxymap unix - - n - - proxymap
anvil unix - - n - 1 anvil
tlsmgr unix - - n 1000? 1 tlsmgr
`)
	if err := os.Chmod(h.dir, 0o755); err != nil { // Postfix' own user reads in it
		t.Fatal(err)
	}
	h.run(t, "postfix", "-c", h.dir, "check") // makes the queue
	h.start(t, port, syscall.SIGTERM, "/usr/lib/postfix/sbin/master", "-c", h.dir, "-d")
	return port
}

// startDovecot runs Dovecot for imap or pop3.
func startDovecot(t *testing.T, protocol string) (port string) {
	t.Helper()
	h := newHome(t, "")
	port = freePort(t)
	cert, key := h.key(t)
	listener := func(name, port string) string {
		return fmt.Sprintf("service %[1]s-login {\n inet_listener %[1]s {\n port = %[2]s\n }\n inet_listener %[1]ss {\n port = 0\n }\n}\n", name, port)
	}
	config := h.file(t, "dovecot.conf", fmt.Sprintf(`base_dir = %[1]s/run
state_dir = %[1]s/state
protocols = %[2]s
listen = 127.0.0.1
log_path = /dev/stderr
ssl = yes
ssl_cert = <%[3]s
ssl_key = <%[4]s
auth_mechanisms = plain
passdb {
 driver = static
 args = nopassword=y
}
`, h.dir, protocol, cert, key)+listener(protocol, port))
	if err := os.Chmod(h.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	h.start(t, port, syscall.SIGTERM, "dovecot", "-F", "-c", config)
	return port
}

// startSlapd runs OpenLDAP without a database.
func startSlapd(t *testing.T) (port string) {
	t.Helper()
	h := newHome(t, "")
	port = freePort(t)
	cert, key := h.key(t)
	config := h.file(t, "slapd.conf", fmt.Sprintf("pidfile %s/pid\nTLSCertificateFile %s\nTLSCertificateKeyFile %s\n", h.dir, cert, key))
	h.start(t, port, syscall.SIGTERM, "slapd", "-d", "0", "-h", "ldap://127.0.0.1:"+port, "-f", config)
	return port
}

// startVsftpd runs vsftpd.
func startVsftpd(t *testing.T) (port string) {
	t.Helper()
	h := newHome(t, "")
	port = freePort(t)
	cert, key := h.key(t)
	h.directory(t, "empty", "")
	config := h.file(t, "vsftpd.conf", fmt.Sprintf(`listen=YES
listen_address=127.0.0.1
listen_port=%s
background=NO
run_as_launching_user=YES
secure_chroot_dir=%s/empty
ssl_enable=YES
rsa_cert_file=%s
rsa_private_key_file=%s
`, port, h.dir, cert, key))
	h.start(t, port, syscall.SIGTERM, "vsftpd", config)
	return port
}

// startProsody runs Prosody for the host db.test.
func startProsody(t *testing.T) (port string) {
	t.Helper()
	h := newHome(t, "prosody")
	port = freePort(t)
	cert, key := h.key(t)
	config := h.file(t, "prosody.cfg.lua", fmt.Sprintf(`data_path = %[1]q
pidfile = %[2]q
interfaces = { "127.0.0.1" }
c2s_ports = { %[3]s }
s2s_ports = {}
modules_enabled = { "tls", "saslauth" }
modules_disabled = { "s2s", "posix" }
ssl = { certificate = %[4]q, key = %[5]q }
log = { { levels = { min = "info" }, to = "console" } }
VirtualHost "db.test"
`, h.dir, h.dir+"/pid", port, cert, key))
	h.start(t, port, syscall.SIGTERM, "prosody", "--config", config, "-F")
	return port
}

// TestOracleStartTLS upgrades connections to real servers, and compares with
// openssl.
func TestOracleStartTLS(t *testing.T) {
	t.Parallel()
	for protocol, start := range map[string]func(*testing.T) string{
		"smtp":     startPostfix,
		"postgres": startPostgres,
		"mysql":    startMariaDB,
		"imap":     func(t *testing.T) string { return startDovecot(t, "imap") },
		"pop3":     func(t *testing.T) string { return startDovecot(t, "pop3") },
		"ldap":     startSlapd,
		"ftp":      startVsftpd,
		"xmpp":     startProsody,
	} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			port := start(t)
			o := atTLS(t, "127.0.0.1", port)
			o.StartTLS, o.TLS.ServerName = protocol, "db.test"
			got := look(t, o, patience)
			wantFailure(t, got, "")
			if got.Facts.Get("cert.trusted") != true || got.Facts.Get("cert.hostname_ok") != true {
				t.Fatalf("%v because %v", got.Facts, got.Because)
			}
			line := got.Reproduce()
			said := shell(t, "timeout 10 "+line)
			found := regexp.MustCompile(`New, TLSv([\d.]+),`).FindStringSubmatch(said)
			if found == nil || got.Facts.Get("tls.version") != found[1] {
				t.Errorf("tls.version is %v; %s says\n%s", got.Facts.Get("tls.version"), line, said)
			}
			_, print, _ := strings.Cut(shell(t, "timeout 10 "+line+" 2>/dev/null | openssl x509 -noout -fingerprint -sha256"), "=")
			if want := strings.ToLower(strings.ReplaceAll(print, ":", "")); got.Facts.Get("cert.sha256") != want {
				t.Errorf("cert.sha256 is %v, want %s", got.Facts.Get("cert.sha256"), want)
			}
			// Without trust in its authority both refuse.
			o.TLS.CA = ""
			if got = look(t, o, patience); got.Facts.Get("cert.trusted") != false {
				t.Errorf("trusted without its authority: %v, %v", got.Failure, got.Facts)
			}
		})
	}
}
