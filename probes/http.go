package probes

import (
	"errors"
	"net/url"
	"strings"

	"github.com/sonde-cli/sonde/check"
)

func init() {
	register(check.Kind{
		Name:    "http",
		Doc:     "one HTTP request, HTTP/1.1, HTTP/2 or HTTP/3, over a fresh connection unless told otherwise",
		Schemes: []string{"http", "https"},
		Facts:   httpFacts(),
		New:     func() check.Options { return newHTTPOptions() },
	})
}

// httpOptions are the options of an http check.
type httpOptions struct {
	URL         string            `yaml:"url" address:"true" required:"true" doc:"what to request, http:// or https://"`
	Method      string            `yaml:"method" doc:"request method; default is GET, or POST when there is a body"`
	Headers     map[string]string `yaml:"headers" doc:"request header fields"`
	HeadersFile string            `yaml:"headers_file" path:"true" doc:"file of more header fields, a 'Name: value' line each"`
	Body        string            `yaml:"body" doc:"request body"`
	BodyFile    string            `yaml:"body_file" path:"true" doc:"file with the request body"`
	Payload     `yaml:",inline"`
	Auth        httpAuth   `yaml:"auth" doc:"who we say we are"`
	Redirects   int        `yaml:"redirects" doc:"how many redirects to follow; 0 never follows one"`
	Cookies     bool       `yaml:"cookies" doc:"keep the cookies that redirects set, for the hops after them (RFC 6265); false sends none"`
	Version     string     `yaml:"version" enum:"auto,1.1,2,3" doc:"HTTP version; auto lets the server choose over TLS; 2 over http:// begins in HTTP/2 at once; 3 goes over QUIC, for https:// only, see docs/http3.md"`
	Compression string     `yaml:"compression" enum:"none,any,gzip,deflate,br,zstd" doc:"content coding to ask for; what comes is decoded in any case"`
	MaxBody     check.Size `yaml:"max_body" doc:"how much of the body to read, after decompression; half of it when an expectation looks into a body that is br or zstd"`
	Connection  string     `yaml:"connection" enum:"fresh,reuse,both" doc:"reuse keeps the connection for the check's next run, which then measures neither DNS nor connecting nor TLS; both makes the request twice in each run, over a fresh connection and then over the same; see docs/connections.md"`
	Close       string     `yaml:"close" enum:"normal,reset" doc:"how to end connections; reset leaves no port in TIME_WAIT, see docs/connections.md"`
	Unix        string     `yaml:"unix" path:"true" doc:"path of the Unix socket to connect to, in place of the URL's host and port"`
	TLS         TLS        `yaml:"tls" doc:"TLS of https:// URLs"`
	Route       `yaml:",inline"`
	Proxied     `yaml:",inline"`
}

// The defaults of an http check's options.
const (
	defaultRedirects = 10
	defaultMaxBody   = 1 << 20
)

func newHTTPOptions() *httpOptions {
	return &httpOptions{
		Redirects: defaultRedirects, Cookies: true, Version: "auto", Compression: "none", Connection: "fresh", MaxBody: defaultMaxBody,
		Auth: httpAuth{Type: "basic", OAuth2: httpOAuth2{AuthStyle: "header"}}, Payload: Payload{RequestCompression: "none"},
		Route: Route{Family: "any"},
	}
}

// SetTarget takes a URL, or a bare host for the front page over https.
func (o *httpOptions) SetTarget(target string) error {
	scheme, rest, ok := strings.Cut(target, ":")
	if ok && !strings.HasPrefix(rest, "//") && (strings.EqualFold(scheme, "http") || strings.EqualFold(scheme, "https")) {
		return errors.New("needs two slashes behind the colon, write " + strings.ToLower(scheme) + "://host/path")
	}
	if !strings.Contains(target, "://") {
		target = "https://" + target
	}
	if _, err := url.Parse(target); err != nil {
		return badURL(err)
	}
	o.URL = target
	return nil
}

func httpFacts() []check.Fact {
	facts := []check.Fact{
		{Name: "status", Type: check.Int, Code: check.HTTPStatus, Doc: "status code of the final response"},
		{Name: "status_text", Type: check.String, Doc: "reason phrase of the final response; '' in HTTP/2 and HTTP/3"},
		{Name: "version", Type: check.String, Doc: "HTTP version of the final response: '1.0', '1.1', '2' or '3'"},
		{Name: "headers", Type: check.Map, Hidden: true, Doc: "header fields of the final response by lower-case name, repeated ones joined with ', '"},
		{Name: "content_type", Type: check.String, Doc: "media type of the final response with its parameters"},
		{Name: "encoding", Type: check.String, Doc: "content coding that was undone, such as 'gzip'; '' for none"},
		{Name: "body", Type: check.String, Hidden: true, Doc: "body of the final response, decompressed"},
		{Name: "json", Type: check.Any, Hidden: true, Doc: "body of the final response, decoded from JSON: json.a.b"},
		{Name: "sha256", Type: check.String, Doc: "SHA-256 of the body, decompressed, in hexadecimal"},
		{Name: "size", Type: check.Int, Unit: "bytes", Doc: "size of the body, decompressed"},
		{Name: "truncated", Type: check.Bool, Doc: "whether the body is larger than max_body, and so was not read to its end"},
		{Name: "url", Type: check.String, Doc: "URL of the final response"},
		{Name: "redirects", Type: check.Int, Unit: "hops", Doc: "number of redirects followed"},
		{Name: "redirect_chain", Type: check.Strings, Doc: "URLs that redirected, in order"},
		{Name: "connection", Type: check.String, Doc: "'reused' when the final response came over a connection kept from the run before, else 'fresh'"},
		{Name: "connection.age", Type: check.Duration, Doc: "time since the connection was made, 0s for a fresh one; only with connection: reuse", Option: "connection: reuse"},
		{Name: "reconnected", Type: check.Bool, Doc: "a kept connection turned out closed and a fresh one took its place; only with connection: reuse", Option: "connection: reuse"},
		{Name: "unix", Type: check.String, Doc: "path of the Unix socket that the probe connected to; only with unix, and then there is no ip", Option: "unix"},
	}
	facts = append(facts, fieldFacts()...)
	facts = append(facts, authFacts()...)
	facts = append(facts, cookieFacts()...)
	facts = append(append(facts, warmFacts()...), connectFacts()...)
	for _, f := range tlsFacts() {
		switch f.Name {
		case leafLifetime, chainLifetime:
			f.Doc += "; the shortest of all hops"
		case "tls.version":
			f.Doc += "; after redirects the facts of TLS and of the certificate are of the last hop over https"
		}
		facts = append(facts, f)
	}
	return facts
}
