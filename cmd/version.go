package cmd

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// Build tells which sonde this is. Empty fields are filled in from what the
// compiler recorded.
type Build struct {
	Version string // such as 1.2.3
	Commit  string
	Date    string // of the commit, RFC 3339
}

// complete fills in what the linker was not told. It is called before
// anything is known of the command, so it must stay cheap.
func (b Build) complete() Build {
	if b.Version != "" {
		return b
	}
	b.Version = "devel"
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return b
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		b.Version = v
	}
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision" && b.Commit == "":
			b.Commit = s.Value
		case s.Key == "vcs.time" && b.Date == "":
			b.Date = s.Value
		}
	}
	return b
}

func newVersion(a *App) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print which sonde this is",
		Args:  atMost(0),
		RunE: func(*cobra.Command, []string) error {
			_, err := fmt.Fprintf(a.Stdout, "sonde %s\ncommit %s\ndate %s\ngo %s %s/%s\n", a.Build.Version,
				or(a.Build.Commit, "unknown"), or(a.Build.Date, "unknown"), runtime.Version(), runtime.GOOS, runtime.GOARCH)
			return err
		},
	}
}

func or(s, fallback string) string {
	if s == "" {
		return fallback
	}
	return s
}
