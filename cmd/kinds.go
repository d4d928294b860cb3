package cmd

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/sonde-cli/sonde/check"
)

const kindsLong = `List the kinds of probe; with a KIND, its options for the file and the facts
that expectations can name. All of it is made from the source of the kinds.`

const kindsExamples = `  sonde kinds
  sonde kinds http
  sonde kinds --format markdown`

func newKinds(a *App) *cobra.Command {
	format := choice{value: "text", of: []string{"text", "markdown"}}
	c := &cobra.Command{
		Use:               "kinds [KIND]",
		Short:             "List the kinds of probe, their options and facts",
		Long:              kindsLong,
		Example:           kindsExamples,
		Args:              atMost(1),
		ValidArgsFunction: a.kindNames,
		RunE: func(_ *cobra.Command, args []string) error {
			kinds := a.Kinds
			if len(args) == 1 {
				k, err := a.kind(args[0])
				if err != nil {
					return err
				}
				kinds = []check.Kind{k}
			}
			var text string
			switch {
			case format.value == "markdown":
				text = kindsMarkdown(kinds)
			case len(args) == 1:
				text = kindText(kinds[0])
			default:
				text = kindsText(kinds)
			}
			_, err := io.WriteString(a.Stdout, text)
			return err
		},
	}
	c.Flags().Var(&format, "format", "text or markdown")
	complete(c, "format", fixed(format.of...))
	return c
}

func (a *App) kind(name string) (check.Kind, error) {
	var names []string
	for _, k := range a.Kinds {
		if k.Name == name {
			return k, nil
		}
		names = append(names, k.Name)
	}
	return check.Kind{}, usagef(known("the kinds are ", name, names), "there is no kind %q", name)
}

// kindsText lists the kinds.
func kindsText(kinds []check.Kind) string {
	return columnsOf(func(w io.Writer) {
		for _, k := range kinds {
			_, _ = fmt.Fprintf(w, "%s\t%s\t%s\n", k.Name, strings.Join(schemes(k), " "), k.Doc)
		}
	}) + "\n'sonde kinds KIND' shows the options and facts of one\n"
}

// kindText describes one kind.
func kindText(k check.Kind) string {
	return k.Name + ": " + k.Doc + "\n\n" + columnsOf(func(w io.Writer) {
		_, _ = fmt.Fprintf(w, "OPTION\tTYPE\tDEFAULT\t\n")
		for _, o := range optionsOf(k) {
			_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", o.Path, o.Type, o.defaults(), o.doc())
		}
	}) + "\n" + columnsOf(func(w io.Writer) {
		_, _ = fmt.Fprintf(w, "FACT\tTYPE\t\n")
		for _, f := range append(k.Facts, check.CommonFacts()...) {
			_, _ = fmt.Fprintf(w, "%s\t%s\t%s\n", f.Name, factType(f), f.Doc)
		}
	})
}

// columnsOf lines up cells that are separated by tabs.
func columnsOf(write func(io.Writer)) string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	write(w)
	_ = w.Flush() // a strings.Builder takes everything
	var trimmed strings.Builder
	for line := range strings.Lines(b.String()) {
		trimmed.WriteString(strings.TrimRight(line, " \n") + "\n")
	}
	return trimmed.String()
}

// kindsMarkdown is the page docs/kinds.md.
func kindsMarkdown(kinds []check.Kind) string {
	var b strings.Builder
	b.WriteString("# Kinds of probe\n\n<!-- Made by `sonde kinds --format markdown`; a test holds it to the source. -->\n\n")
	b.WriteString("| kind | targets of `sonde check` | |\n|---|---|---|\n")
	for _, k := range kinds {
		fmt.Fprintf(&b, "| [`%s`](#%s) | %s | %s |\n", k.Name, k.Name, code(schemes(k)...), cell(k.Doc))
	}
	b.WriteString("\n## Facts of every kind\n\n")
	factTable(&b, check.CommonFacts())
	for _, k := range kinds {
		fmt.Fprintf(&b, "\n## %s\n\n%s.\n\n### Options of %s\n\n", k.Name, sentence(k.Doc), k.Name)
		b.WriteString("| option | type | default | |\n|---|---|---|---|\n")
		for _, o := range optionsOf(k) {
			standard := code(o.Default)
			if o.Required {
				standard = "required"
			}
			fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", o.Path, o.Type, standard, cell(o.doc()))
		}
		fmt.Fprintf(&b, "\n### Facts of %s\n\n", k.Name)
		factTable(&b, k.Facts)
	}
	return b.String()
}

func factTable(b *strings.Builder, facts []check.Fact) {
	b.WriteString("| fact | type | | reason when it is not as expected |\n|---|---|---|---|\n")
	for _, f := range facts {
		reason := f.Code
		if reason == "" {
			reason = check.ExpectCode(f.Name)
		}
		fmt.Fprintf(b, "| `%s` | %s | %s | `%s` |\n", f.Name, factType(f), cell(f.Doc), reason)
	}
}

func factType(f check.Fact) string {
	if f.Unit == "" {
		return f.Type.String()
	}
	return f.Type.String() + ", " + f.Unit
}

// defaults returns what to show as the default.
func (o option) defaults() string {
	if o.Required {
		return "required"
	}
	return o.Default
}

// doc returns the documentation with the closed list of values.
func (o option) doc() string {
	if o.Values == "" {
		return o.Doc
	}
	return o.Doc + " (" + o.Values + ")"
}

func schemes(k check.Kind) []string {
	var all []string
	for _, s := range k.Schemes {
		all = append(all, s+"://")
	}
	return all
}

// code marks words as code for Markdown.
func code(words ...string) string {
	var marked []string
	for _, w := range words {
		if w != "" {
			marked = append(marked, "`"+strings.ReplaceAll(w, "|", `\|`)+"`")
		}
	}
	return strings.Join(marked, " ")
}

// cell makes text fit a Markdown table.
func cell(s string) string { return strings.ReplaceAll(s, "|", `\|`) }

// sentence begins s with a capital letter.
func sentence(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}
