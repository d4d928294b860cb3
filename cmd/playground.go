package cmd

import (
	"context"
	"errors"
	"fmt"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/sonde-cli/sonde/internal/playground"
)

const playgroundLong = `Start servers on loopback that behave as targets do (healthy, slow, failing,
expired, closed), list them, and keep them running until Ctrl-C.

The variables that it prints point checks.example.yaml at these servers.`

func newPlayground(a *App) *cobra.Command {
	return &cobra.Command{
		Use:   "playground",
		Short: "Start loopback servers to probe, good and bad ones",
		Long:  playgroundLong,
		Example: `  sonde playground
  sonde check https://127.0.0.1:PORT/ --insecure    # in another terminal`,
		Args: atMost(0),
		RunE: func(c *cobra.Command, _ []string) error { return a.playground(c.Context()) },
	}
}

func (a *App) playground(ctx context.Context) (err error) {
	p, err := playground.Start()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.Close()) }()
	a.measuring.Store(true) // so that the first signal ends in Close
	if err := a.introduce(p); err != nil {
		return err
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
	if a.StderrWidth > 0 {
		fmt.Fprintln(a.Stderr, "the servers run until Ctrl-C")
	}
	return nil
}
