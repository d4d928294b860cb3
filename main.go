// Command sonde checks whether things are up: see the README.
package main

import (
	_ "embed"
	"os"

	"github.com/sonde-cli/sonde/cmd"
)

// Set by the linker in a release: -ldflags "-X main.version=1.2.3".
var version, commit, date string

//go:embed checks.example.yaml
var example []byte

func main() {
	os.Exit(cmd.Main(cmd.Process(cmd.Build{Version: version, Commit: commit, Date: date}, example)))
}
