package cmd

import (
	"context"
	"strings"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

// notify tells systemd about a state of the service (sd_notify(3)); nothing
// happens where there is none.
func (d *server) notify(state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		d.log.Debug("systemd cannot be told", "state", state, "error", err.Error())
	}
}

// reloading is the state of a service that reads its configuration again.
// systemd asks for the time to match it with the end.
func reloading() string {
	return daemon.SdNotifyReloading + "\n" + strings.TrimRight(daemon.SdNotifyMonotonicUsec(), "\n")
}

// watchdog tells systemd that the daemon lives, as long as its loop answers.
func (d *server) watchdog(ctx context.Context) {
	limit, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		d.log.Warn("systemd's watchdog is not served", "error", err.Error())
	}
	if err != nil || limit == 0 {
		return
	}
	ticker := time.NewTicker(limit / 3)
	defer ticker.Stop()
	for {
		d.loop.Stats() // does not return when the loop is stuck
		d.notify(daemon.SdNotifyWatchdog)
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}
