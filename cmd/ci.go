package cmd

import (
	"os"
	"path/filepath"
	"strings"

	"github.com/sonde-cli/sonde/report"
)

// Names of the files that a GitLab job gets beside the table, in the folder of
// the repository. The second is the one that GitLab's own jobs use.
const (
	gitlabJUnit   = "gl-junit-report.xml"
	gitlabQuality = "gl-code-quality-report.json"
)

// leastSummary is the room, in bytes, below which a step's summary is left as it
// is.
const leastSummary = 4 << 10

// destinations returns where the results of a run go: what the flags say, or,
// when they say nothing, the fallback on standard output and beside it what the
// CI system shows to developers.
func (a *App) destinations(f *verdictFlags, fallback report.Format) ([]destination, error) {
	all, err := parseReports(f.reports.values, fallback)
	if err != nil {
		return nil, err
	}
	if err := f.verifyExitStyle(); err != nil {
		return nil, err
	}
	for i := range all {
		all[i].appended = a.isSummary(all[i].path)
		if d := all[i]; d.format.Name == "prometheus" && d.path != "" && !strings.HasSuffix(d.path, ".prom") && !strings.HasPrefix(d.path, "/dev/") {
			a.warn("node_exporter reads only files whose names end in .prom, unlike "+d.path, "write --report prometheus="+d.path+".prom")
		}
	}
	return append(all, a.unasked(all, len(f.reports.values) == 0)...), nil
}

// unasked returns the reports that the CI system gets without being told to.
// Annotations go to standard error, where GitHub Actions reads them as well: a
// table that is piped somewhere stays a table.
func (a *App) unasked(all []destination, byDefault bool) []destination {
	var more []destination
	annotated := false
	for _, d := range all {
		annotated = annotated || d.format.Name == "github"
		if d.appended {
			return nil
		}
	}
	switch {
	case byDefault && a.is("GITHUB_ACTIONS", "true"):
		more, annotated = append(more, destination{format: mustFormat("github"), stderr: true, unasked: true}), true
	case byDefault && a.set("GITLAB_CI"):
		folder, _ := a.LookupEnv("CI_PROJECT_DIR")
		more = append(more,
			destination{format: mustFormat("junit"), path: filepath.Join(folder, gitlabJUnit), unasked: true},
			destination{format: mustFormat("gitlab"), path: filepath.Join(folder, gitlabQuality), unasked: true})
	}
	if path, _ := a.LookupEnv("GITHUB_STEP_SUMMARY"); annotated && path != "" {
		more = append(more, destination{format: mustFormat("markdown"), path: path, appended: true, unasked: true})
	}
	return more
}

// isSummary reports whether the path is that of the step's summary, however it
// is written: other programs of the step write there as well.
func (a *App) isSummary(path string) bool {
	summary, _ := a.LookupEnv("GITHUB_STEP_SUMMARY")
	return path != "" && summary != "" && resolved(path) == resolved(summary)
}

// is reports whether the environment variable has the value.
func (a *App) is(name, want string) bool {
	value, _ := a.LookupEnv(name)
	return value == want
}

// repository returns what turns the name of a file into the one that it has in
// the repository that a CI system checked out. Others stay as they are.
func (a *App) repository() func(string) string {
	root, _ := a.LookupEnv("GITHUB_WORKSPACE")
	if root == "" {
		root, _ = a.LookupEnv("CI_PROJECT_DIR")
	}
	if root == "" {
		return nil
	}
	root = resolved(root)
	known := make(map[string]string)
	return func(file string) string {
		name, ok := known[file]
		if !ok {
			name = below(root, file)
			known[file] = name
		}
		return name
	}
}

// below returns the name of file relative to root, or file when it is not there.
func below(root, file string) string {
	if _, err := os.Stat(file); err != nil { // standard input, for one
		return file
	}
	name, err := filepath.Rel(root, resolved(file))
	if err != nil || !filepath.IsLocal(name) {
		return file
	}
	return filepath.ToSlash(name)
}

// resolved returns the absolute path without symbolic links, as far as it can be
// had.
func resolved(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		path = abs
	}
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	return path
}
