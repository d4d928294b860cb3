package report

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/sonde-cli/sonde/check"
)

// gitlabIssue is one entry of a GitLab code quality report.
type gitlabIssue struct {
	Description string         `json:"description"`
	CheckName   string         `json:"check_name"`
	Fingerprint string         `json:"fingerprint"`
	Severity    string         `json:"severity"`
	Location    gitlabLocation `json:"location"`
}

type gitlabLocation struct {
	Path  string `json:"path"`
	Lines struct {
		Begin int `json:"begin"`
	} `json:"lines"`
}

// writeGitLab writes an issue for each check that is not simply up.
func writeGitLab(b *bytes.Buffer, r run) {
	b.WriteByte('[')
	seen := make(map[string]int)
	separator := "\n"
	for _, res := range r.results {
		if res.Verdict == check.Up && !res.Flaky {
			continue
		}
		issue := gitlabIssueOf(r.o, res)
		// GitLab shows one issue of those with equal fingerprints.
		key := issue.Location.Path + "\x00" + res.ID + "\x00" + issue.CheckName
		seen[key]++
		sum := sha256.Sum256(fmt.Appendf(nil, "%s\x00%d", key, seen[key]))
		issue.Fingerprint = hex.EncodeToString(sum[:16])
		text, err := json.Marshal(issue)
		if err != nil { // cannot happen: strings and numbers
			continue
		}
		b.WriteString(separator)
		b.Write(text)
		separator = ",\n"
	}
	b.WriteString("]\n")
}

func gitlabIssueOf(o Options, r check.Result) gitlabIssue {
	issue := gitlabIssue{
		Description: clean(r.ID) + " is " + r.Verdict.String() + ": " + clean(remarks(r)),
		CheckName:   "sonde/flaky",
		Severity:    gitlabSeverity(o, r),
	}
	if r.Reason.Code != "" {
		issue.CheckName = "sonde/" + clean(string(r.Reason.Code))
	}
	// The path is relative to the repository, without a leading dot.
	issue.Location.Path = strings.TrimPrefix(filepath.ToSlash(clean(o.Repository(r.File))), "./")
	if issue.Location.Path == "" {
		issue.Location.Path = "sonde" // of the command line; a path must be there
	}
	issue.Location.Lines.Begin = max(1, r.Line)
	return issue
}

func gitlabSeverity(o Options, r check.Result) string {
	if r.Optional {
		return "info"
	}
	switch o.counts(r) {
	case check.Down:
		return "critical"
	case check.Unknown:
		return "major"
	case check.Degraded:
		return "minor"
	default:
		return "info"
	}
}
