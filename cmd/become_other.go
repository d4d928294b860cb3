//go:build !unix

package cmd

import (
	"errors"
	"os"
	"os/exec"
	"os/signal"
)

// replace runs the command as a child and returns its exit code: this system
// cannot put it in this process's place. Ctrl-C reaches both and is the child's.
func replace(c *exec.Cmd) (int, error) {
	signal.Ignore(os.Interrupt)
	err := c.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.ExitCode(), nil
	}
	return 0, err
}
