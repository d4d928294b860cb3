// Manpages writes the manual pages of all commands into a folder:
//
//	go run ./internal/manpages dist/man
//
// It is a program of its own, so that what makes the pages is no part of sonde.
package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra/doc"

	"github.com/sonde-cli/sonde/cmd"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: manpages DIR")
		os.Exit(2)
	}
	if err := write(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "manpages:", err)
		os.Exit(1)
	}
}

func write(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	root := cmd.Root(cmd.Process(cmd.Build{}, nil))
	root.DisableAutoGenTag = true
	// The pages' date is that of SOURCE_DATE_EPOCH where it is set.
	return doc.GenManTree(root, &doc.GenManHeader{Section: "1", Source: "sonde"}, dir)
}
