package probes

import (
	"maps"
	"net/url"
	"slices"
	"strings"
)

// encoders are the programs that encode their input as a content coding.
var encoders = map[string]string{"gzip": "gzip -c", "deflate": "pigz -cz", "br": "brotli -c", "zstd": "zstd -c"}

// encoded reports whether the request's body is compressed, which curl does not
// do.
func (p *httpProbe) encoded() bool { return encoders[p.options.RequestCompression] != "" }

// curlInput begins the line with what makes the body that curl only passes on.
// It is nil when there is no such command: only curl makes a multipart form.
func (p *httpProbe) curlInput() shellLine {
	c := shellLine{}
	if !p.encoded() {
		return c
	}
	o := &p.options
	switch {
	case o.BodyFile != "":
		c.add("cat", o.BodyFile)
	case len(o.Multipart) > 0:
		return nil
	case len(o.Form) > 0:
		c.add("printf", "%s", url.Values(o.Form).Encode())
	case o.JSON != "":
		c.add("printf", "%s", string(o.JSON))
	default:
		c.add("printf", "%s", o.Body)
	}
	return append(c, "|", encoders[o.RequestCompression], "|")
}

// curlsOwn reports whether curl sends the header field by itself with the
// options that curlBody gives it.
func (p *httpProbe) curlsOwn(f field) bool {
	if !strings.EqualFold(f.name, "Content-Type") || p.encoded() {
		return false
	}
	switch o := &p.options; {
	case len(o.Multipart) > 0:
		return true
	case o.JSON != "":
		return f.value == "application/json"
	case len(o.Form) > 0:
		return f.value == "application/x-www-form-urlencoded"
	default:
		return false
	}
}

func (p *httpProbe) curlBody(c *shellLine) {
	o := &p.options
	if len(p.body) == 0 {
		return
	}
	if _, typed := p.header("Content-Type"); !typed {
		c.add("-H", "Content-Type:") // curl would add one
	}
	switch {
	case p.encoded():
		c.add("--data-binary", "@-")
	case o.BodyFile != "":
		c.add("--data-binary", "@"+o.BodyFile)
	case o.JSON != "":
		if _, own := p.header("Accept"); !own {
			c.add("-H", "Accept: */*") // --json would ask for JSON
		}
		c.add("--json", string(o.JSON))
	case len(o.Form) > 0:
		for _, name := range slices.Sorted(maps.Keys(o.Form)) {
			for _, value := range o.Form[name] {
				if sensitiveParameter(name) {
					value = hidden(value)
				}
				c.add("--data-urlencode", url.QueryEscape(name)+"="+value)
			}
		}
	case len(o.Multipart) > 0:
		for i := range o.Multipart {
			o.Multipart[i].curl(c)
		}
	default:
		c.add("--data-raw", o.Body)
	}
}

// curl adds the part. Its value may begin with a character that is special to
// --form.
func (p *httpPart) curl(c *shellLine) {
	filename, kind, value := p.filename(), p.contentType(), p.Value
	if sensitiveParameter(p.Name) {
		value = hidden(value)
	}
	if filename == "" && kind == "" {
		c.add("--form-string", p.Name+"="+value)
		return
	}
	text := p.Name + "=" + quote(value)
	if p.File != "" {
		text = p.Name + "=@" + quote(p.File)
	}
	if filename != "" {
		text += ";filename=" + quote(filename)
	}
	c.add("--form", text+";type="+kind)
}

// curlAuth adds the credentials that the header fields do not hold. A token
// that is known at run time only is fetched by the line, too.
func (p *httpProbe) curlAuth(c *shellLine) {
	inner := ""
	switch {
	case p.digest != nil:
		c.add("--digest", "-u", p.digest.user+":"+hidden(p.digest.password))
		return
	case p.tokenFile != "":
		cat := shellLine{}
		cat.add("cat", p.tokenFile)
		inner = cat.String()
	case p.tokens != nil:
		inner = p.tokens.curl(&p.options.Auth.OAuth2)
	default:
		return
	}
	*c = append(*c, "-H", `"Authorization: Bearer $(`+inner+`)"`)
}
