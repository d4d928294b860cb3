package check

import (
	"encoding/base64"
	"encoding/json"
	"net/url"
	"strings"
	"testing"
)

func TestMask(t *testing.T) {
	for _, tc := range []struct {
		name    string
		secrets []string
		in, out string
	}{
		{"plain", []string{"hunter2"}, "password hunter2!", "password ***!"},
		{"twice", []string{"hunter2"}, "hunter2hunter2", "******"},
		{"one inside another", []string{"abc", "abcdef"}, "abcdef abc", "*** ***"},
		{"query", []string{"a b&c"}, "https://x/?k=a+b%26c", "https://x/?k=***"},
		{"path", []string{"a b/c"}, "https://x/a%20b%2Fc", "https://x/***"},
		{"quoted", []string{"say \"hi\""}, `{"k":"say \"hi\""}`, `{"k":"***"}`},
		{"hexadecimal", []string{"hunter2"}, "answer_hex 0068756e74657232ff", "answer_hex 00***ff"},
		{"base64", []string{"user:hunter2"}, "Basic dXNlcjpodW50ZXIy", "Basic ***"},
		{"lines", []string{"first\nsecond\n"}, "in second place", "in *** place"},
		{"too short", []string{"ab", ""}, "ab cab", "ab cab"},
		{"dots for what is not printable", []string{"a\tb\x01c"}, "got a.b.c", "got ***"},
		{"quoted for a shell", []string{"it's"}, `curl -H 'X: it'\''s'`, "curl -H 'X: ***'"},
		{"quoted for a shell with line breaks", []string{"it's\ta \\"}, `curl --data-raw $'a\nit\047s\ta \\\n'`, `curl --data-raw $'a\n***\n'`},
		{"cut short", []string{"hunter2"}, "you said hunte… and hu…", "you said ***… and hu…"},
		{"none", nil, "text", "text"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := NewMask(tc.secrets...).String(tc.in); got != tc.out {
				t.Errorf("got %q, want %q", got, tc.out)
			}
		})
	}
	if NewMask("a", "") != nil {
		t.Error("a mask of nothing is not nil")
	}
}

func FuzzMask(f *testing.F) {
	f.Add("hunter2", "the password is ", "!")
	f.Add("a b&c", "?q=", "&x=1")
	f.Add("line\nbreak", "", "")
	f.Fuzz(func(t *testing.T, secret, before, after string) {
		mask := NewMask(secret)
		secret = strings.TrimSpace(secret)
		if mask == nil || strings.ContainsAny(secret, "*\n") {
			return
		}
		quoted, err := json.Marshal(secret)
		if err != nil {
			t.Fatal(err)
		}
		// What stands around the secret must not make a secret with it.
		for _, form := range []string{secret, url.QueryEscape(secret), string(quoted[1 : len(quoted)-1]), base64.StdEncoding.EncodeToString([]byte(secret))} {
			if got := mask.String("<" + form + ">"); got != "<***>" && !strings.ContainsAny(secret, "<>") {
				t.Errorf("%q became %q", "<"+form+">", got)
			}
			if got := mask.String(before + form + after); strings.Contains(got, secret) {
				t.Errorf("the secret %q is in %q", secret, got)
			}
		}
	})
}

// TestMaskWith hides secrets that are known later, also one that is a part of
// another.
func TestMaskWith(t *testing.T) {
	var none *Mask
	for _, c := range []struct {
		mask     *Mask
		more     []string
		in, want string
	}{
		{none, nil, "first", "first"}, {none, []string{"first"}, "a first", "a ***"}, {NewMask("first"), nil, "first", "***"},
		{NewMask("first"), []string{"first-second"}, "first-second first", "*** ***"},
		{NewMask("first-second"), []string{"first"}, "first-second first", "*** ***"},
		{NewMask("first"), []string{"a b"}, "a+b a%20b first", "*** *** ***"},
	} {
		if got := c.mask.With(c.more...).String(c.in); got != c.want {
			t.Errorf("%q with %q: %q, want %q", c.in, c.more, got, c.want)
		}
	}
}

// TestResultHidesWhatTheRunLearnt masks secrets that came up in the run beside
// those of the check, also where one is a part of another.
func TestResultHidesWhatTheRunLearnt(t *testing.T) {
	c := Check{Mask: NewMask("hunter2")}
	o := Observation{Secrets: []string{"hunter2-session"}, Reproduce: func() string { return "curl -b s=hunter2-session -u me:hunter2" }}
	o.Set("text", "hunter2-session hunter2")
	r := c.Result(&o, Judgement{Verdict: Down, Reason: Reason{Code: HTTPStatus, Message: "got hunter2-session"}})
	for want, got := range map[string]string{"*** ***": r.Facts.Get("text").(string), "got ***": r.Reason.Message, "curl -b s=*** -u me:***": r.Reproduce} {
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	if got := c.Mask.String("hunter2-session"); got != "***-session" {
		t.Errorf("the check's own mask has changed: %q", got)
	}
}

func TestHidden(t *testing.T) {
	t.Parallel()
	for secret, want := range map[string]string{"": "form", "a": Masked, "é\n": Masked, "abc": "form"} {
		if got := Hidden(secret, "form"); got != want {
			t.Errorf("%q: %s, want %s", secret, got, want)
		}
	}
}
