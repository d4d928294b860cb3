package cmd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/sonde-cli/sonde/check"
	"github.com/sonde-cli/sonde/config"
	"github.com/sonde-cli/sonde/report"
)

const validateLong = `Read files of checks as 'sonde run' would and tell every mistake, with its line
and column and what was probably meant. Nothing is measured. The exit code is 0
when the files are right, else 2.

The format github is for GitHub Actions: it annotates the lines that are wrong.
json is a document for other tools.`

const validateExamples = `  sonde validate checks.yaml
  sonde validate checks/ --verbose
  sonde validate checks.yaml --format github
  sonde validate checks.yaml --format json`

func newValidate(a *App) *cobra.Command {
	format := choice{value: "text", of: []string{"text", "github", "json"}}
	var verbose bool
	c := &cobra.Command{
		Use:               "validate [FILE|DIR|-]...",
		Short:             "Find every mistake in files of checks",
		Long:              validateLong,
		Example:           validateExamples,
		ValidArgsFunction: yamlFiles,
		RunE: func(c *cobra.Command, files []string) error {
			return a.validate(c.Context(), files, format.value, verbose)
		},
	}
	c.Flags().Var(&format, "format", "text, github or json")
	c.Flags().BoolVarP(&verbose, "verbose", "v", false, "list the checks")
	complete(c, "format", fixed(format.of...))
	return c
}

func (a *App) validate(ctx context.Context, files []string, format string, verbose bool) error {
	files, err := filesOrDefault(files)
	if err != nil {
		return err
	}
	set, err := a.loader().Load(ctx, files...)
	var wrong config.Errors
	switch {
	case errors.As(err, &wrong):
		return a.invalid(format, wrong)
	case err != nil:
		return err
	case set.Total+set.Disabled == 0:
		return usagef("", "no checks in %s", strings.Join(set.Files, ", "))
	}
	switch format {
	case "json":
		return a.writeJSON(validJSON(set))
	case "github":
		if err := a.annotate("warning", set.Warnings); err != nil {
			return err
		}
	default:
		a.warnAll(set.Warnings)
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

// invalid tells what is wrong, in the format.
func (a *App) invalid(format string, wrong config.Errors) error {
	switch format {
	case "json":
		if err := a.writeJSON(invalidJSON(wrong)); err != nil {
			return err
		}
	case "github":
		if err := a.annotate("error", wrong); err != nil {
			return err
		}
		a.stderr("sonde: %s\n", plural(len(wrong), "problem"))
	default:
		return wrong
	}
	return status(ExitUsage)
}

// annotate writes a workflow command of GitHub for each problem. GitHub shows
// ten of a kind, and all of them in the log.
func (a *App) annotate(level string, problems []config.Problem) error {
	var b strings.Builder
	for _, p := range problems {
		message := p.Message
		if p.Hint != "" {
			message += "\nhint: " + p.Hint
		}
		b.WriteString(report.GitHubCommand{
			Level: level, File: p.File, Line: p.Line, Column: p.Column, Title: "sonde validate", Message: printable(message),
		}.String())
	}
	_, err := io.WriteString(a.Stdout, b.String())
	return err
}

// listChecks writes a line for each check.
func (a *App) listChecks(checks []*check.Check) error {
	w := tabwriter.NewWriter(a.Stdout, 0, 0, 2, ' ', 0)
	for _, c := range checks {
		_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", // Flush returns the error
			inRow(c.Mask.String(c.ID)), c.Kind, inRow(c.Mask.String(c.Target)), inRow(strings.Join(c.Tags, " ")))
	}
	return w.Flush()
}

// wireFiles is what was found in files, in the manner of the JSON report.
type wireFiles struct {
	Schema   int            `json:"schema"`
	Valid    bool           `json:"valid"`
	Files    []string       `json:"files"`
	Total    int            `json:"total"`
	Disabled int            `json:"disabled"`
	Problems []*wireProblem `json:"problems"` // none when the files are valid
	Warnings []*wireProblem `json:"warnings"`
	Checks   []wireCheck    `json:"checks"` // none when they are not
}

type wireCheck struct {
	ID     string   `json:"id"`
	Kind   string   `json:"kind"`
	Target string   `json:"target"`
	Tags   []string `json:"tags"`
	File   string   `json:"file"`
	Line   int      `json:"line"`
}

func validJSON(set *config.Set) wireFiles {
	document := wireFiles{
		Schema: check.Schema, Valid: true, Files: set.Files, Total: set.Total + set.Disabled, Disabled: set.Disabled,
		Problems: []*wireProblem{}, Warnings: asWires(set.Warnings), Checks: []wireCheck{},
	}
	for _, c := range set.Checks {
		document.Checks = append(document.Checks, wireCheck{
			ID: c.Mask.String(c.ID), Kind: c.Kind, Target: c.Mask.String(c.Target),
			Tags: append([]string{}, c.Tags...), File: c.File, Line: c.Line,
		})
	}
	return document
}

func invalidJSON(wrong config.Errors) wireFiles {
	document := wireFiles{Schema: check.Schema, Files: []string{}, Problems: asWires(wrong), Warnings: []*wireProblem{}, Checks: []wireCheck{}}
	for _, p := range wrong {
		if p.File != "" && !slices.Contains(document.Files, p.File) {
			document.Files = append(document.Files, p.File)
		}
	}
	return document
}

func asWires(problems []config.Problem) []*wireProblem {
	all := []*wireProblem{}
	for _, p := range problems {
		all = append(all, asWire(p))
	}
	return all
}

func (a *App) writeJSON(document any) error {
	encoder := json.NewEncoder(a.Stdout)
	encoder.SetIndent("", "  ")
	return encoder.Encode(document)
}
