package cmd

import (
	"github.com/spf13/cobra"

	"github.com/sonde-cli/sonde/report"
)

// complete registers what the shell offers for a flag's value.
func complete(c *cobra.Command, flag string, f cobra.CompletionFunc) {
	if err := c.RegisterFlagCompletionFunc(flag, f); err != nil {
		panic(err) // the flag's name is wrong in the source
	}
}

// fixed offers a closed list.
func fixed(values ...string) cobra.CompletionFunc {
	return cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp)
}

func formatNames(formats []report.Format) []string {
	var names []string
	for _, f := range formats {
		names = append(names, f.Name)
	}
	return names
}

func reportCompletions(formats []report.Format) cobra.CompletionFunc {
	var all []cobra.Completion
	for _, f := range formats {
		all = append(all, cobra.CompletionWithDesc(f.Name, f.Doc))
	}
	return cobra.FixedCompletions(all, cobra.ShellCompDirectiveNoFileComp)
}

// yamlFiles offers files of checks and folders.
func yamlFiles(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return []cobra.Completion{"yaml", "yml"}, cobra.ShellCompDirectiveFilterFileExt
}

// kindNames offers the kinds.
func (a *App) kindNames(_ *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var all []cobra.Completion
	for _, k := range a.Kinds {
		all = append(all, cobra.CompletionWithDesc(k.Name, k.Doc))
	}
	return all, cobra.ShellCompDirectiveNoFileComp
}

// targets offers the beginnings of targets.
func (a *App) targets(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
	var all []cobra.Completion
	for _, k := range a.Kinds {
		for _, scheme := range k.Schemes {
			all = append(all, cobra.CompletionWithDesc(scheme+"://", k.Doc))
		}
	}
	return all, cobra.ShellCompDirectiveNoSpace | cobra.ShellCompDirectiveNoFileComp
}

// labels offers what the files already on the command line call their checks:
// ids, or tags.
func (a *App) labels(pick func(id string, tags []string) []string) cobra.CompletionFunc {
	return func(c *cobra.Command, files []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		files, err := filesOrDefault(files)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		seen := make(map[string]bool)
		var all []cobra.Completion
		loader := a.loader()
		loader.Filter = func(id, _ string, tags []string) bool {
			for _, label := range pick(id, tags) {
				if !seen[label] {
					seen[label] = true
					all = append(all, label)
				}
			}
			return false
		}
		_, _ = loader.Load(c.Context(), files...) // a broken file offers what it can
		return all, cobra.ShellCompDirectiveNoFileComp
	}
}
