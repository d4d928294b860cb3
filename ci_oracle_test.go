//go:build oracle && linux

package main

import (
	"crypto/tls"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/sonde-cli/sonde/internal/testnet"
)

// TestOracleActionlint lets actionlint read the workflows of docs/ci.md, and
// through them the action.
func TestOracleActionlint(t *testing.T) {
	actionlint, err := exec.LookPath("actionlint")
	if err != nil {
		t.Fatal(err)
	}
	project := t.TempDir()
	write := func(name, text string) {
		path := filepath.Join(project, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(".git/HEAD", "ref: refs/heads/main\n") // which makes it a project
	write("tools/sonde/action.yml", page(t, "action.yml"))
	var workflows []string
	for _, text := range blocks(page(t, "docs/ci.md"), "yaml") {
		if strings.Contains(text, "runs-on:") {
			name := filepath.Join(".github/workflows", string(rune('a'+len(workflows)))+".yaml")
			write(name, text)
			workflows = append(workflows, filepath.Join(project, name))
		}
	}
	if len(workflows) != 2 {
		t.Fatalf("%d workflows", len(workflows))
	}
	lint := exec.Command(actionlint, workflows...)
	lint.Dir = project
	if out, err := lint.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestOracleScratch runs the binary with nothing around it but what the
// Dockerfiles put there: TLS with the bundle, and a time zone.
func TestOracleScratch(t *testing.T) {
	for _, name := range []string{"Dockerfile", "packaging/Dockerfile"} {
		if text := page(t, name); !strings.Contains(text, "FROM scratch\n") || !strings.Contains(text, "/etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/\n") {
			t.Errorf("%s is another image than this test's:\n%s", name, text)
		}
	}
	authority, err := testnet.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	cert, err := authority.Issue(testnet.CertOptions{Names: []string{"127.0.0.1"}})
	if err != nil {
		t.Fatal(err)
	}
	server, err := testnet.ListenHTTP(&tls.Config{Certificates: []tls.Certificate{cert}}, testnet.Site())
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	root := t.TempDir()
	for _, folder := range []string{"usr/bin", "etc/ssl/certs"} {
		if err := os.MkdirAll(filepath.Join(root, folder), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	build := exec.Command("go", "build", "-o", filepath.Join(root, "usr/bin/sonde"), ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	file := "version: 1\nchecks:\n  - name: zone and bundle\n    http: {url: \"https://" + server.Addr() + "/\"}\n" +
		"    expect: [\"cert.trusted\"]\n    schedule: [\"00:00-24:00 Europe/Berlin\"]\n"
	for name, text := range map[string][]byte{"checks.yaml": []byte(file), "etc/ssl/certs/ca-certificates.crt": authority.PEM()} {
		if err := os.WriteFile(filepath.Join(root, name), text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	run := exec.Command("/usr/bin/sonde", "run", "/checks.yaml")
	run.Env = []string{}
	run.Dir = "/"
	run.SysProcAttr = &syscall.SysProcAttr{Chroot: root}
	if uid := os.Getuid(); uid != 0 { // who is root in a container may not have namespaces
		run.SysProcAttr.Cloneflags = syscall.CLONE_NEWUSER
		run.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: uid, Size: 1}}
	}
	if out, err := run.CombinedOutput(); err != nil || !strings.Contains(string(out), "1 up") {
		t.Errorf("%v\n%s", err, out)
	}
}
