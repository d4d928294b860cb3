//go:build unix

package cmd

import (
	"os/exec"
	"syscall"
)

// replace makes this process the command: it keeps the process's id, parent,
// terminal and descriptors, gets every signal itself, and its end is this
// process's. It returns only when that fails.
func replace(c *exec.Cmd) (int, error) { return 0, syscall.Exec(c.Path, c.Args, c.Env) }
