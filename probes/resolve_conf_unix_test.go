//go:build !windows

package probes

import (
	"io/fs"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/sonde-cli/sonde/check"
)

// failing lets every read fail with the error.
func failing(errno syscall.Errno) func(string) ([]byte, error) {
	return func(path string) ([]byte, error) { return nil, &fs.PathError{Op: "open", Path: path, Err: errno} }
}

// A read that fails for want of a descriptor says nothing about the file.
func TestSystemForgetsNothingWithoutDescriptors(t *testing.T) {
	t.Parallel()
	for _, errno := range []syscall.Errno{syscall.EMFILE, syscall.EIO} {
		s := testSystem(t, "nameserver 192.0.2.1\n", "192.0.2.1 a\n")
		s.read = failing(errno)
		_, confErr := s.config()
		_, hostsErr := s.lookup("a")
		if scarce := errno == syscall.EMFILE; (confErr != nil) != scarce || (hostsErr != nil) != scarce {
			t.Errorf("%v: errors %v, %v", errno, confErr, hostsErr)
		}
		s.read = os.ReadFile // the files have not changed
		if got := firstServer(t, s); got != "192.0.2.1" {
			t.Errorf("%v: server %s", errno, got)
		}
		if got, err := s.lookup("a"); err != nil || len(got) != 1 {
			t.Errorf("%v: hosts %v, %v", errno, got, err)
		}
		s.read = failing(errno)
		write(t, s.confPath, "nameserver 192.0.2.200\n")
		write(t, s.hostsPath, "192.0.2.1 a\n192.0.2.2 a\n")
		if got := firstServer(t, s); got != "192.0.2.1" {
			t.Errorf("%v: server %s, want the one before", errno, got)
		}
		if got, err := s.lookup("a"); err != nil || len(got) != 1 {
			t.Errorf("%v: hosts %v, %v, want those before", errno, got, err)
		}
		s.read = os.ReadFile
		if got := firstServer(t, s); got != "192.0.2.200" {
			t.Errorf("%v: server %s, want the new one", errno, got)
		}
	}
}

func TestSystemTakesMissingFilesForEmpty(t *testing.T) {
	t.Parallel()
	for _, errno := range []syscall.Errno{syscall.ENOENT, syscall.EACCES, syscall.EISDIR} {
		s := testSystem(t, "", "")
		s.read = failing(errno)
		if got := firstServer(t, s); got != "127.0.0.1" {
			t.Errorf("%v: server %s", errno, got)
		}
		if got, err := s.lookup("a"); err != nil || len(got) != 0 {
			t.Errorf("%v: hosts %v, %v", errno, got, err)
		}
	}
}

func TestResolveWithoutDescriptors(t *testing.T) {
	t.Parallel()
	for _, unreadable := range []string{"hosts", "resolv.conf"} {
		s := testSystem(t, "nameserver 192.0.2.1\n", "192.0.2.1 a\n")
		if unreadable == "resolv.conf" {
			if _, err := s.lookup("a"); err != nil { // known from now on
				t.Fatal(err)
			}
		}
		s.read = failing(syscall.EMFILE)
		_, reason := begin().resolve(within(t, time.Minute), &router{system: s}, "web.test")
		if resolveCode(reason) != check.LocalFD {
			t.Errorf("%s: %+v", unreadable, reason)
		}
	}
}
