package cmd

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/sonde-cli/sonde/check"
	"github.com/sonde-cli/sonde/config"
)

const validateLong = `Read files of checks as 'sonde run' would and tell every mistake, with its line
and column and what was probably meant. Nothing is measured. The exit code is 0
when the files are right, else 2.`

const validateExamples = `  sonde validate checks.yaml
  sonde validate checks/ --verbose
  sonde validate checks.yaml --report json`

func newValidate(a *App) *cobra.Command {
	format := choice{value: "text", of: []string{"text", "json"}}
	var verbose bool
	c := &cobra.Command{
		Use:               "validate [FILE|DIR|-]...",
		Short:             "Find every mistake in files of checks",
		Long:              validateLong,
		Example:           validateExamples,
		ValidArgsFunction: yamlFiles,
		RunE: func(c *cobra.Command, files []string) error {
			return a.validate(c.Context(), files, format.value == "json", verbose)
		},
	}
	c.Flags().Var(&format, "report", "text or json")
	c.Flags().BoolVarP(&verbose, "verbose", "v", false, "list the checks")
	complete(c, "report", fixed(format.of...))
	return c
}

func (a *App) validate(ctx context.Context, files []string, asJSON, verbose bool) error {
	files, err := filesOrDefault(files)
	if err != nil {
		return err
	}
	set, err := a.loader().Load(ctx, files...)
	if err != nil {
		return err
	}
	a.warnAll(set.Warnings)
	if set.Total+set.Disabled == 0 {
		return usagef("", "no checks in %s", strings.Join(set.Files, ", "))
	}
	if asJSON {
		return a.validateJSON(set)
	}
	if verbose {
		if err := a.listChecks(set.Checks); err != nil {
			return err
		}
	}
	total, verb := set.Total+set.Disabled, "are"
	if total == 1 {
		verb = "is"
	}
	_, err = fmt.Fprintf(a.Stdout, "%s in %s %s valid%s\n", plural(total, "check"), plural(len(set.Files), "file"), verb, disabled(set.Disabled))
	return err
}

// listChecks writes a line for each check.
func (a *App) listChecks(checks []*check.Check) error {
	w := tabwriter.NewWriter(a.Stdout, 0, 0, 2, ' ', 0)
	for _, c := range checks {
		_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", // Flush returns the error
			printable(c.Mask.String(c.ID)), c.Kind, printable(c.Mask.String(c.Target)), printable(strings.Join(c.Tags, " ")))
	}
	return w.Flush()
}

// validateJSON writes what was found to be right, in the manner of the JSON
// report.
func (a *App) validateJSON(set *config.Set) error {
	type wireCheck struct {
		ID     string   `json:"id"`
		Kind   string   `json:"kind"`
		Target string   `json:"target"`
		Tags   []string `json:"tags"`
		File   string   `json:"file"`
		Line   int      `json:"line"`
	}
	document := struct {
		Schema   int         `json:"schema"`
		Valid    bool        `json:"valid"`
		Files    []string    `json:"files"`
		Total    int         `json:"total"`
		Disabled int         `json:"disabled"`
		Checks   []wireCheck `json:"checks"`
	}{check.Schema, true, set.Files, set.Total + set.Disabled, set.Disabled, []wireCheck{}}
	for _, c := range set.Checks {
		document.Checks = append(document.Checks, wireCheck{
			ID: c.Mask.String(c.ID), Kind: c.Kind, Target: c.Mask.String(c.Target),
			Tags: slices.Concat([]string{}, c.Tags), File: c.File, Line: c.Line,
		})
	}
	encoder := json.NewEncoder(a.Stdout)
	encoder.SetIndent("", "  ")
	return encoder.Encode(document)
}
