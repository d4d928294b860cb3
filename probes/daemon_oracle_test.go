//go:build oracle && linux

package probes

import (
	"bytes"
	"context"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/sonde-cli/sonde/internal/testnet"
)

// program finds a program, also where only root looks.
func program(t *testing.T, name string) string {
	t.Helper()
	if filepath.IsAbs(name) {
		return name
	}
	for _, dir := range []string{"", "/usr/sbin/", "/usr/lib/postgresql/*/bin/"} {
		if found, _ := filepath.Glob(dir + name); dir != "" && len(found) > 0 {
			return found[len(found)-1]
		}
		if path, err := exec.LookPath(name); dir == "" && err == nil {
			return path
		}
	}
	t.Fatal(name + " is missing: .ci/run lists its package")
	return ""
}

// home is the directory of a server of a test.
type home struct {
	dir        string
	credential *syscall.Credential // nil: our own
}

// newHome makes a directory for a server. Many refuse to run as root: it
// belongs to the user then, and the server runs as that user. No name: our own.
func newHome(t *testing.T, name string) *home {
	t.Helper()
	dir, err := os.MkdirTemp("", "sonde")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	h := &home{dir: dir}
	if os.Getuid() != 0 || name == "" {
		return h
	}
	h.credential = credential(t, name)
	h.give(t, dir)
	return h
}

// credential returns that of a user.
func credential(t *testing.T, name string) *syscall.Credential {
	t.Helper()
	u, err := user.Lookup(name)
	if err != nil {
		t.Fatal(err)
	}
	uid, _ := strconv.Atoi(u.Uid) // a number on Linux
	gid, _ := strconv.Atoi(u.Gid)
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
}

func (h *home) give(t *testing.T, file string) {
	t.Helper()
	if h.credential == nil {
		return
	}
	if err := os.Chown(file, int(h.credential.Uid), int(h.credential.Gid)); err != nil {
		t.Fatal(err)
	}
}

// file writes a file of the server's and returns its path.
func (h *home) file(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(h.dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	h.give(t, path)
	return path
}

// directory makes a directory; a user's where one is named.
func (h *home) directory(t *testing.T, name, owner string) {
	t.Helper()
	path := filepath.Join(h.dir, name)
	if err := os.Mkdir(path, 0o755); err != nil {
		t.Fatal(err)
	}
	of := h
	if owner != "" {
		of = &home{credential: credential(t, owner)}
	}
	of.give(t, path)
}

// key issues a certificate for 127.0.0.1 and the name db.test, and returns its
// files.
func (h *home) key(t *testing.T) (certFile, keyFile string) {
	t.Helper()
	cert, err := authority(t).Issue(testnet.CertOptions{Names: []string{"127.0.0.1", "db.test"}})
	if err != nil {
		t.Fatal(err)
	}
	chain, key, err := testnet.KeyPEM(cert)
	if err != nil {
		t.Fatal(err)
	}
	return h.file(t, "chain.pem", string(chain)), h.file(t, "key.pem", string(key))
}

// command is one in the directory, by the server's user.
func (h *home) command(t *testing.T, name string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program(t, name), args...)
	cmd.Dir = h.dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Credential: h.credential}
	return cmd
}

// run runs a program to its end.
func (h *home) run(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := h.command(t, name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", name, err, out)
	}
	return string(out)
}

// log keeps what a server says.
type log struct {
	sync.Mutex
	bytes.Buffer
}

// Write adds to the log.
func (l *log) Write(p []byte) (int, error) {
	l.Lock()
	defer l.Unlock()
	return l.Buffer.Write(p)
}

// start runs a server that stays in the foreground until the test ends, and
// returns when the port answers. The server gets the signal at the end.
func (h *home) start(t *testing.T, port string, end syscall.Signal, name string, args ...string) {
	t.Helper()
	cmd := h.command(t, name, args...)
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, end) }
	cmd.WaitDelay = 2 * time.Second // for output of those that stay behind
	said := new(log)
	cmd.Stdout, cmd.Stderr = said, said
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, end)
		<-ended
	})
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if conn, err := net.Dial("tcp", "127.0.0.1:"+port); err == nil {
			conn.Close()
			return
		}
		select {
		case err := <-ended:
			ended <- err
			t.Fatalf("%s ended: %v\n%s", name, err, said.String())
		case <-ctx.Done():
			said.Lock()
			defer said.Unlock()
			t.Fatalf("%s does not listen\n%s", name, said.String())
		case <-tick.C:
		}
	}
}
