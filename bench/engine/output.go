package main

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// machine describes in one line where and when the numbers were made.
func machine() string {
	cpu := field("/proc/cpuinfo", "model name")
	kernel, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	load, _ := os.ReadFile("/proc/loadavg")
	first, _, _ := strings.Cut(string(load), " ")
	return fmt.Sprintf("%s, %d cores (%s), Linux %s, %s, load average before: %s",
		time.Now().UTC().Format("2006-01-02 15:04 UTC"), runtime.NumCPU(), cpu, strings.TrimSpace(string(kernel)), runtime.Version(), first)
}

// showProfile shows the heaviest functions of a CPU profile of sonde, when
// profiles are made.
func (b *bench) showProfile(name string) {
	if b.profile == "" {
		return
	}
	file := filepath.Join(b.profile, name+".pprof")
	if _, err := os.Stat(file); err != nil {
		return
	}
	out, _, err := b.complete("go", "tool", "pprof", "-top", "-nodecount=15", file)
	if err != nil {
		b.progress("%v", err)
		return
	}
	_, top, _ := strings.Cut(out, "Duration:")
	fmt.Fprintf(b.out, "Profile %s:\n\n```\nDuration:%s```\n\n", name, top)
}

// field returns the value of the first "key : value" line of a file, or "".
func field(file, key string) string {
	f, err := os.Open(file)
	if err != nil {
		return ""
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if name, value, ok := strings.Cut(lines.Text(), ":"); ok && strings.TrimSpace(name) == key {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

const resultsHead = `# Results of the engine's bench

Made by ` + "`make bench`" + `; README.md says how to read them. Each section names the
machine and the time of its own run.

`

// replaceSection puts the section into the file in place of the one of the same
// name, or at its end.
func replaceSection(file, name, text string) error {
	old, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		old = []byte(resultsHead)
	} else if err != nil {
		return err
	}
	text = strings.TrimRight(text, "\n") + "\n"
	head, sections := split(string(old))
	found := false
	for i, s := range sections {
		if title, _, _ := strings.Cut(s, "\n"); title == "## "+name {
			sections[i], found = text, true
		}
	}
	if !found {
		sections = append(sections, text)
	}
	return os.WriteFile(file, []byte(head+strings.Join(sections, "\n")), 0o644)
}

// split divides a document at its headings of the second level.
func split(document string) (head string, sections []string) {
	for part := range strings.SplitSeq("\n"+document, "\n## ") {
		if head == "" {
			head = strings.TrimPrefix(part, "\n")
			head = strings.TrimRight(head, "\n") + "\n\n"
			continue
		}
		sections = append(sections, "## "+strings.TrimRight(part, "\n")+"\n")
	}
	return head, sections
}

// table collects rows of a Markdown table.
type table struct{ rows [][]string }

func (t *table) row(cells ...string) { t.rows = append(t.rows, cells) }

func (t *table) String() string {
	var text strings.Builder
	for i, row := range t.rows {
		text.WriteString("| " + strings.Join(row, " | ") + " |\n")
		if i == 0 {
			text.WriteString(strings.Repeat("|---", len(row)) + "|\n")
		}
	}
	return text.String()
}

// micros shows a time per probe.
func micros(d time.Duration) string {
	return strconv.FormatFloat(float64(d)/float64(time.Microsecond), 'f', 1, 64) + " us"
}

// millis shows a time of an engine.
func millis(d time.Duration) string {
	return strconv.FormatFloat(float64(d)/float64(time.Millisecond), 'f', 2, 64) + " ms"
}

func mebibytes(n int64) string { return strconv.FormatInt(n>>20, 10) + " MiB" }

// verdict words whether a goal is met.
func verdict(met bool) string {
	if met {
		return "met"
	}
	return "**missed**"
}

func sentence(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

func oneLine(err error) string { return strings.ReplaceAll(err.Error(), "\n", " | ") }
