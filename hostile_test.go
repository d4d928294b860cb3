package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/sonde-cli/sonde/check"
)

// hostileCases are those that docs/hostile.md must have.
const hostileCases = "A1 A2 A3 A4 A5 A6 A7 A8 A13 A15 A16 A17 A18 A19 A20 B1 B2 B3 B4 B5 B9 B10 B11 B12 B17 B18 B19 " +
	"C1 C2 C3 C4 C5 C6 C7 C8 C9 C10 C11 C12 C16 C20 C21 C22 C23 D1 D2 D3 E1 E2 E3 E4 E5 E6 E7 E8 E14 F1 F2 F3 F4 " +
	"G1 G2 G3 G4 G5 G6 G7 G8"

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
	for name := range strings.FieldsSeq(hostileCases) {
		if !seen[name] {
			t.Errorf("the case %s is missing", name)
		}
	}
	known := check.Codes()
	for _, m := range regexp.MustCompile("`((dns|connect|tls|http|icmp|exec|reply|local)\\.[a-z_]+)`").FindAllStringSubmatch(text, -1) {
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
