package cmd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sonde-cli/sonde/config"
	"github.com/sonde-cli/sonde/importer"
)

const importLong = `Turn the configuration of another prober into a file of checks, on standard
output. What has no equivalent is named in a comment where it would stand, and
as a warning. Passwords and tokens are not copied: the file refers to variables,
which are listed.

The format is recognised by the content, or named by --from:

  blackbox     modules of blackbox_exporter, as templates; with --targets as checks
  gatus        endpoints of Gatus
  cloudprober  probes of Cloudprober, as text protobuf, YAML or JSON
  nagios       a command line of a plugin, a list of them, nrpe.cfg, or services
  kuma         a backup of Uptime Kuma`

const importExamples = `  sonde import gatus.yaml > checks.yaml
  sonde import blackbox.yml --targets prometheus.yml > checks.yaml
  sonde import --from nagios -- check_http -H example.com -S -w 1 -c 2
  sonde import --strict kuma-backup.json > checks.yaml`

// maxImport is the largest file that is imported, in bytes.
const maxImport = 10 << 20

func newImport(a *App) *cobra.Command {
	from := choice{of: importer.Formats()}
	var targets string
	var strict bool
	c := &cobra.Command{
		Use:     "import [--from FORMAT] FILE|- | --from nagios -- PLUGIN [ARG]...",
		Short:   "Turn the configuration of another prober into a file of checks",
		Long:    importLong,
		Example: importExamples,
		Args:    atLeast(1, "a file", "sonde import gatus.yaml"),
		RunE: func(c *cobra.Command, args []string) error {
			result, err := a.imported(from.value, targets, args, c.ArgsLenAtDash() == 0)
			var unreadable *importer.Error
			if errors.As(err, &unreadable) {
				return usagef(unreadable.Hint, "%s", unreadable)
			}
			if err != nil {
				return err
			}
			result.Warnings = append(result.Warnings, a.mistaken(c.Context(), result)...)
			return a.printImport(result, strict)
		},
	}
	flags := c.Flags()
	flags.SortFlags = false
	flags.Var(&from, "from", "format of the file; recognised by its content when left out")
	flags.StringVar(&targets, "targets", "", "`FILE` of targets for blackbox modules: prometheus.yml, file_sd or a list")
	flags.BoolVar(&strict, "strict", false, "exit with 2 when there is a warning")
	complete(c, "from", fixed(from.of...))
	return c
}

// imported reads the source, which with isCommand is a command line of a
// plugin.
func (a *App) imported(format, targets string, args []string, isCommand bool) (*importer.Result, error) {
	if isCommand {
		if format != "nagios" {
			return nil, usagef("for example: sonde import --from nagios -- check_tcp -H db -p 5432", "a command line after -- needs --from nagios")
		}
		return importer.Command(args)
	}
	if len(args) > 1 {
		return nil, usagef("import them one by one; a command line of a plugin stands after --", "sonde import takes one file")
	}
	source := importer.Source{Format: format}
	var err error
	if source.Name, source.Text, err = a.readSource(args[0]); err != nil {
		return nil, err
	}
	if targets != "" {
		if args[0] == "-" && targets == "-" {
			return nil, usagef("", "standard input cannot be both the file and its targets")
		}
		source.Targets = new(importer.Source)
		if source.Targets.Name, source.Targets.Text, err = a.readSource(targets); err != nil {
			return nil, err
		}
	}
	return importer.Import(source)
}

// readSource reads a file or, for "-", standard input.
func (a *App) readSource(name string) (shown, text string, err error) {
	in, shown := a.Stdin, "<stdin>"
	if name != "-" {
		file, err := os.Open(name)
		if err != nil {
			return "", "", cannotRead(name, err)
		}
		defer func() { _ = file.Close() }() // it was only read
		in, shown = file, filepath.ToSlash(name)
	}
	data, err := io.ReadAll(io.LimitReader(in, maxImport+1))
	switch {
	case err != nil:
		return "", "", cannotRead(shown, err)
	case len(data) > maxImport:
		return "", "", usagef("", "%s is larger than %d MiB", shown, maxImport>>20)
	}
	return shown, string(data), nil
}

func cannotRead(name string, err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		err = path.Err
	}
	return usagef("", "cannot read %s: %s", name, err)
}

// fileKeys are keys of an imported file that name files, which need not be here.
var fileKeys = []string{"body_file", "headers_file", "ca", "cert", "key"}

// mistaken returns what keeps the imported file from being valid: the source is
// not always. What depends on variables or on other files is for 'sonde
// validate', once they are there.
func (a *App) mistaken(ctx context.Context, result *importer.Result) []config.Problem {
	if result.Checks == 0 {
		return nil
	}
	loader := a.loader()
	loader.Stdin, loader.StdinName = bytes.NewReader(result.Text), "<stdout>"
	loader.LookupEnv = func(string) (string, bool) { return "value", true }
	_, err := loader.Load(ctx, "-")
	var wrong config.Errors
	if !errors.As(err, &wrong) {
		return nil
	}
	lines := strings.Split(string(result.Text), "\n")
	return slices.DeleteFunc(wrong, func(p config.Problem) bool {
		if p.Line < 1 || p.Line > len(lines) {
			return false
		}
		line := strings.ReplaceAll(lines[p.Line-1], "${each.", "")
		key, _, _ := strings.Cut(strings.TrimLeft(line, " -"), ":")
		return strings.Contains(line, "${") || slices.Contains(fileKeys, key)
	})
}

// printImport writes the file to standard output and what there is to know to
// standard error.
func (a *App) printImport(result *importer.Result, strict bool) error {
	a.warnAll(result.Warnings)
	if result.Checks == 0 {
		return usagef("", "nothing could be imported")
	}
	if len(result.Variables) > 0 {
		a.stderr("set these variables, which hold what the source has in its place:\n")
		width := len(slices.MaxFunc(result.Variables, func(x, y importer.Variable) int { return len(x.Name) - len(y.Name) }).Name)
		for _, v := range result.Variables {
			place := ""
			if v.Line > 0 {
				place = fmt.Sprintf(", line %d", v.Line)
			}
			a.stderr("  %-*s  %s%s\n", width, v.Name, v.Doc, place)
		}
	}
	if _, err := a.Stdout.Write(result.Text); err != nil {
		return err
	}
	if strict && len(result.Warnings) > 0 {
		return usagef("", "%s, and --strict takes none", plural(len(result.Warnings), "warning"))
	}
	return nil
}
