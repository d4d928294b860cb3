package cmd

import (
	"github.com/spf13/cobra"

	"github.com/sonde-cli/sonde/config"
)

const schemaLong = `Print the JSON schema of a file of checks, for editors and for other tools.

An editor with the YAML language server reads it when the file begins with

  # yaml-language-server: $schema=./sonde.schema.json`

func newSchema(a *App) *cobra.Command {
	return &cobra.Command{
		Use:     "schema",
		Short:   "Print the JSON schema of a file of checks",
		Long:    schemaLong,
		Example: "  sonde schema > sonde.schema.json",
		Args:    atMost(0),
		RunE: func(*cobra.Command, []string) error {
			schema, err := config.Schema(a.Kinds)
			if err != nil {
				return err
			}
			_, err = a.Stdout.Write(schema)
			return err
		},
	}
}
