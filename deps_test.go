package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/sonde-cli/sonde"

// listed is what `go list -json` says of a package.
type listed struct {
	ImportPath string
	Imports    []string
	Deps       []string
}

// ours lists which of our own packages each package may import. A package that
// is not named here may not exist.
var ours = map[string][]string{
	"":                    {"cmd"},
	"cmd":                 {"check", "compare", "config", "importer", "internal/memory", "internal/nearest", "internal/playground", "plan", "probes", "report", "scheduler", "watch", "web"},
	"check":               {},
	"config":              {"check", "expect", "internal/nearest"},
	"expect":              {"check", "internal/nearest"},
	"importer":            {"check", "config"},
	"probes":              {"check", "internal/nearest", "probes/dnsmsg", "probes/dnssec", "probes/echo", "probes/netif", "probes/ntp", "probes/quicledger"},
	"probes/dnsmsg":       {"check"},
	"probes/dnssec":       {"check", "probes/dnsmsg"},
	"probes/echo":         {"check", "probes/netif"},
	"probes/netif":        {"check"},
	"probes/ntp":          {},
	"probes/quicledger":   {},
	"scheduler":           {"check"},
	"compare":             {"check"},
	"report":              {"check", "compare"},
	"plan":                {"check", "scheduler"},
	"web":                 {"check", "report", "scheduler"},
	"watch":               {"check", "report"},
	"internal/memory":     {},
	"internal/nearest":    {},
	"internal/testnet":    {},
	"internal/playground": {"internal/testnet"},
	"internal/manpages":   {"cmd"},
	"bench/engine":        {"check", "config", "internal/memory", "internal/testnet", "probes", "scheduler", "web"},
	"bench/oneshot":       {},
}

// only lists the modules that a single place of ours may import.
var only = map[string][]string{
	// config reads our YAML, strictly; the importer reads that of others, with
	// merge keys, tags and wrong types, and writes a file with comments.
	"gopkg.in/yaml.v3":                         {"config", "importer"},
	"github.com/protocolbuffers/txtpbfmt":      {"importer"},
	"github.com/expr-lang/expr":                {"expect"},
	"github.com/miekg/dns":                     {"probes", "probes/dnsmsg", "probes/dnssec", "internal/testnet", "bench/engine"},
	"github.com/prometheus-community/pro-bing": {"probes/echo"},
	"github.com/quic-go/quic-go":               {"probes", "probes/quicledger", "internal/testnet"},
	"github.com/quic-go/qpack":                 {"probes"},
	"github.com/charmbracelet/lipgloss":        {"report"},
	"charm.land/bubbletea":                     {"watch"},
	"github.com/spf13/cobra":                   {"cmd", "internal/manpages"},
	"github.com/prometheus/client_golang":      {"web"},
	"github.com/prometheus/exporter-toolkit":   {"cmd"},
	"github.com/coreos/go-systemd":             {"cmd"},
	"github.com/fsnotify/fsnotify":             {"cmd"},
	"golang.org/x/crypto/ssh":                  {"probes", "internal/testnet"},
	"github.com/aclements/go-moremath":         {"compare"},
	"github.com/jackc/pgx":                     {"probes"},
	"github.com/go-sql-driver/mysql":           {"probes"},
}

func TestArrows(t *testing.T) {
	for _, p := range list(t, "./...") {
		name := strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, module), "/")
		allowed, known := ours[name]
		if !known {
			t.Errorf("package %s is new: say in this test what it may import", name)
		}
		for _, imported := range p.Imports {
			if rest, own := strings.CutPrefix(imported, module+"/"); own && !slices.Contains(allowed, rest) {
				t.Errorf("%s imports %s", name, rest)
			}
			for restricted, places := range only {
				if (imported == restricted || strings.HasPrefix(imported, restricted+"/")) && !slices.Contains(places, name) {
					t.Errorf("%s imports %s, which only %v may", name, imported, places)
				}
			}
		}
	}
}

func TestStandardLibraryOnly(t *testing.T) {
	for _, p := range list(t, "./check") {
		for _, dep := range p.Deps {
			if strings.Contains(strings.Split(dep, "/")[0], ".") && !strings.HasPrefix(dep, module) {
				t.Errorf("check depends on %s", dep)
			}
		}
	}
}

func TestSchedulerKnowsNoNetwork(t *testing.T) {
	for _, p := range list(t, "./scheduler") {
		if slices.Contains(p.Imports, "net") {
			t.Error("scheduler imports net")
		}
	}
}

// TestNoInitOfOthers keeps what costs start-up time, or has no place in a
// prober, out of the binary.
func TestNoInitOfOthers(t *testing.T) {
	for _, p := range list(t, ".") {
		for _, dep := range p.Deps {
			switch dep {
			case "testing", "net/http/pprof", "net/http/httptest", "github.com/spf13/cobra/doc":
				t.Errorf("the binary contains %s", dep)
			}
		}
	}
}

func list(t *testing.T, patterns ...string) []listed {
	t.Helper()
	cmd := exec.Command("go", append([]string{"list", "-deps=false", "-json=ImportPath,Imports,Deps"}, patterns...)...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.String())
	}
	var all []listed
	dec := json.NewDecoder(bytes.NewReader(out))
	for {
		var p listed
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
}
