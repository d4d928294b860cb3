package probes

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/url"
	"path/filepath"
	"strings"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"

	"github.com/sonde-cli/sonde/check"
)

// maxPayload is how large a request's body may be.
const maxPayload = 64 << 20

// Payload is what a request sends: the options that make its body.
type Payload struct {
	JSON               check.JSON          `yaml:"json" doc:"request body as a value of YAML, sent as JSON with that content type"`
	Form               map[string][]string `yaml:"form" single:"true" doc:"request body as fields of a form, sent URL-encoded in the order of their names; a list repeats a field"`
	Multipart          []httpPart          `yaml:"multipart" doc:"request body as multipart/form-data: a list of fields and files"`
	RequestCompression string              `yaml:"request_compression" enum:"none,gzip,deflate,br,zstd" doc:"content coding of the request body"`
}

// httpPart is a field or a file of a multipart form.
type httpPart struct {
	Name     string `yaml:"name" required:"true" doc:"name of the field"`
	Value    string `yaml:"value" doc:"its value"`
	File     string `yaml:"file" path:"true" doc:"file to send in place of a value"`
	Filename string `yaml:"filename" doc:"name that the server sees; default is the file's own"`
	Type     string `yaml:"type" doc:"content type of the part; default of a file is application/octet-stream"`
}

// body makes the request's body and settles its method.
func (b *httpBuilder) body() error {
	o := b.options
	if err := b.oneBody(); err != nil {
		return err
	}
	var contentType string
	var err error
	switch {
	case o.BodyFile != "":
		b.probe.body, err = readSmallFile(o.BodyFile, maxPayload)
		if err != nil {
			return check.OptionErrorf("body_file", "%w", err)
		}
	case o.JSON != "":
		b.probe.body, contentType = []byte(o.JSON), "application/json"
	case len(o.Form) > 0:
		b.probe.body, contentType = []byte(b.form()), "application/x-www-form-urlencoded"
	case len(o.Multipart) > 0:
		if b.probe.body, contentType, err = b.multipart(); err != nil {
			return err
		}
	default:
		b.probe.body = []byte(o.Body)
	}
	if len(b.probe.body) > maxPayload {
		return check.OptionErrorf(b.bodyOption(), "makes a body larger than the limit of %s", check.Size(maxPayload))
	}
	if _, own := b.probe.header("Content-Type"); !own && contentType != "" {
		b.probe.headers = append(b.probe.headers, field{"Content-Type", contentType})
	}
	if err := b.compress(); err != nil {
		return err
	}
	return b.method()
}

// bodyOptions returns the options that give a body and are set.
func (o *httpOptions) bodyOptions() []string {
	var given []string
	for _, option := range []struct {
		name string
		set  bool
	}{
		{"body", o.Body != ""}, {"body_file", o.BodyFile != ""}, {"json", o.JSON != ""},
		{"form", len(o.Form) > 0}, {"multipart", len(o.Multipart) > 0},
	} {
		if option.set {
			given = append(given, option.name)
		}
	}
	return given
}

func (b *httpBuilder) bodyOption() string { return b.options.bodyOptions()[0] }

func (b *httpBuilder) oneBody() error {
	if given := b.options.bodyOptions(); len(given) > 1 {
		return check.OptionErrorf(given[1], "there is a %s too, give one of the two", given[0])
	}
	return nil
}

func (b *httpBuilder) method() error {
	method := strings.ToUpper(b.options.Method)
	switch {
	case method == "" && len(b.probe.body) > 0:
		method = "POST"
	case method == "":
		method = "GET"
	case !isToken(method):
		return check.OptionErrorf("method", "%s is no method", excerpt([]byte(b.options.Method)))
	case method == "CONNECT":
		return check.OptionErrorf("method", "CONNECT makes a tunnel, not a request; for a proxy use proxy")
	}
	b.probe.method = method
	return nil
}

// form encodes the fields of the form in the order of their names.
func (b *httpBuilder) form() string {
	for name, values := range b.options.Form {
		if sensitiveParameter(name) {
			b.secrets = append(b.secrets, values...)
		}
	}
	return url.Values(b.options.Form).Encode()
}

// multipart makes a multipart/form-data body (RFC 7578). Its boundary is a hash
// of the parts: the body is the same in each run, and no part can hold it.
func (b *httpBuilder) multipart() (body []byte, contentType string, err error) {
	var parts [][]byte
	sum, size := sha256.New(), 0
	for i, p := range b.options.Multipart {
		option := fmt.Sprintf("multipart[%d]", i)
		part, err := p.encode(option)
		if err != nil {
			return nil, "", err
		}
		if size += len(part); size > maxPayload {
			return nil, "", check.OptionErrorf(option, "makes the body larger than the limit of %s", check.Size(maxPayload))
		}
		if sensitiveParameter(p.Name) {
			b.secrets = append(b.secrets, p.Value)
		}
		sum.Write(part)
		parts = append(parts, part)
	}
	boundary := "sonde-" + hex.EncodeToString(sum.Sum(nil)[:16])
	var out bytes.Buffer
	for _, part := range parts {
		out.WriteString("--" + boundary + "\r\n")
		out.Write(part)
		out.WriteString("\r\n")
	}
	out.WriteString("--" + boundary + "--\r\n")
	if own, set := b.probe.header("Content-Type"); set {
		return nil, "", check.OptionErrorf("multipart", "the header Content-Type is set to %s, but only sonde knows the boundary of the parts", excerpt([]byte(own)))
	}
	return out.Bytes(), "multipart/form-data; boundary=" + boundary, nil
}

// encode returns the part's head and content. Names are escaped as browsers and
// curl do it (WHATWG HTML, section "multipart form data").
func (p *httpPart) encode(option string) ([]byte, error) {
	content := []byte(p.Value)
	switch {
	case p.Name == "":
		return nil, check.OptionErrorf(option+".name", "is empty")
	case p.File != "" && p.Value != "":
		return nil, check.OptionErrorf(option+".file", "there is a value too, give one of the two")
	case strings.ContainsFunc(p.Type, isControl):
		return nil, check.OptionErrorf(option+".type", "holds a line break or another control character")
	case p.Type != "" && !strings.Contains(p.Type, "/"):
		return nil, check.OptionErrorf(option+".type", "%s is no content type, such as text/plain", excerpt([]byte(p.Type)))
	case p.File != "":
		var err error
		if content, err = readSmallFile(p.File, maxPayload); err != nil {
			return nil, check.OptionErrorf(option+".file", "%w", err)
		}
	}
	escape := strings.NewReplacer("\r", "%0D", "\n", "%0A", `"`, "%22")
	head := `Content-Disposition: form-data; name="` + escape.Replace(p.Name) + `"`
	if name := p.filename(); name != "" {
		head += `; filename="` + escape.Replace(name) + `"`
	}
	if kind := p.contentType(); kind != "" {
		head += "\r\nContent-Type: " + kind
	}
	return append([]byte(head+"\r\n\r\n"), content...), nil
}

func (p *httpPart) filename() string {
	if p.Filename == "" && p.File != "" {
		return filepath.Base(p.File)
	}
	return p.Filename
}

func (p *httpPart) contentType() string {
	if p.Type == "" && p.filename() != "" {
		return "application/octet-stream"
	}
	return p.Type
}

func isControl(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }

// compress encodes the body, once for all runs.
func (b *httpBuilder) compress() error {
	coding := b.options.RequestCompression
	if coding == "" || coding == "none" {
		return nil
	}
	if len(b.probe.body) == 0 {
		return check.OptionErrorf("request_compression", "there is no request body to compress")
	}
	if _, own := b.probe.header("Content-Encoding"); own {
		return check.OptionErrorf("request_compression", "the header Content-Encoding is set too, give one of the two")
	}
	var out bytes.Buffer
	var w io.WriteCloser
	var err error
	switch coding {
	case "gzip":
		w = gzip.NewWriter(&out)
	case "deflate":
		w = zlib.NewWriter(&out) // RFC 9110, section 8.4.1.2
	case "br":
		w = brotli.NewWriter(&out)
	case "zstd":
		w, err = zstd.NewWriter(&out, zstd.WithEncoderConcurrency(1))
	default:
		return check.OptionErrorf("request_compression", "%q is none of none, gzip, deflate, br, zstd", coding)
	}
	if err == nil {
		_, err = w.Write(b.probe.body)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil { // none of them fails into memory
		return check.OptionErrorf("request_compression", "%w", err)
	}
	b.probe.body = out.Bytes()
	b.probe.headers = append(b.probe.headers, field{"Content-Encoding", coding})
	return nil
}
