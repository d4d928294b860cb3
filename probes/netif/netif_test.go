package netif

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/sonde-cli/sonde/check"
)

func TestCheckName(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"": "", "eth0": "", "fifteen-letters": "", "eth0.7:1": "",
		"eth 0": "no name", "a/b": "no name", "sixteen-letters-": "no name", "é0": "no name",
	} {
		if name != "" && !Binds {
			want = "binds no socket"
		}
		err := CheckName(name)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", name, err, want)
		}
	}
}

// TestReason blames this machine for an interface that it cannot use.
func TestReason(t *testing.T) {
	t.Parallel()
	for errno, want := range map[syscall.Errno]check.Code{
		syscall.EPERM: check.LocalPermission, syscall.EACCES: check.LocalPermission,
		syscall.ENODEV: check.LocalRoute, syscall.EINVAL: check.LocalRoute,
	} {
		err := fmt.Errorf("dial: %w", &BindError{"eth7", os.NewSyscallError("setsockopt", errno)})
		reason, ok := Reason(err)
		if !ok || reason.Code != want || !strings.Contains(reason.Message, "the interface eth7") || !errors.Is(err, errno) {
			t.Errorf("%v: %v, %t", errno, reason, ok)
		}
		if hint := strings.Contains(reason.Message, "\nhint: "); hint != (want == check.LocalPermission) {
			t.Errorf("%v: %s", errno, reason.Message)
		}
	}
	if _, ok := Reason(syscall.ENODEV); ok {
		t.Error("an error of another call is one of an interface")
	}
}
