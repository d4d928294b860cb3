package cmd

import (
	"errors"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

const rootLong = `sonde checks whether things are up, how fast they are, and why they are not.

  sonde check https://example.com                 look at one thing now
  sonde run checks.yaml                           all checks of a file, once
  sonde run checks.yaml --report json             the same for a machine
  sonde wait db:5432 checks.yaml -- ./server      until all are up, then run that
  sonde compare old.yaml new.yaml                 what became slower
  sonde plan checks.yaml                          what they would ask of this machine
  sonde watch checks.yaml                         and again and again, live
  sonde serve checks.yaml                         all of them again and again, with metrics
  sonde demo                                      see all of it without the network

Exit codes: 0 all up, 1 some down, 2 usage or configuration error, 3 none down
but some unknown, 4 only degraded with --fail-on degraded, 124 the run's own
deadline ran out, 130 interrupted.`

// commands lists the commands in the order of the help text. A new command is
// one file and one line here.
func commands() []func(*App) *cobra.Command {
	return []func(*App) *cobra.Command{
		newCheck, newRun, newCompare, newWait, newWatch, newServe, newValidate, newPlan, newImport, newKinds, newSchema, newDemo, newPlayground, newVersion,
	}
}

// Root returns the command line as a tree, for what is generated from it.
func Root(app App) *cobra.Command { return newRoot(&app) }

func newRoot(a *App) *cobra.Command {
	root := &cobra.Command{
		Use:                        "sonde",
		Short:                      "sonde checks whether things are up",
		Long:                       rootLong,
		SilenceErrors:              true,
		SilenceUsage:               true,
		Args:                       cobra.ArbitraryArgs,
		SuggestionsMinimumDistance: 2,
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) > 0 {
				return unknownCommand(c, args)
			}
			c.SetOut(a.Stderr)
			if err := c.Help(); err != nil {
				return err
			}
			return status(ExitUsage)
		},
	}
	root.Version = a.Build.Version
	root.SetVersionTemplate("sonde {{.Version}}\n")
	root.SetIn(a.Stdin)
	root.SetOut(a.Stdout)
	root.SetErr(a.Stderr)
	root.SetFlagErrorFunc(flagError)
	cobra.EnableCommandSorting = false
	for _, build := range commands() {
		root.AddCommand(build(a))
	}
	root.InitDefaultCompletionCmd(a.Args...)
	strictCompletion(root)
	return root
}

// flagError words a mistake in the flags.
func flagError(c *cobra.Command, err error) error {
	hint := "'" + c.CommandPath() + " --help' lists the flags"
	var unknown *pflag.NotExistError
	if errors.As(err, &unknown) && c.Name() == "check" {
		if instead := insteadOfCurl(unknown.GetSpecifiedName()); instead != "" {
			hint = instead
		}
	}
	return usagef(hint, "%s", err)
}

// strictCompletion makes `completion` without one of its shells a mistake; it
// would print its help and succeed.
func strictCompletion(root *cobra.Command) {
	for _, c := range root.Commands() {
		if c.Name() == "completion" {
			c.Args = cobra.ArbitraryArgs
			c.RunE = func(*cobra.Command, []string) error {
				return usagef("for example: sonde completion bash", "completion takes one of bash, zsh, fish, powershell")
			}
		}
	}
}

func unknownCommand(root *cobra.Command, args []string) error {
	name := withoutUser(args[0])
	hint := "'sonde --help' lists the commands"
	if similar := root.SuggestionsFor(name); len(similar) > 0 {
		hint = "did you mean 'sonde " + similar[0] + "'?"
	}
	if strings.ContainsAny(name, ".:/") {
		verb := "check"
		if strings.HasSuffix(name, ".yaml") || strings.HasSuffix(name, ".yml") {
			verb = "run"
		}
		hint = "did you mean 'sonde " + verb + " " + name + "'?"
	}
	return usagef(hint, "there is no command %q", name)
}

// withoutUser drops a URL's user and password, which messages must not show.
func withoutUser(name string) string {
	scheme, rest, ok := strings.Cut(name, "://")
	if !ok {
		return name
	}
	return scheme + "://" + rest[strings.LastIndexByte(rest, '@')+1:]
}

// atLeast demands n arguments, called what in the message.
func atLeast(n int, what, example string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if len(args) < n {
			return usagef("for example: "+example, "%s needs %s", c.CommandPath(), what)
		}
		return nil
	}
}

// atMost refuses more than n arguments.
func atMost(n int) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if len(args) > n {
			return usagef("'"+c.CommandPath()+" --help' tells how to call it", "%s does not know what to do with %q", c.CommandPath(), args[n])
		}
		return nil
	}
}
