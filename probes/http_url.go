package probes

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"golang.org/x/net/idna"
)

// parseHTTPURL reads an absolute http or https URL and normalises its host.
func parseHTTPURL(text string) (*url.URL, error) {
	if text == "" {
		return nil, errors.New("is empty, write it like https://example.com/")
	}
	u, err := url.Parse(text)
	if err != nil {
		return nil, badURL(err)
	}
	if u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("needs http:// or https:// in front, it begins with %s", excerpt([]byte(text)))
	}
	host, err := normalHost(u.Hostname())
	if err != nil {
		return nil, err
	}
	port := u.Port()
	if n, err := strconv.ParseUint(port, 10, 16); port != "" && (err != nil || n == 0) {
		return nil, fmt.Errorf("port %s is not in 1..65535", port)
	}
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	if port != "" {
		host += ":" + port
	}
	u.Host, u.Fragment, u.RawFragment = host, "", ""
	u.RawQuery = escapeQuery(u.RawQuery)
	if u.Path == "" {
		u.Path = "/"
	}
	return u, nil
}

// escapeQuery escapes what may not stand in a query (RFC 3986, section 3.4) and
// leaves everything else as it was written. net/url does so for paths only, and
// a space would end the request line's target.
func escapeQuery(query string) string {
	var b strings.Builder
	for i := range len(query) {
		if c := query[i]; c <= ' ' || c > '~' || strings.IndexByte("\"<>", c) >= 0 {
			fmt.Fprintf(&b, "%%%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

// writtenPassword returns a URL's password as it is written, with its escapes,
// of which there are several for one character.
func writtenPassword(text string) string {
	if _, rest, ok := strings.Cut(text, "://"); ok {
		text = rest
	}
	authority := text[:strings.IndexAny(text+"/", "/?#")]
	user := authority[:max(0, strings.LastIndexByte(authority, '@'))]
	_, password, _ := strings.Cut(user, ":")
	return password
}

// badURL words an error of net/url without the URL, which may hold a password.
func badURL(err error) error {
	var ue *url.Error
	if errors.As(err, &ue) {
		err = ue.Err
	}
	var bad url.EscapeError
	if strings.Contains(err.Error(), "userinfo") || strings.Contains(err.Error(), "invalid port") {
		return errors.New("is no valid URL: bad characters in the host, port, user or password; escape them as %XX")
	}
	if errors.As(err, &bad) {
		return errors.New("is no valid URL: bad %-escape")
	}
	return fmt.Errorf("is no valid URL: %w", err)
}

// normalHost returns the host as it goes on the wire: lower case, an
// international name in punycode (RFC 5891).
func normalHost(host string) (string, error) {
	if host == "" {
		return "", errors.New("has no host")
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		if strings.ContainsFunc(ip.Zone(), func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune("%/[]", r) }) {
			return "", fmt.Errorf("host %s has a zone that is no interface's name", excerpt([]byte(host)))
		}
		return ip.String(), nil
	}
	ascii := strings.ToLower(host)
	if strings.ContainsFunc(host, func(r rune) bool { return r > '~' }) {
		var err error
		if ascii, err = idna.Lookup.ToASCII(host); err != nil {
			return "", fmt.Errorf("host %s is no valid name: %w", excerpt([]byte(host)), err)
		}
	}
	name := strings.TrimSuffix(ascii, ".")
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 || strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			return "", fmt.Errorf("host %s is no valid name", excerpt([]byte(host)))
		}
	}
	if len(name) > 253 {
		return "", errors.New("the host's name is longer than 253 characters")
	}
	return ascii, nil
}

// hostPort returns the host and the port to connect to.
func hostPort(u *url.URL) (host, port string) {
	port = u.Port()
	switch {
	case port != "":
	case u.Scheme == "https":
		port = "443"
	default:
		port = "80"
	}
	return u.Hostname(), port
}

// hostHeader returns the URL's host and port as the Host header has them.
func hostHeader(u *url.URL) string {
	host, _, zone := strings.Cut(u.Hostname(), "%") // a zone is ours alone
	port := u.Port()
	if port == "" || u.Scheme == "https" && port == "443" || u.Scheme == "http" && port == "80" {
		if strings.Contains(host, ":") {
			return "[" + host + "]"
		}
		return host
	}
	if !zone {
		return u.Host
	}
	return net.JoinHostPort(host, port)
}
