package cmd

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"

	"github.com/sonde-cli/sonde/config"
)

// TestOptionFlags holds the flags to what a curl user expects of them.
func TestOptionFlags(t *testing.T) {
	form := config.Setting{Path: "headers.Content-Type", Value: "application/x-www-form-urlencoded", Flag: "--data"}
	post := config.Setting{Path: "method", Value: "POST", Flag: "--data"}
	body := func(text string) config.Setting { return config.Setting{Path: "body", Value: text, Flag: "--data"} }
	tests := []struct {
		args []string
		want []config.Setting
		err  string
	}{
		{args: []string{"-d", "a=1"}, want: []config.Setting{body("a=1"), post, form}},
		{args: []string{"-d", "a=1", "--data", "b=2"}, want: []config.Setting{body("a=1&b=2"), post, form}},
		{args: []string{"-d", ""}, want: []config.Setting{body(""), post, form}},
		{args: []string{"-d", "x", "-X", "PUT"}, want: []config.Setting{{Path: "method", Value: "PUT", Flag: "--method"}, body("x"), form}},
		{args: []string{"-d", "{}", "-H", "content-type: application/json"}, want: []config.Setting{
			{Path: "headers.content-type", Value: "application/json", Flag: "--header"}, body("{}"), post,
		}},
		{args: []string{"-d", "x", "-H", "@headers.txt"}, want: []config.Setting{{Path: "headers_file", Value: "headers.txt", Flag: "--header"}, body("x"), post}},
		{args: []string{"-d", "@a${b}"}, want: []config.Setting{{Path: "body_file", Value: "a$${b}", Flag: "--data"}, post, form}},
		{args: []string{"-d", "@-"}, want: []config.Setting{body("from $${stdin}"), post, form}},
		{args: []string{"-d", "@a", "-d", "b"}, err: "one @FILE"},
		{args: []string{"-I", "-k", "-4", "-L"}, want: []config.Setting{
			{Path: "method", Value: "HEAD", Flag: "--head"},
			{Path: "tls.insecure", Value: "true", Flag: "--insecure"},
			{Path: "family", Value: "4", Flag: "--ipv4"},
		}},
		{args: []string{"-u", "me:a:b"}, want: []config.Setting{
			{Path: "auth.username", Value: "me", Flag: "--user"}, {Path: "auth.password", Value: "a:b", Flag: "--user"},
		}},
	}
	for _, tt := range tests {
		var f optionFlags
		c := &cobra.Command{}
		f.register(c)
		if err := c.ParseFlags(tt.args); err != nil {
			t.Errorf("%v: %v", tt.args, err)
			continue
		}
		got, err := f.settings(strings.NewReader("from ${stdin}"))
		if (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%v: %v, want %s", tt.args, err, tt.err)
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%v: %s", tt.args, diff)
		}
	}
}
