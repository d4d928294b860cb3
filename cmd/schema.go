package cmd

import (
	"github.com/spf13/cobra"

	"github.com/sonde-cli/sonde/config"
	"github.com/sonde-cli/sonde/report"
)

const schemaLong = `Print the JSON schema of a file of checks, for editors and for other tools. With
--results it is that of the report json; its $defs/result is a line of ndjson.

An editor with the YAML language server reads it when the file begins with

  # yaml-language-server: $schema=./sonde.schema.json`

func newSchema(a *App) *cobra.Command {
	var results bool
	c := &cobra.Command{
		Use:     "schema",
		Short:   "Print the JSON schema of a file of checks, or of results",
		Long:    schemaLong,
		Example: "  sonde schema > sonde.schema.json\n  sonde schema --results > results.schema.json",
		Args:    atMost(0),
		RunE: func(*cobra.Command, []string) error {
			build := config.Schema
			if results {
				build = report.Schema
			}
			schema, err := build(a.Kinds)
			if err != nil {
				return err
			}
			_, err = a.Stdout.Write(schema)
			return err
		},
	}
	c.Flags().BoolVar(&results, "results", false, "the schema of the report json instead")
	return c
}
