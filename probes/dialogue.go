package probes

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sonde-cli/sonde/check"
)

// quiet is the silence after which text without a line's end is taken for
// complete.
const quiet = 50 * time.Millisecond

// turn is a step of a dialogue: it sends, then waits for what it expects.
type turn struct {
	Send    string         `yaml:"send" doc:"text to send as it is; write line ends as \\r\\n in double quotes"`
	SendHex string         `yaml:"send_hex" doc:"bytes to send in place of text, in hexadecimal; spaces may stand between them"`
	Expect  *regexp.Regexp `yaml:"expect" doc:"regular expression (RE2) that what the peer sends must match"`
}

// payloads returns the steps with all that they send in Send, and what is wrong
// with them.
func payloads(steps []turn) ([]turn, []error) {
	var errs []error
	steps = slices.Clone(steps)
	for i := range steps {
		s := &steps[i]
		option := fmt.Sprintf("steps[%d]", i)
		switch {
		case s.Send != "" && s.SendHex != "":
			errs = append(errs, check.OptionErrorf(option, "give send or send_hex, not both"))
		case s.SendHex != "":
			raw, err := hex.DecodeString(strings.Join(strings.Fields(s.SendHex), ""))
			if err != nil || len(raw) == 0 {
				errs = append(errs, check.OptionErrorf(option+".send_hex", "%s is not hexadecimal, two digits a byte", excerpt([]byte(s.SendHex))))
			}
			s.Send = string(raw)
		case s.Send == "" && s.Expect == nil:
			errs = append(errs, check.OptionErrorf(option, "a step needs send or expect"))
		}
	}
	return steps, errs
}

// talk makes the steps of a dialogue, after it has read the banner where that
// is wanted. What the peer says or fails to say becomes facts; an error is of
// the connection.
func (j *journey) talk(h *hearing, steps []turn, banner bool) error {
	if banner && !bannerIsFirstAnswer(steps) {
		start := time.Now()
		err := h.until(func(text []byte, final bool) bool { return final || bytes.IndexByte(text, '\n') >= 0 })
		j.timed(check.PhaseWait, start)
		j.sawBanner(h, time.Since(start))
		if err = unheard(err); err != nil {
			return err
		}
	}
	for i, s := range steps {
		ok, err := j.step(h, i, s)
		if err != nil {
			return err
		}
		if !ok {
			j.obs.Set("dialogue", false)
			return nil
		}
	}
	if len(steps) > 0 {
		j.obs.Set("dialogue", true)
	}
	return nil
}

// bannerIsFirstAnswer tells that the first step waits for the peer to speak
// first, so that its text is the banner.
func bannerIsFirstAnswer(steps []turn) bool {
	return len(steps) > 0 && steps[0].Send == "" && steps[0].Expect != nil
}

func (j *journey) sawBanner(h *hearing, took time.Duration) {
	if len(h.text) > 0 {
		j.obs.Set("banner", clean(h.text))
		return
	}
	message := "no banner within " + check.FormatDuration(took)
	if h.ended {
		message = "the peer closed the connection without a banner"
	}
	j.obs.Explain("banner", check.ExpectCode("banner"), message)
}

// step makes one step and reports whether it went as expected. An error is of
// the connection.
func (j *journey) step(h *hearing, i int, s turn) (bool, error) {
	if s.Send != "" {
		start := time.Now()
		_, err := io.WriteString(h.conn, s.Send)
		j.timed(check.PhaseSend, start)
		if err != nil {
			return false, err
		}
	}
	if s.Expect == nil {
		return true, nil
	}
	var found []int
	if h.packets {
		h.text, h.received, h.cut = nil, 0, false
	}
	start := time.Now()
	err := h.until(func(text []byte, final bool) bool {
		found = s.Expect.FindSubmatchIndex(text)
		// A match that touches the end might grow with the next packet.
		return found != nil && (final || found[1] < len(text) || text[len(text)-1] == '\n')
	})
	took := time.Since(start)
	j.timed(check.PhaseWait, start)
	if !h.packets || h.received > 0 {
		j.obs.Set("answer", clean(h.text))
	}
	h.took = took
	if i == 0 && s.Send == "" {
		j.sawBanner(h, took)
	}
	if found == nil {
		if err := unheard(err); err != nil {
			return false, err
		}
		j.obs.Explain("dialogue", check.ExpectCode("dialogue"), h.mismatch(i, s.Expect, took))
		return false, nil
	}
	capture(&j.obs, s.Expect, h.text, found)
	if !h.packets {
		h.text = h.text[found[1]:]
	}
	return true, nil
}

// capture adds the groups of a match to the fact captures.
func capture(o *check.Observation, re *regexp.Regexp, text []byte, found []int) {
	names := re.SubexpNames()
	if len(names) == 1 {
		return
	}
	captures, _ := o.Facts.Get("captures").(map[string]string)
	if captures == nil {
		captures = make(map[string]string)
		o.Set("captures", captures)
	}
	for i, name := range names[1:] {
		from, to := found[2*i+2], found[2*i+3]
		if from < 0 {
			continue
		}
		if name == "" {
			name = strconv.Itoa(i + 1)
		}
		captures[name] = clean(text[from:to])
	}
}

// clean makes valid UTF-8 of what a peer sent, without the line end.
func clean(text []byte) string {
	return strings.ToValidUTF8(strings.TrimRight(string(text), "\r\n"), "\uFFFD")
}

// hearing collects what the peer says.
type hearing struct {
	conn  net.Conn
	ctx   context.Context
	text  []byte        // heard and not yet used up
	max   int           // how much text may grow
	ended bool          // the peer closed its side
	took  time.Duration // until the last step was answered

	packets  bool // each read is a message of its own, which replaces text
	received int  // packets of this step
	cut      bool // the last one is larger than max
}

// errFull tells that the peer said more than the limit.
var errFull = errors.New("limit reached")

// until reads until enough is satisfied with the text. final tells it that
// nothing more came in a while, or will come at all. Without satisfaction the
// error is errFull, io.EOF, a timeout, or of the connection.
//
// enough is called each time that the text has grown by an eighth, which
// bounds the work on a peer that sends byte by byte.
func (h *hearing) until(enough func(text []byte, final bool) bool) error {
	if h.packets {
		return h.untilPacket(enough)
	}
	asked := 0
	for {
		if grown := len(h.text) - asked; grown > asked/8 {
			asked = len(h.text)
			if enough(h.text, false) {
				return nil
			}
		}
		if h.ended {
			return h.last(enough, io.EOF)
		}
		if len(h.text) >= h.max {
			return h.last(enough, errFull)
		}
		err := h.read(quiet)
		if isTimeout(err) && h.ctx.Err() == nil && len(h.text) > 0 {
			if enough(h.text, true) {
				return nil
			}
			asked = len(h.text)
			err = h.read(0)
		}
		switch {
		case errors.Is(err, io.EOF):
			h.ended = true
		case err != nil:
			return h.last(enough, err)
		}
	}
}

// untilPacket reads until a packet is enough; others are passed over, for they
// may be late or of somebody else. An empty one is a packet, too.
func (h *hearing) untilPacket(enough func([]byte, bool) bool) error {
	room := h.max + 1 // to see that a packet is larger
	if runtime.GOOS == "windows" {
		room = 64 << 10 // where one that is cut is an error
	}
	buf := make([]byte, room)
	for {
		n, err := h.conn.Read(buf)
		if err != nil {
			return err
		}
		h.received++
		h.cut = n > h.max
		h.text = append(h.text[:0], buf[:min(n, h.max)]...)
		if !h.cut && enough(h.text, true) {
			return nil
		}
	}
}

// last asks a last time and returns err when that is in vain.
func (h *hearing) last(enough func([]byte, bool) bool, err error) error {
	if len(h.text) > 0 && enough(h.text, true) {
		return nil
	}
	return err
}

// read reads once. With some text already there it waits only for the given
// time, when that is not 0.
func (h *hearing) read(wait time.Duration) error {
	var deadline time.Time // the connection's own
	if wait > 0 && len(h.text) > 0 {
		deadline = time.Now().Add(wait)
	}
	if err := h.conn.SetReadDeadline(deadline); err != nil {
		return err
	}
	room := min(max(512, len(h.text)), h.max-len(h.text))
	start := len(h.text)
	h.text = append(h.text, make([]byte, room)...)
	n, err := h.conn.Read(h.text[start:])
	h.text = h.text[:start+n]
	if n > 0 {
		return nil
	}
	return err
}

// mismatch tells how a step failed.
func (h *hearing) mismatch(i int, want *regexp.Regexp, took time.Duration) string {
	step := fmt.Sprintf("step %d: ", i+1)
	switch {
	case len(h.text) == 0 && h.ended:
		return step + fmt.Sprintf("the peer closed the connection, want a match of %s", want)
	case h.cut:
		return step + fmt.Sprintf("got more than %s in one datagram: %s, want a match of %s", check.Size(h.max), excerpt(h.text), want)
	case len(h.text) == 0 && h.received > 0:
		return step + fmt.Sprintf("got an empty datagram, want a match of %s", want)
	case len(h.text) == 0:
		return step + fmt.Sprintf("no answer within %s, want a match of %s", check.FormatDuration(took), want)
	case len(h.text) >= h.max && !h.packets:
		return step + fmt.Sprintf("no match of %s in the first %s: %s", want, check.Size(h.max), excerpt(h.text))
	default:
		return step + fmt.Sprintf("got %s, want a match of %s", excerpt(h.text), want)
	}
}

// unheard drops the errors that only mean that the peer said too little or too
// much; what remains is a broken connection or an interruption.
func unheard(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, errFull) || isTimeout(err) {
		return nil
	}
	return err
}
