//go:build oracle

package probes

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sonde-cli/sonde/check"
)

// sshd is a running OpenSSH server.
type sshd struct{ port, dir, config string }

// startSSHD runs sshd with a key of each type until the test ends.
func startSSHD(t *testing.T, config string) sshd {
	t.Helper()
	program := need(t, "sshd", "openssh-server")
	if os.Geteuid() == 0 { // where it looks for its empty folder; a package's unit makes it
		if err := os.MkdirAll("/run/sshd", 0o755); err != nil {
			t.Fatal(err)
		}
	}
	s := sshd{port: freePort(t), dir: t.TempDir()}
	text := fmt.Sprintf("Port %s\nListenAddress 127.0.0.1\nPidFile none\nUsePAM no\n%s\n", s.port, config)
	for _, kind := range []string{"rsa", "ecdsa", "ed25519"} {
		key := filepath.Join(s.dir, kind)
		oracle(t, need(t, "ssh-keygen", "openssh-client"), "-q", "-t", kind, "-N", "", "-f", key)
		text += "HostKey " + key + "\n"
	}
	s.config = filepath.Join(s.dir, "config")
	if err := os.WriteFile(s.config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	log := filepath.Join(s.dir, "log")
	cmd := exec.Command(program, "-D", "-E", log, "-f", s.config)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	awaitPort(t, s.port, log)
	return s
}

// TestOracleSSHKeys compares fingerprints with ssh-keygen and ssh-keyscan, and
// has sonde read the known_hosts file that ssh-keyscan writes.
func TestOracleSSHKeys(t *testing.T) {
	s := startSSHD(t, "")
	want := make(map[string]string)
	for _, kind := range []string{"ed25519", "ecdsa", "rsa"} {
		o := observeSSH(t, "127.0.0.1", s.port, patience, func(o *sshOptions) { o.HostKey = kind })
		wantFailure(t, o, "")
		got := fmt.Sprintf("%v %v ", o.Facts.Get("key.bits"), o.Facts.Get("key.fingerprint"))
		if said := oracle(t, "ssh-keygen", "-lf", filepath.Join(s.dir, kind+".pub")); !strings.HasPrefix(said, got) {
			t.Errorf("%s: %s, ssh-keygen says %s", kind, got, said)
		}
		if said := oracle(t, "sh", "-c", o.Reproduce()); !strings.Contains(said, got) {
			t.Errorf("%s: %s, %s says %s", kind, got, o.Reproduce(), said)
		}
		want[o.Facts.Get("key.type").(string)] = o.Facts.Get("key.fingerprint").(string)
	}
	all := observeSSH(t, "127.0.0.1", s.port, patience, nil, hostKeysFact)
	if diff := cmp.Diff(want, all.Facts.Get(hostKeysFact)); diff != "" {
		t.Error(diff)
	}
	for _, flags := range []string{"", "-H", "-t ed25519", "-t ecdsa", "-t rsa"} {
		scan := oracle(t, "sh", "-c", "ssh-keyscan "+flags+" -p "+s.port+" 127.0.0.1 2>/dev/null")
		file := tempFile(t, "known_hosts", []byte(scan))
		o := observeSSH(t, "127.0.0.1", s.port, patience, func(o *sshOptions) { o.KnownHosts = file })
		wantFailure(t, o, "")
		if o.Facts.Get("known") != true {
			t.Errorf("ssh-keyscan %s: %v", flags, o.Because["known"])
		}
	}
}

// TestOracleSSHOffers compares the algorithms with those that sshd says it has,
// and what is agreed on with ssh.
func TestOracleSSHOffers(t *testing.T) {
	for _, config := range []string{
		"",
		"KexAlgorithms ecdh-sha2-nistp384\nCiphers aes256-ctr\nMACs hmac-sha2-512\nHostKeyAlgorithms rsa-sha2-256",
		"KexAlgorithms diffie-hellman-group-exchange-sha256\nCiphers chacha20-poly1305@openssh.com\nHostKeyAlgorithms ecdsa-sha2-nistp256",
		"KexAlgorithms curve25519-sha256@libssh.org\nCiphers aes128-cbc\nMACs hmac-sha1",
	} {
		s := startSSHD(t, config)
		o := observeSSH(t, "127.0.0.1", s.port, patience, nil)
		wantFailure(t, o, "")
		said := oracle(t, need(t, "sshd", "openssh-server"), "-T", "-f", s.config)
		for fact, key := range map[string]string{"offers.kex": "kexalgorithms", "offers.ciphers": "ciphers", "offers.macs": "macs"} {
			m := regexp.MustCompile(`(?m)^` + key + ` (.*)$`).FindStringSubmatch(said)
			if m == nil {
				t.Fatalf("sshd -T has no %s", key)
			}
			got := slices.DeleteFunc(slices.Clone(o.Facts.Get(fact).([]string)), func(name string) bool {
				return strings.HasPrefix(name, "kex-strict-") || strings.HasPrefix(name, "ext-info-") // no algorithms
			})
			if diff := cmp.Diff(strings.Split(m[1], ","), got); diff != "" {
				t.Errorf("%s (-sshd +sonde):\n%s", fact, diff)
			}
		}
		if config == "" {
			continue // ssh prefers others than sonde
		}
		// It is not to get in, so it fails.
		out, _ := exec.Command("ssh", "-v", "-F", "none", "-p", s.port, "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no",
			"-o", "UserKnownHostsFile=/dev/null", "-o", "Ciphers=+aes128-cbc", "127.0.0.1").CombinedOutput()
		facts := []string{"kex"}
		if strings.Contains(config, "HostKey") {
			facts = append(facts, "key.algorithm")
		}
		for _, fact := range append(facts, "cipher", "software") {
			pattern := map[string]string{
				"kex": `kex: algorithm: (\S+)`, "key.algorithm": `kex: host key algorithm: (\S+)`,
				"cipher": `kex: server->client cipher: (\S+)`, "software": `remote software version (\S+)`,
			}[fact]
			m := regexp.MustCompile(pattern).FindSubmatch(out)
			if m == nil || string(m[1]) != o.Facts.Get(fact) {
				t.Errorf("%s %v, ssh says %q in\n%s", fact, o.Facts.Get(fact), m, out)
			}
		}
	}
}

// TestOracleSSHFull has an sshd that refuses connections in words.
func TestOracleSSHFull(t *testing.T) {
	s := startSSHD(t, "MaxStartups 1:100:1\nLoginGraceTime 60")
	hold, err := net.Dial("tcp", "127.0.0.1:"+s.port)
	if err != nil {
		t.Fatal(err)
	}
	defer hold.Close()
	var o check.Observation
	for range 100 { // until the other one is there
		o = observeSSH(t, "127.0.0.1", s.port, patience, nil)
		if o.Failure.Code != "" {
			break
		}
	}
	if o.Failure.Code != check.SSHMalformed && o.Failure.Code != check.ConnectReset {
		t.Errorf("%v", o.Failure)
	}
}
