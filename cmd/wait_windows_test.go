package cmd

import "syscall"

// urgent is a signal that no process gets.
const urgent = syscall.Signal(-1)
