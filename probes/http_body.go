package probes

import (
	"bufio"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"strings"
	"sync"
	"unsafe"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"

	"github.com/sonde-cli/sonde/check"
)

// source is the body as it comes from the wire. It keeps its own error, for
// decoders wrap or replace it.
type source struct {
	from io.Reader
	n    int64
	err  error
}

func (s *source) Read(p []byte) (int, error) {
	n, err := s.from.Read(p)
	s.n += int64(n)
	if err != nil && !errors.Is(err, io.EOF) {
		s.err = err
	}
	return n, err
}

// readBody reads and decodes the body up to the limit and records its facts.
func (r *httpRun) readBody(head *httpHead, body io.Reader) *check.Reason {
	src := &source{from: body}
	coding := strings.ToLower(strings.Trim(head.all("content-encoding"), " \t"))
	if coding == "identity" {
		coding = ""
	}
	r.j.obs.Set("encoding", coding)
	keep, limit := r.p.needs.body || r.p.needs.json, r.p.maxBody
	if keep && largeWindow(coding) {
		limit /= 2 // the window takes as much again
	}
	reader, done, err := decode(src, coding, limit)
	if err == nil {
		defer done()
		var content bodyContent
		var sum hash.Hash
		if r.p.needs.sha256 {
			sum = sha256.New()
			reader = io.TeeReader(reader, sum)
		}
		if content, err = collect(reader, limit, keep); err == nil {
			content.limit = limit
			if sum != nil {
				content.sha256 = hex.EncodeToString(sum.Sum(nil))
			}
			r.setBody(head, content)
			return nil
		}
	}
	if src.err != nil {
		reason := r.broken(src.err, check.HTTPBodyTimeout, fmt.Sprintf("the body was not complete in time, %d bytes came", src.n))
		if reason.Code == check.ConnectReset {
			reason = &check.Reason{Code: check.HTTPTruncated, Message: fmt.Sprintf("the connection was reset inside the body, after %d bytes", src.n)}
		}
		return reason
	}
	return &check.Reason{Code: check.HTTPDecode, Message: fmt.Sprintf("the body cannot be decoded (content-encoding %s): %v", excerpt([]byte(coding)), err)}
}

// bodyContent is what was read of a body.
type bodyContent struct {
	size      int64
	limit     int64
	truncated bool   // there was more than the limit
	sha256    string // in hexadecimal, when asked for
	bytes     []byte // only when asked for, and not when truncated
}

var bodyBuffers = sync.Pool{New: func() any { b := make([]byte, 16<<10); return &b }}

// collect reads at most limit bytes. What nobody asked for is only counted.
func collect(from io.Reader, limit int64, keep bool) (bodyContent, error) {
	buf := bodyBuffers.Get().(*[]byte)
	defer bodyBuffers.Put(buf)
	var c bodyContent
	for {
		n, err := from.Read(*buf)
		c.size += int64(n)
		if c.size > limit {
			return bodyContent{truncated: true}, nil
		}
		if keep {
			c.bytes = append(room(c.bytes, n, limit), (*buf)[:n]...)
		}
		switch {
		case errors.Is(err, io.EOF):
			return c, nil
		case errors.Is(err, errReach), errors.Is(err, zstd.ErrDecoderSizeExceeded), errors.Is(err, zstd.ErrWindowSizeExceeded):
			return bodyContent{truncated: true}, nil
		case err != nil:
			return c, err
		}
	}
}

// room makes room for n more bytes without ever having more than the limit.
func room(b []byte, n int, limit int64) []byte {
	if len(b)+n <= cap(b) {
		return b
	}
	bigger := make([]byte, len(b), max(len(b)+n, int(min(2*int64(cap(b)), limit))))
	copy(bigger, b)
	return bigger
}

func (r *httpRun) setBody(head *httpHead, c bodyContent) {
	obs := &r.j.obs
	obs.Set("truncated", c.truncated)
	if c.truncated {
		for _, fact := range []string{"body", "json", "size", "sha256"} {
			obs.Explain(fact, check.HTTPBodyTooLarge, fmt.Sprintf("the body is larger than the limit of %s\nhint: raise max_body", check.Size(c.limit)))
		}
		return
	}
	obs.Set("size", int(c.size))
	if c.sha256 != "" {
		obs.Set("sha256", c.sha256)
	}
	if r.p.needs.body {
		// No copy: nothing changes the bytes any more.
		obs.Set("body", unsafe.String(unsafe.SliceData(c.bytes), len(c.bytes)))
	}
	if !r.p.needs.json {
		return
	}
	value, err := decodeJSON(c.bytes, r.p.maxBody)
	if err != nil {
		obs.Explain("json", check.ExpectCode("json"), fmt.Sprintf("the body (content-type %s) is not usable as JSON: %v; it begins %s", excerpt([]byte(head.get("content-type"))), err, excerpt(c.bytes)))
		return
	}
	obs.Set("json", value)
}

// Limits of a JSON document that is looked into. Decoded values take many
// times their size in text, so their cost is measured before they are made.
const (
	maxJSONDepth = 1000
	valueCost    = 64  // bytes of memory for a value
	objectCost   = 384 // and for an object with its first fields
)

// decodeJSON decodes a document that is not too deep and that takes, with its
// text, no more than twice max_body of memory.
func decodeJSON(text []byte, maxBody int64) (any, error) {
	depth, cost := measureJSON(text)
	if depth > maxJSONDepth {
		return nil, fmt.Errorf("it is nested more than %d deep", maxJSONDepth)
	}
	if int64(len(text))+cost > 2*max(maxBody, 64<<10) {
		return nil, errors.New("it has too many values for max_body, raise that")
	}
	var v any
	if err := json.Unmarshal(text, &v); err != nil {
		return nil, err
	}
	return v, nil
}

// measureJSON returns an upper bound of the nesting of a document, valid or
// not, and about how much memory its values take.
func measureJSON(text []byte) (depth int, cost int64) {
	open, inString, escaped := 0, false, false
	for _, c := range text {
		switch {
		case escaped:
			escaped = false
		case inString:
			escaped, inString = c == '\\', c != '"'
		case c == '"':
			inString = true
		case c == '[' || c == '{':
			open++
			depth = max(depth, open)
			if cost += valueCost; c == '{' {
				cost += objectCost
			}
		case c == ']' || c == '}':
			open--
		case c == ',':
			cost += valueCost
		}
	}
	return depth, cost
}

// decode undoes the content codings, the last applied first (RFC 9110, section
// 8.4). At most two are undone, and at most one that needs a large window.
func decode(src io.Reader, coding string, limit int64) (io.Reader, func(), error) {
	if coding == "" {
		return src, func() {}, nil
	}
	codings := strings.Split(coding, ",")
	if len(codings) > 2 {
		return nil, nil, errors.New("more than two nested codings")
	}
	first := bufio.NewReader(src)
	if _, err := first.Peek(1); err != nil { // an empty body is empty in any coding
		return first, func() {}, nil
	}
	reader, done, windows := io.Reader(first), func() {}, 0
	for i := len(codings) - 1; i >= 0; i-- {
		name := strings.Trim(codings[i], " \t")
		if largeWindow(name) {
			windows++
		}
		if windows > 1 {
			return nil, nil, errors.New("two nested codings with large windows")
		}
		next, end, err := decoder(name, bufio.NewReader(reader), limit)
		if err != nil {
			return nil, nil, err
		}
		before := done
		reader, done = next, func() { end(); before() }
	}
	return reader, done, nil
}

// largeWindow reports whether a decoder needs a window as large as its output.
func largeWindow(coding string) bool {
	return strings.Contains(coding, "br") || strings.Contains(coding, "zstd")
}

// decoder returns the reader of one coding and what frees it.
func decoder(name string, src *bufio.Reader, limit int64) (io.Reader, func(), error) {
	nothing := func() {}
	switch name {
	case "identity":
		return src, nothing, nil
	case "gzip", "x-gzip":
		r, err := gzip.NewReader(src)
		return r, nothing, err
	case "deflate":
		// Meant is zlib (RFC 9110, section 8.4.1.2), sent is often bare deflate.
		if start, err := src.Peek(2); err == nil && start[0]&0x0f == 8 && (int(start[0])<<8|int(start[1]))%31 == 0 {
			r, err := zlib.NewReader(src)
			return r, nothing, err
		}
		return flate.NewReader(src), nothing, nil
	case "br":
		patched, reach, err := limitBrotliWindow(src, limit)
		if err != nil {
			return nil, nil, err
		}
		return &reachReader{from: brotli.NewReader(patched), left: reach}, nothing, nil
	case "zstd":
		descriptor, window := zstdWindow(limit)
		patched, err := limitZstdWindow(src, descriptor)
		if err != nil {
			return nil, nil, err
		}
		r, err := zstd.NewReader(patched, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
			zstd.WithDecoderMaxWindow(window), zstd.WithDecoderMaxMemory(window))
		if err != nil {
			return nil, nil, err
		}
		return r, r.Close, nil
	default:
		return nil, nil, fmt.Errorf("the coding %s is not known", excerpt([]byte(name)))
	}
}
