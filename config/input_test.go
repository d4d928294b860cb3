package config

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

const good = "version: 1\nchecks: [{name: a, ping: {host: x.test}}]\n"

func TestBadInput(t *testing.T) {
	deep := strings.Repeat("[", 5000)
	for _, tt := range []struct{ name, text, want string }{
		{"empty", "", "<stdin>:1:1: the file is empty"},
		{"blank", " \n\n", "<stdin>:1:1: the file is empty"},
		{"binary", "version: 1\n\x7fELF\x00", "<stdin>:2:5: this is a binary file, not YAML"},
		{"latin 1", "version: 1\n# gr\xfc\xdfe", "<stdin>:2:5: the text is not UTF-8"},
		{"UTF-16", "\xff\xfev\x00e\x00", "<stdin>:1:4: this is a binary file, not YAML"},
		{"control characters", "version: \x01", "the text has control characters"},
		{"deep and not closed", deep, "<stdin>:1:1: this is not valid YAML"},
		{"deep and closed", "version: 1\na: " + strings.Repeat("[", 2000) + strings.Repeat("]", 2000), "nested too deep"},
		{"a word", "hello", "must be a map of keys and values, not a text"},
		{"null", "~", "must be a map of keys and values, not nothing"},
		{"a key that is a list", "version: 1\n[a, b]: c\n", "<stdin>:2:1: a key must be plain text"},
		{"a bad second document", good + "---\n[", "<stdin>:4:"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if all := loadErrors(t, testLoader(nil), tt.text); !strings.Contains(all.Error(), tt.want) {
				t.Errorf("got\n%v\nwant %s", all, tt.want)
			}
		})
	}
}

func TestByteOrderMarkIsFine(t *testing.T) {
	mustLoad(t, testLoader(nil), "\xef\xbb\xbf"+good)
}

func TestFilesThatCannotBeRead(t *testing.T) {
	dir := write(t, map[string]string{"a.txt": good, "sub.yaml/x.txt": "x"})
	for _, tt := range []struct{ name, path, want string }{
		{"missing", filepath.Join(dir, "none.yaml"), "cannot read the file: "},
		{"directory without YAML", dir, "the directory has no .yaml or .yml file"},
		{"below a file", filepath.Join(dir, "a.txt", "b.yaml"), "cannot read the file: "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := testLoader(nil).Load(t.Context(), tt.path)
			if err == nil || !strings.HasPrefix(err.Error(), tt.path+": ") || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %s", err, tt.want)
			}
		})
	}
	if _, err := testLoader(nil).Load(t.Context()); err == nil {
		t.Error("no file at all was loaded")
	}
	if _, err := testLoader(nil).Load(t.Context(), "-"); err == nil {
		t.Error("a closed standard input was loaded")
	}
}

// TestNoReadPermission loads a file that only root may read, so what is right
// depends on who runs the test.
func TestNoReadPermission(t *testing.T) {
	path := filepath.Join(write(t, map[string]string{"a.yaml": good}), "a.yaml")
	if err := os.Chmod(path, 0); err != nil {
		t.Fatal(err)
	}
	_, openErr := os.ReadFile(path)
	_, err := testLoader(nil).Load(t.Context(), path)
	if openErr == nil && err != nil {
		t.Errorf("the file can be read, but: %v", err)
	}
	if openErr != nil && (err == nil || !strings.Contains(err.Error(), "permission denied")) {
		t.Errorf("the file cannot be read, but: %v", err)
	}
}

func TestHugeFileIsRefused(t *testing.T) {
	dir := write(t, map[string]string{"huge.yaml": good, "hosts.txt": "x", "big.txt": "x",
		"each.yaml": "version: 1\nchecks: [{name: a, each: {h: {file: hosts.txt}}, ping: {host: x}}]",
		"var.yaml":  "version: 1\nchecks: [{name: a, ping: {host: \"${file:big.txt}\"}}]"})
	for name, size := range map[string]int64{"huge.yaml": 50 << 20, "hosts.txt": 65 << 20, "big.txt": 2 << 20} {
		if err := os.Truncate(filepath.Join(dir, name), size); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]string{"huge.yaml": "larger than 10 MiB", "each.yaml": "larger than 64 MiB", "var.yaml": "larger than 1 MiB"} {
		_, err := testLoader(nil).Load(t.Context(), filepath.Join(dir, name))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", name, err, want)
		}
	}
	l := testLoader(nil)
	l.Stdin = endless{}
	if _, err := l.Load(t.Context(), "-"); err == nil || !strings.Contains(err.Error(), "<stdin>: cannot read the file: it is larger than 10 MiB") {
		t.Errorf("endless input: %v", err)
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

func TestFileNamedTwiceIsReadOnce(t *testing.T) {
	dir := write(t, map[string]string{"a.yaml": good})
	set, err := testLoader(nil).Load(t.Context(), dir, filepath.Join(dir, "a.yaml"), dir+"/./a.yaml")
	if err != nil || len(set.Checks) != 1 || len(set.Files) != 1 {
		t.Errorf("%+v, %v", set, err)
	}
}

// TestExpansionIsBounded loads small files that would grow without bounds if
// aliases, templates and references were followed blindly. A hang fails it by
// the test's own deadline.
func TestExpansionIsBounded(t *testing.T) {
	var chain, list strings.Builder
	for i := range 200 {
		chain.WriteString("  t" + strconv.Itoa(i) + ": {use: t" + strconv.Itoa(i+1) + "}\n")
	}
	list.WriteString("  t200: {labels: {a: b}}\n")
	nested := strings.Repeat("${A:-", 100) + strings.Repeat("}", 100)
	for _, tt := range []struct{ name, text, want string }{
		{"chain of templates", "version: 1\ntemplates:\n" + chain.String() + list.String() + "checks: [{name: a, use: t0, ping: {host: x}}]", "levels deep"},
		{"nested references", "version: 1\nchecks: [{name: a, ping: {host: \"" + nested + "\"}}]", "nested too deep"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			start := time.Now()
			if all := loadErrors(t, testLoader(nil), tt.text); !strings.Contains(all.Error(), tt.want) {
				t.Errorf("got\n%v\nwant %s", all, tt.want)
			}
			if took := time.Since(start); took > time.Minute {
				t.Errorf("it took %v", took)
			}
		})
	}
}

func TestProblemStrings(t *testing.T) {
	p := Problem{File: "a\x1b.yaml", Line: 3, Column: 7, Message: "bad \x1b[31m", Hint: "do\x07 it", Excerpt: "    3 | x\n      | ^"}
	want := "a·.yaml:3:7: bad ·[31m\n    3 | x\n      | ^\nhint: do· it"
	if got := p.String(); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := (Problem{Message: "x"}).String(); got != "x" {
		t.Errorf("got %q", got)
	}
	all := loadErrors(t, testLoader(nil), "version: 1\nchecks: [{name: a, ping: {host: x, \"\\e[31mcount\": 1, "+strings.Repeat(" ", 300)+"nope: 1}}]")
	for _, p := range all {
		for line := range strings.Lines(p.Excerpt) {
			if len(line) > 150 {
				t.Errorf("a long line is not cut: %q", line)
			}
		}
	}
	if strings.Contains(all.Error(), "\x1b") {
		t.Errorf("an escape gets through: %q", all.Error())
	}
}

func TestSuggest(t *testing.T) {
	known := []string{"timeout", "tags", "http", "interval"}
	for wrong, want := range map[string]string{
		"tiemout": `did you mean "timeout"?`, "htpp": `did you mean "http"?`, "HTTP": `did you mean "http"?`, "tag": `did you mean "tags"?`,
		"whatever": "known here: http, interval, tags, timeout", strings.Repeat("x", 1000): "known here: http, interval, tags, timeout",
	} {
		if got := suggest(wrong, known); got != want {
			t.Errorf("suggest(%.20q) = %q, want %q", wrong, got, want)
		}
	}
}
