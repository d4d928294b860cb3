package config

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestBadFiles loads each testdata/*.bad.yaml, whose first lines state all
// errors wanted: line, column and the beginning of the message.
func TestBadFiles(t *testing.T) {
	files, err := filepath.Glob(filepath.Join("testdata", "*.bad.yaml"))
	if err != nil || len(files) < 20 {
		t.Fatalf("found %d files, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var want []string
			for line := range strings.Lines(string(text)) {
				if w, ok := strings.CutPrefix(strings.TrimSpace(line), "# want: "); ok {
					want = append(want, w)
				}
			}
			_, err = testLoader(testEnv()).Load(t.Context(), filepath.ToSlash(file))
			var got Errors
			if !errors.As(err, &got) {
				t.Fatalf("the error is %v, want Errors", err)
			}
			matched := len(got) == len(want)
			for i := 0; matched && i < len(got); i++ {
				line := fmt.Sprintf("%d:%d: %s", got[i].Line, got[i].Column, got[i].Message)
				matched = strings.HasPrefix(line, want[i])
			}
			if !matched {
				t.Errorf("want\n%s\n\ngot\n%v", strings.Join(want, "\n"), got)
			}
		})
	}
}

var _ = context.Background
