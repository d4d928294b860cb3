package cmd

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
)

// splitCommand cuts the arguments at a --, of which there were dash before;
// less than 0 means that there is none.
func splitCommand(args *[]string, dash int) (command []string, err error) {
	if dash < 0 {
		return nil, nil
	}
	*args, command = (*args)[:dash], (*args)[dash:]
	if len(command) == 0 || command[0] == "" {
		return nil, usagef("is a variable of the shell unset?", "there is no command behind --")
	}
	return command, nil
}

// filesAndTargets tells files from targets by how they are written. What could
// be both is a mistake: a host's name can be that of a folder here.
func filesAndTargets(args []string) (files, targets []string, err error) {
	for _, arg := range args {
		_, missing := os.Stat(arg)
		switch {
		case arg == "":
			return nil, nil, usagef("is a variable of the shell unset?", "the name of a file or target is empty")
		case isFileName(arg):
			files = append(files, arg)
		case missing == nil && !strings.Contains(arg, "://"):
			return nil, nil, usagef(fmt.Sprintf("for the file write .%c%s, for the host icmp://%s or %s:PORT", filepath.Separator, arg, arg, arg),
				"%s is a file here, and could be a host", arg)
		default:
			targets = append(targets, arg)
		}
	}
	return files, targets, nil
}

// isFileName reports whether an argument can only be a file of checks, a folder
// of them, or standard input.
func isFileName(arg string) bool {
	switch filepath.Ext(arg) {
	case ".yaml", ".yml":
		return !strings.Contains(arg, "://")
	}
	for _, begin := range []string{"/", "./", "../", `.\`, `..\`} {
		if strings.HasPrefix(arg, begin) {
			return true
		}
	}
	return arg == "-" || arg == "." || arg == ".." || filepath.IsAbs(arg) || os.IsPathSeparator(arg[len(arg)-1]) && !strings.Contains(arg, ":")
}

// changed reports whether one of the flags was given.
func changed(c *cobra.Command, names ...string) bool {
	for _, name := range names {
		if c.Flags().Changed(name) {
			return true
		}
	}
	return false
}

// targetFlagNames returns the flags that are for targets alone.
func targetFlagNames() []string {
	names := []string{"expect", "prefer", "header", "data", "user", "set"}
	for _, o := range optionFlagList() {
		names = append(names, o.name)
	}
	return names
}

// filesOrTargets offers the beginnings of targets, and files.
func (a *App) filesOrTargets(c *cobra.Command, args []string, word string) ([]cobra.Completion, cobra.ShellCompDirective) {
	all, _ := a.targets(c, args, word)
	return all, cobra.ShellCompDirectiveNoSpace
}

// commandError is a command that cannot be run.
type commandError struct {
	message, hint string
	code          int
}

func (e *commandError) Error() string { return e.message }

// lookPath finds the command before anything is waited for.
func (a *App) lookPath(name string) (string, error) {
	path, err := exec.LookPath(name)
	if err == nil || errors.Is(err, exec.ErrDot) { // the user's PATH says so
		return path, nil
	}
	return "", notRunnable(name, err)
}

// notRunnable words why a command cannot be run, with the code that a shell
// gives.
func notRunnable(name string, err error) error {
	code, hint := ExitNotRunnable, ""
	if errors.Is(err, exec.ErrNotFound) || errors.Is(err, fs.ErrNotExist) {
		code, hint = ExitNotFound, "it is run without a shell; for one, write -- sh -c '...'"
	}
	var cause *exec.Error
	if errors.As(err, &cause) {
		err = cause.Err
	}
	return &commandError{message: fmt.Sprintf("cannot run %s: %v", name, err), hint: hint, code: code}
}

// become makes this process the command, whose exit code it returns where there
// has to be a process of its own for it.
func (a *App) become(path string, command []string) error {
	code, err := a.Become(path, command)
	switch {
	case errors.Is(err, errInterrupted):
		return status(ExitInterrupted)
	case err != nil:
		return notRunnable(command[0], err)
	}
	return asError(code)
}
