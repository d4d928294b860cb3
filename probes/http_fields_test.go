package probes

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sonde-cli/sonde/check"
	"github.com/sonde-cli/sonde/internal/testnet"
)

func TestHTTPFieldFacts(t *testing.T) {
	t.Parallel()
	now := time.Now().UTC().Truncate(time.Second)
	const format = "Mon, 02 Jan 2006 15:04:05 GMT"
	head := fmt.Sprintf("HTTP/1.1 200 OK\r\nDate: %s\r\nLast-Modified: %s\r\nAge: 90\r\nContent-Length: 5\r\n\r\n",
		now.Add(time.Hour).Format(format), now.Add(-48*time.Hour).Format(format))
	o := observeHTTP(t, rawSite(t, testnet.Reply(head+"hello")), patience, nil, "age", "sha256")
	sum := sha256.Sum256([]byte("hello"))
	lines := strings.SplitAfter(head, "\r\n")
	wantFacts(t, o, check.FactsOf(map[string]any{
		"age": 90 * time.Second, "header_count": 4, "header_size": len(strings.Join(lines[1:5], "")), "sha256": hex.EncodeToString(sum[:]), "size": 5,
	}))
	for fact, want := range map[string]time.Duration{"last_modified_age": 48 * time.Hour, "date_skew": time.Hour} {
		if got, _ := o.Facts.Get(fact).(time.Duration); got < want-patience || got > want+patience {
			t.Errorf("%s is %v, want about %v", fact, got, want)
		}
	}
}

// TestHTTPFieldFactsOfLiars has fields that are no dates or numbers.
func TestHTTPFieldFactsOfLiars(t *testing.T) {
	t.Parallel()
	for _, head := range []string{
		"Date: yesterday\r\nLast-Modified: 0\r\nAge: -1\r\n",
		"Date: " + strings.Repeat("9", 1000) + "\r\nLast-Modified: Mon, 99 Jan 9999 99:99:99 GMT\r\nAge: 99999999999999999999\r\n", "",
	} {
		o := observeHTTP(t, rawSite(t, testnet.Reply("HTTP/1.1 200 OK\r\n"+head+"Content-Length: 0\r\n\r\n")), patience, nil, "age")
		wantFailure(t, o, "")
		for _, fact := range []string{"age", "date_skew", "last_modified_age"} {
			if why := o.Because[fact]; o.Facts.Get(fact) != nil || why.Code != check.ExpectCode(fact) || len(why.Message) > 200 {
				t.Errorf("%q: %s is %v because %v", head, fact, o.Facts.Get(fact), why)
			}
		}
	}
}

func TestHTTPSumOfCutBody(t *testing.T) {
	t.Parallel()
	o := observeHTTP(t, httpSite(t, nil, testnet.Site())+"/bytes/100", patience, func(o *httpOptions) { o.MaxBody = 10 }, "sha256")
	if o.Facts.Get("sha256") != nil || o.Because["sha256"].Code != check.HTTPBodyTooLarge {
		t.Errorf("sha256 is %v because %v", o.Facts.Get("sha256"), o.Because["sha256"])
	}
	o = observeHTTP(t, httpSite(t, nil, testnet.Site())+"/gzip", patience, nil, "sha256", "body")
	sum := sha256.Sum256([]byte(o.Facts.Get("body").(string)))
	wantFacts(t, o, check.FactsOf(map[string]any{"encoding": "gzip", "sha256": hex.EncodeToString(sum[:])}))
}
