package dnssec

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// rootKey is the DS record of the root's key of 2017.
const rootKey = ". IN DS 20326 8 2 E06D44B80B8F1D39A95C0B0D7C65D08458E880409BBC683457104237C7F8EC8D"

func TestAdd(t *testing.T) {
	revoked := newZone(t, "test.").Key
	revoked.Flags |= 1 << 7
	for text, want := range map[string]string{
		rootKey:                                          "",
		newZone(t, "test.").Key.String():                 "",
		revoked.String():                                 "revoked",
		"test. IN DNSKEY 0 3 15 AAAA":                    "no key of a zone",
		"web.test. IN A 192.0.2.1":                       "not a DS or DNSKEY",
		"test. IN DS 1 1 1 00":                           "not supported",
		"test. IN DS 1 13 1 " + strings.Repeat("00", 20): "digest 1 is not supported",
		"":                "empty",
		"test. IN DS one": "dns:",
	} {
		a := make(Anchors)
		if err := a.Add(text); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) || (len(a) == 1) != (want == "") {
			t.Errorf("%q: %v, %d zones", text, err, len(a))
		}
	}
	a := make(Anchors)
	if err := a.Add(rootKey); err != nil || !strings.EqualFold(a["."][0].Digest, Root()["."][0].Digest) || a["."][0].KeyTag != Root()["."][0].KeyTag {
		t.Errorf("the root's key is %v, %v", a, err)
	}
}

func TestReadFile(t *testing.T) {
	dir := t.TempDir()
	key := newZone(t, "test.").Key.String()
	for text, want := range map[string]string{
		"; comment\n" + key + "\n" + rootKey + "\n": "",
		"test. IN A 192.0.2.1\n":                    "test.: it is not a DS",
		"\n":                                        "has no DS or DNSKEY",
		"test. IN DS one\n":                         "dns:",
		strings.Repeat(key+"\n", maxAnchors+1):      "more than 256 records",
		strings.Repeat("; "+strings.Repeat("x", 1<<10)+"\n", 1<<10) + key + "\n": "has no DS or DNSKEY", // beyond what is read
	} {
		file := filepath.Join(dir, "anchors")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		a := make(Anchors)
		if err := a.ReadFile(file); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%.40q: %v", text, err)
		}
	}
	if err := make(Anchors).ReadFile(filepath.Join(dir, "none")); !os.IsNotExist(err) {
		t.Errorf("no file: %v", err)
	}
}

// TestClosest has names in and below zones that are trusted.
func TestClosest(t *testing.T) {
	a := Anchors{"test.": nil, "b.a.test.": nil}
	for name, want := range map[string]string{"test.": "test.", "a.test.": "test.", "b.a.test.": "b.a.test.", "c.b.a.test.": "b.a.test.", "example.": "", ".": ""} {
		if got, ok := a.closest(name); got != want || ok != (want != "") {
			t.Errorf("%s: %q %v", name, got, ok)
		}
	}
	if got, ok := Root().closest("test."); got != "." || !ok {
		t.Errorf("the root: %q %v", got, ok)
	}
}
