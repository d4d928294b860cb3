package cmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/sonde-cli/sonde/internal/playground"
)

const playgroundLong = `Start servers on loopback that behave as targets do (healthy, slow, failing,
expired, closed), list them, and keep them running until Ctrl-C.

The variables that it prints point checks.example.yaml at these servers.

With --fault it starts targets that are broken or hostile instead, and prints a
file of checks for them: rehearse what your reports, exit codes and alerts make
of a gzip bomb. --list-faults lists them; docs/hostile.md tells what sonde says
to each.`

func newPlayground(a *App) *cobra.Command {
	var faults []string
	var list bool
	c := &cobra.Command{
		Use:   "playground",
		Short: "Start loopback servers to probe, good and bad ones",
		Long:  playgroundLong,
		Example: `  sonde playground
  sonde check https://127.0.0.1:PORT/ --insecure    # in another terminal
  sonde playground --fault gzip-bomb --fault expired > faults.yaml &
  sonde playground --list-faults`,
		Args: atMost(0),
		RunE: func(c *cobra.Command, _ []string) error {
			switch {
			case list:
				return a.listFaults()
			case len(faults) > 0:
				return a.faults(c.Context(), faults)
			}
			return a.playground(c.Context())
		},
	}
	c.Flags().StringArrayVar(&faults, "fault", nil, "start a broken or hostile target of this `NAME` and print a check for it, or all of them for 'all'; repeatable")
	c.Flags().BoolVar(&list, "list-faults", false, "list the names that --fault takes")
	c.MarkFlagsMutuallyExclusive("fault", "list-faults")
	complete(c, "fault", faultNames)
	return c
}

// faultNames offers the names of faults. They are made when the shell asks, for
// that takes longer than all else of the start.
func faultNames(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
	all := []cobra.Completion{cobra.CompletionWithDesc(everyFault, "all of them")}
	for _, f := range playground.Faults() {
		all = append(all, cobra.CompletionWithDesc(f.Name, f.Doc))
	}
	return all, cobra.ShellCompDirectiveNoFileComp
}

func (a *App) playground(ctx context.Context) (err error) {
	a.measuring.Store(true) // so that the first signal ends in Close
	p, err := playground.Start()
	if err != nil {
		return err
	}
	return a.untilInterrupted(ctx, p, func() error { return a.introduce(p) })
}

// untilInterrupted says what runs and lets it run until Ctrl-C.
func (a *App) untilInterrupted(ctx context.Context, servers io.Closer, introduce func() error) (err error) {
	defer func() { err = errors.Join(err, servers.Close()) }()
	if err := introduce(); err != nil {
		return err
	}
	if a.StderrWidth > 0 {
		fmt.Fprintln(a.Stderr, "the servers run until Ctrl-C")
	}
	<-ctx.Done()
	return nil
}

// introduce lists what runs, as lines that a shell can read.
func (a *App) introduce(p *playground.Playground) error {
	w := tabwriter.NewWriter(a.Stdout, 0, 0, 2, ' ', 0)
	for _, s := range p.Services() {
		fmt.Fprintf(w, "# %s\t%s\n", s.Target, s.Doc)
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("listing the servers: %w", err)
	}
	for _, v := range p.Variables() {
		if _, err := fmt.Fprintf(a.Stdout, "export %s=%s\n", v.Name, v.Value); err != nil {
			return fmt.Errorf("listing the variables: %w", err)
		}
	}
	return nil
}

// everyFault stands for the names of all faults.
const everyFault = "all"

func (a *App) faults(ctx context.Context, wanted []string) error {
	names := []string{everyFault}
	for _, f := range playground.Faults() {
		names = append(names, f.Name)
	}
	for _, name := range wanted {
		if !slices.Contains(names, name) {
			return usagef(known("sonde playground --list-faults lists them: ", name, names), "there is no fault %q", name)
		}
	}
	if slices.Contains(wanted, everyFault) {
		wanted = names
	}
	a.measuring.Store(true) // so that the first signal ends in Close
	f, err := playground.StartFaults(ctx, wanted)
	switch {
	case errors.Is(err, context.Canceled):
		return nil // Ctrl-C is how it ends
	case err != nil:
		return err
	}
	return a.untilInterrupted(ctx, f, func() error {
		if _, err := io.WriteString(a.Stdout, f.Checks()); err != nil {
			return fmt.Errorf("printing the checks: %w", err)
		}
		return nil
	})
}

func (a *App) listFaults() error {
	w := tabwriter.NewWriter(a.Stdout, 0, 0, 2, ' ', 0)
	for _, f := range playground.Faults() {
		fmt.Fprintf(w, "%s\t%s\t%s\n", f.Name, f.Case, f.Doc)
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("listing the faults: %w", err)
	}
	return nil
}
