package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/sonde-cli/sonde/check"
	"github.com/sonde-cli/sonde/internal/testnet"
)

// hostileCases are those that docs/hostile.md must have: of A to G and I all
// that concern a target, a file or a secret. G11 is about alerts, I13 and I14
// are about nodes of a fleet.
var hostileCases = slices.Concat(numbered("A", 20), numbered("B", 24), numbered("C", 24), numbered("D", 10), numbered("E", 18),
	numbered("F", 13), numbered("G", 10), numbered("I", 12), []string{"I15", "I16"})

// numbered are A1, A2 and so on.
func numbered(letter string, last int) (cases []string) {
	for n := 1; n <= last; n++ {
		cases = append(cases, letter+strconv.Itoa(n))
	}
	return cases
}

// tableRows returns the cells of the page's tables, heads left out.
func tableRows(text string) (rows [][]string) {
	for line := range strings.Lines(text) {
		cells := strings.Split(strings.Trim(line, "|\n"), " | ")
		if !strings.HasPrefix(line, "| ") || cells[0] == " case" || cells[0] == " promise" {
			continue
		}
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		rows = append(rows, cells)
	}
	return rows
}

// TestHostilePage holds docs/hostile.md to the tests and to the codes.
func TestHostilePage(t *testing.T) {
	text := page(t, "docs/hostile.md")
	tests := sourceTests(t)
	seen := make(map[string]bool)
	for _, cells := range tableRows(text) {
		if seen[cells[0]] {
			t.Errorf("%s stands twice", cells[0])
		}
		seen[cells[0]] = true
		for name := range strings.SplitSeq(cells[len(cells)-1], ", ") {
			if !tests[name] {
				t.Errorf("%s: there is no test %s", cells[0], name)
			}
		}
	}
	for _, name := range hostileCases {
		if !seen[name] {
			t.Errorf("the case %s is missing", name)
		}
	}
	for _, f := range testnet.Faults() {
		if !seen[f.Case] {
			t.Errorf("the fault %s is of %s, which is no case", f.Name, f.Case)
		}
	}
	known := check.Codes()
	for _, m := range regexp.MustCompile("`((dns|connect|tls|http|icmp|ssh|exec|reply|local)\\.[a-z_]+)`").FindAllStringSubmatch(text, -1) {
		if !slices.ContainsFunc(known, func(c check.CodeDoc) bool { return string(c.Code) == m[1] }) {
			t.Errorf("%s is no reason code", m[1])
		}
	}
}

// sourceTests returns the tests of all packages, whatever their build tags, as
// package.TestName.
func sourceTests(t *testing.T) map[string]bool {
	t.Helper()
	tests := make(map[string]bool)
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != "." && strings.HasPrefix(d.Name(), "."):
			return fs.SkipDir
		case d.IsDir() || !strings.HasSuffix(path, "_test.go"):
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		for _, decl := range file.Decls {
			if f, ok := decl.(*ast.FuncDecl); ok && f.Recv == nil && strings.HasPrefix(f.Name.Name, "Test") {
				tests[file.Name.Name+"."+f.Name.Name] = true
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return tests
}
