package probes

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sonde-cli/sonde/check"
)

// fieldFacts are facts about the header fields of the final response. They are
// observed when an expectation names one of them.
func fieldFacts() []check.Fact {
	return []check.Fact{
		{Name: "last_modified_age", Type: check.Duration, Doc: "time since the final response's Last-Modified, by this machine's clock"},
		{Name: "date_skew", Type: check.Duration, Doc: "how far the Date of the final response is ahead of this machine's clock, negative when behind; a Date has whole seconds"},
		{Name: "age", Type: check.Duration, Doc: "how long the final response has been in caches, its header Age"},
		{Name: "header_count", Type: check.Int, Doc: "number of header fields of the final response"},
		{Name: "header_size", Type: check.Int, Unit: "bytes", Doc: "size of the header fields of the final response, as lines of HTTP/1.1"},
	}
}

func needsFields(s check.Setup) bool {
	return slices.ContainsFunc(fieldFacts(), func(f check.Fact) bool { return s.Needs(f.Name) })
}

// setFields records the fieldFacts. A date that cannot be read is explained.
func (r *httpRun) setFields(head *httpHead, now time.Time) {
	obs, size := &r.j.obs, 0
	for _, f := range head.fields {
		size += len(f.name) + len(f.value) + len(": \r\n")
	}
	obs.Set("header_count", len(head.fields))
	obs.Set("header_size", size)
	if t, ok := r.dateOf(head, "Last-Modified", "last_modified_age"); ok {
		obs.Set("last_modified_age", now.Sub(t))
	}
	if t, ok := r.dateOf(head, "Date", "date_skew"); ok {
		obs.Set("date_skew", t.Sub(now))
	}
	text := head.get("age")
	seconds, err := strconv.ParseUint(text, 10, 31) // RFC 9111, section 1.2.2
	switch {
	case text == "":
		obs.Explain("age", check.ExpectCode("age"), "the response has no header Age")
	case err != nil:
		obs.Explain("age", check.ExpectCode("age"), "the header Age is no number of seconds: "+excerpt([]byte(text)))
	default:
		obs.Set("age", time.Duration(seconds)*time.Second)
	}
}

// dateOf reads the time that a header field holds, for a fact.
func (r *httpRun) dateOf(head *httpHead, name, fact string) (time.Time, bool) {
	text := head.get(strings.ToLower(name))
	if text == "" {
		r.j.obs.Explain(fact, check.ExpectCode(fact), "the response has no header "+name)
		return time.Time{}, false
	}
	t, err := http.ParseTime(text)
	if err != nil {
		r.j.obs.Explain(fact, check.ExpectCode(fact), "the header "+name+" is no HTTP date: "+excerpt([]byte(text)))
		return time.Time{}, false
	}
	return t, true
}
