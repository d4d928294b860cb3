package probes

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"strings"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/sonde-cli/sonde/check"
	"github.com/sonde-cli/sonde/internal/testnet"
)

// h2Site speaks HTTP/2 up to the request and then follows the script.
func h2Site(t *testing.T, script func(*http2.Framer)) string {
	t.Helper()
	return rawSite(t, testnet.Frames(script))
}

func h2(o *httpOptions) { o.Version = "2" }

func TestD1HTTP2Silence(t *testing.T) {
	t.Parallel()
	wantInTime(t, rawSite(t, testnet.Silence), check.HTTPHeaderTimeout, "no response in time", h2)
	wantInTime(t, h2Site(t, func(*http2.Framer) {}), check.HTTPHeaderTimeout, "no response in time", h2)
}

func TestD2HTTP2Garbage(t *testing.T) {
	t.Parallel()
	for _, said := range []string{"SSH-2.0-OpenSSH_9.6\r\n", "HTTP/1.1 400 Bad Request\r\n\r\n", strings.Repeat("\xff", 100), "\x00\x00\x00\x07\x00\x00\x00\x00\x00"} {
		o := observeHTTP(t, rawSite(t, testnet.Say(said)), patience, h2)
		wantFailure(t, o, check.HTTPMalformed, "not HTTP/2: ")
	}
	noise := rawSite(t, testnet.ReplyForever("", "\xde\xad\xbe\xef"))
	if o := observeHTTP(t, noise, patience, nil); o.Failure.Code != check.HTTPMalformed {
		t.Errorf("noise: %v", o.Failure)
	}
}

func TestD3HTTP2AnnouncedFrame(t *testing.T) {
	t.Parallel()
	header := []byte{0, 0x40, 0, byte(http2.FrameData), 0, 0, 0, 0, 1} // 16 KiB, never sent
	site := h2Site(t, func(f *http2.Framer) { _ = f.WriteRawFrame(http2.FrameSettings, http2.FlagSettingsAck, 0, nil) })
	wantInTime(t, site, check.HTTPHeaderTimeout, "no response in time", h2)
	settings := "\x00\x00\x00\x04\x00\x00\x00\x00\x00"
	wantInTime(t, rawSite(t, testnet.Say(settings+string(header))), check.HTTPHeaderTimeout, "no response in time", h2)
}

// block encodes header fields, names and values alternating.
func block(pairs ...string) []byte {
	var b bytes.Buffer
	enc := hpack.NewEncoder(&b)
	for i := 0; i < len(pairs); i += 2 {
		_ = enc.WriteField(hpack.HeaderField{Name: pairs[i], Value: pairs[i+1]})
	}
	return b.Bytes()
}

func headers(f *http2.Framer, end bool, pairs ...string) {
	_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block(pairs...), EndHeaders: true, EndStream: end})
}

func TestHTTP2Failures(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		script func(*http2.Framer)
		code   check.Code
		part   string
	}{
		"D4 continuation flood": {func(f *http2.Framer) {
			_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block(":status", "200")})
			for err := error(nil); err == nil; {
				err = f.WriteContinuation(1, false, block("a", strings.Repeat("b", 1000)))
			}
		}, check.HTTPHeaderTooLarge, ""},
		"D4 empty continuations": {func(f *http2.Framer) {
			_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block(":status", "200")})
			for err := error(nil); err == nil; {
				err = f.WriteContinuation(1, false, nil)
			}
		}, check.HTTPHeaderTooLarge, "before the response's head"},
		"D5 HPACK bomb": {func(f *http2.Framer) {
			b := block(":status", "200", "a", strings.Repeat("b", 3000))
			_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: append(b, bytes.Repeat([]byte{0x80 | 62}, 10_000)...), EndHeaders: true})
		}, check.HTTPHeaderTooLarge, "64 KiB"},
		"C3 fields": {func(f *http2.Framer) {
			headers(f, true, append([]string{":status", "200"}, strings.Split(strings.Repeat("a,b,", 600)+"c,d", ",")...)...)
		}, check.HTTPHeaderTooLarge, "500 fields"},
		"C4 interim": {func(f *http2.Framer) {
			for range 10 {
				headers(f, false, ":status", "103")
			}
		}, check.HTTPMalformed, "interim"},
		"D6 ping flood": {func(f *http2.Framer) {
			for err := error(nil); err == nil; {
				err = f.WritePing(true, [8]byte{})
			}
		}, check.HTTPMalformed, "frames that carry nothing"},
		"D6 empty data": {func(f *http2.Framer) {
			headers(f, false, ":status", "200")
			for err := error(nil); err == nil; {
				err = f.WriteData(1, false, nil)
			}
		}, check.HTTPMalformed, "frames that carry nothing"},
		"D7 reset":  {func(f *http2.Framer) { _ = f.WriteRSTStream(1, http2.ErrCodeRefusedStream) }, check.HTTPStreamReset, "REFUSED_STREAM"},
		"D7 goaway": {func(f *http2.Framer) { _ = f.WriteGoAway(0, http2.ErrCodeEnhanceYourCalm, []byte("slow\x1bdown")) }, check.HTTPGoAway, `ENHANCE_YOUR_CALM "slow.down"`},
		"D7 reset in body": {func(f *http2.Framer) {
			headers(f, false, ":status", "200")
			_ = f.WriteData(1, false, []byte("abc"))
			_ = f.WriteRSTStream(1, http2.ErrCodeInternal)
		}, check.HTTPStreamReset, "INTERNAL_ERROR"},
		"push": {func(f *http2.Framer) {
			_ = f.WritePushPromise(http2.PushPromiseParam{StreamID: 1, PromiseID: 2, BlockFragment: block(":method", "GET"), EndHeaders: true})
		}, check.HTTPMalformed, ""},
		"other stream":    {func(f *http2.Framer) { _ = f.WriteData(3, true, []byte("abc")) }, check.HTTPMalformed, "stream 3"},
		"data first":      {func(f *http2.Framer) { _ = f.WriteData(1, true, []byte("abc")) }, check.HTTPMalformed, "before the response's head"},
		"no status":       {func(f *http2.Framer) { headers(f, true, "a", "b") }, check.HTTPMalformed, ""},
		"bad status":      {func(f *http2.Framer) { headers(f, true, ":status", "9999") }, check.HTTPMalformed, "9999"},
		"upper-case name": {func(f *http2.Framer) { headers(f, true, ":status", "200", "A", "b") }, check.HTTPMalformed, ""},
		"short body": {func(f *http2.Framer) {
			headers(f, false, ":status", "200", "content-length", "5")
			_ = f.WriteData(1, true, []byte("abc"))
		}, check.HTTPMalformed, "content-length"},
		"long body": {func(f *http2.Framer) {
			headers(f, false, ":status", "200", "content-length", "2")
			_ = f.WriteData(1, true, []byte("abc"))
		}, check.HTTPMalformed, "content-length says 2"},
		"long body without an end": {func(f *http2.Framer) {
			headers(f, false, ":status", "200", "content-length", "2")
			_ = f.WriteData(1, false, []byte("abc"))
		}, check.HTTPMalformed, "content-length says 2"},
		"no body": {func(f *http2.Framer) { headers(f, true, ":status", "200", "content-length", "5") }, check.HTTPMalformed, "content-length says 5"},
		"short body and trailers": {func(f *http2.Framer) {
			headers(f, false, ":status", "200", "content-length", "5")
			_ = f.WriteData(1, false, []byte("abc"))
			headers(f, true, "a", "b")
		}, check.HTTPMalformed, "content-length says 5"},
		"lengths at odds": {func(f *http2.Framer) { headers(f, true, ":status", "200", "content-length", "5, 6") }, check.HTTPMalformed, "two different"},
		"window":          {func(f *http2.Framer) { _ = f.WriteWindowUpdate(0, 1<<31-1) }, check.HTTPMalformed, "window"},
		"bad HPACK": {func(f *http2.Framer) {
			_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, EndHeaders: true})
		}, check.HTTPMalformed, "COMPRESSION"},
		"data too large": {func(f *http2.Framer) { f.AllowIllegalWrites = true; _ = f.WriteData(1, true, make([]byte, 20<<10)) }, check.HTTPMalformed, "larger than 16 KiB"},
		"bad window frame": {func(f *http2.Framer) {
			f.AllowIllegalWrites = true
			_ = f.WriteRawFrame(http2.FrameWindowUpdate, 0, 0, binary.BigEndian.AppendUint32(nil, 0))
		}, check.HTTPMalformed, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := observeHTTP(t, h2Site(t, c.script), patience, h2)
			wantFailure(t, o, c.code, c.part)
		})
	}
}

func TestHTTP2GracefulGoAway(t *testing.T) {
	t.Parallel()
	site := h2Site(t, func(f *http2.Framer) {
		_ = f.WriteGoAway(1, http2.ErrCodeNo, nil)
		_ = f.WritePing(false, [8]byte{1})
		headers(f, false, ":status", "200", "content-type", "text/plain")
		_ = f.WriteDataPadded(1, false, []byte("hello "), make([]byte, 100))
		_ = f.WriteData(1, false, []byte("world"))
		headers(f, true, "trailer", "x")
	})
	wantFacts(t, observeHTTP(t, site, patience, h2, "body"), check.FactsOf(map[string]any{"status": 200, "body": "hello world", "version": "2"}))
}

// TestHTTP2HeaderTableSize asks twice over a connection whose server allows
// another header table than the usual one (RFC 7541, section 4.2).
func TestHTTP2HeaderTableSize(t *testing.T) {
	t.Parallel()
	for _, size := range []uint32{0, 100, 4 << 10, 1 << 20} {
		site := rawSite(t, func(conn net.Conn) {
			f := http2.NewFramer(conn, conn)
			f.ReadMetaHeaders = hpack.NewDecoder(min(size, 4<<10), nil)
			f.ReadMetaHeaders.SetAllowedMaxDynamicTableSize(size)
			_, err := io.ReadFull(conn, make([]byte, len(http2.ClientPreface)))
			for err = errors.Join(err, f.WriteSettings(http2.Setting{ID: http2.SettingHeaderTableSize, Val: size})); err == nil; {
				var frame http2.Frame
				if frame, err = f.ReadFrame(); err == nil && frame.Header().Type == http2.FrameHeaders {
					err = f.WriteHeaders(http2.HeadersFrameParam{
						StreamID: frame.Header().StreamID, BlockFragment: block(":status", "200"), EndHeaders: true, EndStream: true,
					})
				}
			}
		})
		probe := reusing(t, site, func(o *httpOptions) {
			o.Version, o.Headers = "2", map[string]string{"X-Long": strings.Repeat("x", 50), "X-Short": "y"}
		})
		for _, want := range []string{"fresh", "reused", "reused"} {
			wantFacts(t, once(t, probe), check.FactsOf(map[string]any{"status": 200, "connection": want, "reconnected": false}))
		}
	}
}

func TestC6HTTP2BodyStalls(t *testing.T) {
	t.Parallel()
	site := h2Site(t, func(f *http2.Framer) {
		headers(f, false, ":status", "200")
		_ = f.WriteData(1, false, []byte("hello"))
	})
	wantInTime(t, site, check.HTTPBodyTimeout, "5 bytes came", h2)
}
