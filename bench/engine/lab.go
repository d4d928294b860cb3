package main

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sonde-cli/sonde/internal/testnet"
)

// The name that the servers' certificate is for.
const certName = "bench.test"

// lab is the servers that everybody is measured against. They answer on every
// address of 127.0.0.0/8.
type lab struct {
	httpPort, httpsPort, dnsPort int
	statusPort                   int    // nginx's own numbers
	ca                           string // file
	servers                      []*process
}

// newLab starts nginx and unbound, behind the prefix of an argv.
func (b *bench) newLab(prefix ...string) (l *lab, err error) {
	l = &lab{ca: filepath.Join(b.dir, "ca.pem")}
	defer func() {
		if err != nil {
			l.close()
		}
	}()
	for _, port := range []*int{&l.httpPort, &l.httpsPort, &l.dnsPort, &l.statusPort} {
		if *port, err = freePort(); err != nil {
			return nil, err
		}
	}
	if err := b.certificate(l.ca); err != nil {
		return nil, err
	}
	nginx, unbound := filepath.Join(b.dir, "nginx.conf"), filepath.Join(b.dir, "unbound.conf")
	if err := errors.Join(write(nginx, l.nginx(b.dir)), write(unbound, l.unbound(b.dir))); err != nil {
		return nil, err
	}
	for _, argv := range [][]string{
		{"nginx", "-p", b.dir, "-e", filepath.Join(b.dir, "nginx.log"), "-c", nginx},
		{"unbound", "-d", "-c", unbound},
	} {
		p, err := b.launch(nil, slices.Concat(prefix, argv)...)
		if err != nil {
			return nil, fmt.Errorf("%s is needed as a target: %w", argv[0], err)
		}
		l.servers = append(l.servers, p)
	}
	argv := slices.Concat(prefix, []string{b.self, "wait", local(l.httpPort), local(l.httpsPort), local(l.dnsPort)})
	if _, _, err := b.complete(argv...); err != nil {
		for _, p := range l.servers {
			err = errors.Join(err, p.alive())
		}
		return nil, err
	}
	return l, nil
}

func (l *lab) close() {
	for _, p := range l.servers {
		p.stop()
	}
}

// cpu returns the CPU time that the servers have used so far.
func (l *lab) cpu() (sum time.Duration, err error) {
	for _, p := range l.servers {
		children, err := os.ReadFile(fmt.Sprintf("/proc/%[1]s/task/%[1]s/children", p.pid()))
		if err != nil {
			return 0, err
		}
		for _, pid := range append(strings.Fields(string(children)), p.pid()) {
			cpu, err := cpuOf(pid)
			if err != nil {
				return 0, err
			}
			sum += cpu
		}
	}
	return sum, nil
}

// versions names the servers.
func (b *bench) versions() string {
	return fmt.Sprintf("Targets: %s with 2 workers; unbound %s with 2 threads.\n\n",
		b.version("nginx", "-v"), strings.TrimPrefix(b.version("unbound", "-V"), "Version "))
}

// version returns the first line of what a program says of itself.
func (b *bench) version(argv ...string) string {
	out, _, _ := b.complete(argv...) // some end with a failure after it
	line, _, _ := strings.Cut(strings.TrimSpace(out), "\n")
	if line == "" {
		return argv[0] + ", version unknown"
	}
	return line
}

// certificate writes an ECDSA P-256 certificate, its key and its authority.
func (b *bench) certificate(ca string) error {
	authority, err := testnet.NewCA()
	if err != nil {
		return err
	}
	cert, err := authority.Issue(testnet.CertOptions{Names: []string{certName}})
	if err != nil {
		return err
	}
	key, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	if err != nil {
		return err
	}
	var chain []byte
	for _, der := range cert.Certificate {
		chain = append(chain, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	}
	return errors.Join(
		write(ca, string(authority.PEM())),
		write(filepath.Join(b.dir, "cert.pem"), string(chain)),
		write(filepath.Join(b.dir, "key.pem"), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}))))
}

func (l *lab) nginx(dir string) string {
	user, files := "", ""
	if os.Getuid() == 0 {
		user, files = "user root;", "worker_rlimit_nofile 100000;"
	}
	var temp strings.Builder
	for _, kind := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		fmt.Fprintf(&temp, "%s_temp_path %s/%s;\n", kind, dir, kind)
	}
	return fmt.Sprintf(`daemon off; worker_processes 2; pid %[1]s/nginx.pid; error_log %[1]s/nginx.log error; %[2]s %[3]s
events { worker_connections 40000; }
http {
access_log off; keepalive_requests 1000000000; keepalive_timeout 1h; %[4]s
server { listen 0.0.0.0:%[5]d reuseport backlog=4096; location / { return 200 "hello\n"; } }
server { listen 0.0.0.0:%[6]d ssl reuseport backlog=4096; location / { return 200 "hello\n"; }
  ssl_certificate %[1]s/cert.pem; ssl_certificate_key %[1]s/key.pem; ssl_protocols TLSv1.3; }
server { listen 127.0.0.1:%[7]d; location / { stub_status; } }
}
`, dir, user, files, temp.String(), l.httpPort, l.httpsPort, l.statusPort)
}

func (l *lab) unbound(dir string) string {
	return fmt.Sprintf(`server:
  interface-automatic: yes
  port: %[1]d
  num-threads: 2
  so-reuseport: yes
  do-ip6: no
  access-control: 127.0.0.0/8 allow
  do-daemonize: no
  chroot: ""
  username: ""
  pidfile: ""
  directory: %[2]s
  use-syslog: no
  logfile: %[2]s/unbound.log
  module-config: "iterator"
  local-zone: "bench.test." redirect
  local-data: "bench.test. 60 IN A 127.0.0.1"
remote-control:
  control-enable: no
`, l.dnsPort, dir)
}

// requests returns how many requests nginx has answered.
func (l *lab) requests() (int64, error) {
	resp, err := http.Get("http://" + local(l.statusPort) + "/")
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	var active, accepted, handled, requests int64
	_, err = fmt.Fscanf(resp.Body, "Active connections: %d \nserver accepts handled requests\n %d %d %d", &active, &accepted, &handled, &requests)
	return requests, err
}

func local(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

func write(file, text string) error { return os.WriteFile(file, []byte(text), 0o600) }

// waitFor waits until all addresses accept connections.
func waitFor(ctx context.Context, addresses []string) error {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	for _, address := range addresses {
		for {
			var d net.Dialer
			conn, err := d.DialContext(ctx, "tcp", address)
			if err == nil {
				conn.Close()
				break
			}
			if ctx.Err() != nil {
				return fmt.Errorf("nobody listens: %w", err)
			}
			if pause(ctx, 50*time.Millisecond) != nil {
				return fmt.Errorf("nobody listens: %w", err)
			}
		}
	}
	return nil
}
