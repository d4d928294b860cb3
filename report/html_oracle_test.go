//go:build oracle

package report

import (
	"bytes"
	"context"
	"image"
	"image/color"
	"image/png"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sonde-cli/sonde/compare"
)

// browser opens a page in headless Chromium and returns what it wrote to
// stdout and its log, which has what the page's console shows.
func browser(t *testing.T, page string, args ...string) (out, log string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "page.html")
	if err := os.WriteFile(file, []byte(page), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	args = append([]string{
		"--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-dev-shm-usage",
		"--disable-background-networking", "--disable-component-update", "--disable-sync",
		"--user-data-dir=" + t.TempDir(), "--enable-logging=stderr", "--hide-scrollbars",
	}, append(args, "file://"+file)...)
	cmd := exec.CommandContext(ctx, "chromium", args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("chromium: %v\n%s", err, stderr.String())
	}
	return stdout.String(), stderr.String()
}

// TestOracleHTMLConsole holds that a browser has nothing to complain of, sees
// the texts and the pictures, and runs nothing that a target wrote. One page has
// results of every sort, since starting the browser is what takes long.
func TestOracleHTMLConsole(t *testing.T) {
	t.Parallel()
	results := slices.Concat(withSamples(), hostile(), many(100))
	o := options(results)
	o.Comparison = func() *compare.Report { return compared("<script>document.title='owned'</script>") }
	dom, log := browser(t, write(t, formatOf(t, "html").New, o, results), "--dump-dom")
	if strings.Contains(log, "CONSOLE") {
		t.Errorf("the console is not empty:\n%s", log)
	}
	if got := strings.Count(dom, "<details"); got != len(results) {
		t.Errorf("%d details, want %d", got, len(results))
	}
	if strings.Contains(dom, "<script") || strings.Contains(dom, "<title>owned") {
		t.Error("a script")
	}
	for _, want := range []string{"<svg class=\"waterfall\"", "tls 14ms", "p95 49.9ms", "status 503, want 200", "checks are down", "<h2>Comparison</h2>"} {
		if !strings.Contains(dom, want) {
			t.Errorf("want %q in the page", want)
		}
	}
}

// TestOracleHTMLPolicy holds that the page's policy refuses what could come
// into it, and that the console would tell.
func TestOracleHTMLPolicy(t *testing.T) {
	t.Parallel()
	bad := []string{"<script>document.title='owned'</script>", `<p style="color:red">x</p>`, "<style>p{color:red}</style>", `<img src="data:image/gif;base64,R0lGODlhAQABAAAAACw="/>`}
	page := strings.Replace(in(t, "html", sample()), "<main>", "<main>"+strings.Join(bad, "\n"), 1)
	dom, log := browser(t, page, "--dump-dom")
	if got := strings.Count(log, "CONSOLE"); got < len(bad) || strings.Contains(dom, "<title>owned") {
		t.Errorf("%d of %d are refused:\n%s", got, len(bad), log)
	}
}

// TestOracleHTMLLook holds that the style is applied, light and dark.
func TestOracleHTMLLook(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		scheme string
		page   color.RGBA
	}{{"1", color.RGBA{0xf3, 0xf5, 0xf7, 0xff}}, {"0", color.RGBA{0x0e, 0x12, 0x17, 0xff}}} {
		shot := filepath.Join(t.TempDir(), "shot.png")
		browser(t, in(t, "html", withSamples()), "--blink-settings=preferredColorScheme="+tt.scheme, "--window-size=600,3000", "--screenshot="+shot)
		picture := decode(t, shot)
		if got := color.RGBAModel.Convert(picture.At(2, 2)); got != tt.page {
			t.Errorf("scheme %s: the page is %v, want %v", tt.scheme, got, tt.page)
		}
		if n := colors(picture); n < 50 {
			t.Errorf("scheme %s: %d colours, so nothing is drawn", tt.scheme, n)
		}
	}
}

func decode(t *testing.T, file string) image.Image {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	picture, err := png.Decode(f)
	if err != nil {
		t.Fatal(err)
	}
	return picture
}

// colors counts the colours of a picture.
func colors(picture image.Image) int {
	seen := make(map[color.Color]bool)
	for y := range picture.Bounds().Dy() {
		for x := range picture.Bounds().Dx() {
			seen[picture.At(x, y)] = true
		}
	}
	return len(seen)
}

// TestOracleHTMLXMLLint holds that pages are well-formed for a reader that is
// stricter than a browser, and HTML but for elements younger than the reader.
func TestOracleHTMLXMLLint(t *testing.T) {
	for name, out := range reader(t, "html", "xmllint", "--noout", "FILE") {
		if out != "exit status 0" {
			t.Errorf("%s: %.2000s", name, out)
		}
	}
	young := []string{"header", "main", "section", "figure", "figcaption", "footer", "details", "summary", "time", "bdi",
		"svg", "defs", "pattern", "rect", "path", "line", "circle", "use", "g", "text"}
	for name, out := range reader(t, "html", "xmllint", "--html", "--noout", "FILE") {
		for l := range strings.Lines(out) {
			_, problem, is := strings.Cut(l, "HTML parser error : ")
			tag, isTag := strings.CutPrefix(problem, "Tag ")
			tag, _, _ = strings.Cut(tag, " ")
			if is && !(isTag && strings.Contains(" "+strings.Join(young, " ")+" ", " "+tag+" ")) {
				t.Errorf("%s: %.300s", name, l)
			}
		}
	}
}
