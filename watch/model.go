package watch

import (
	"slices"
	"time"
	"unicode/utf8"

	tea "charm.land/bubbletea/v2"

	"github.com/sonde-cli/sonde/check"
	"github.com/sonde-cli/sonde/report"
)

// How often the picture changes.
const (
	frame    = 100 * time.Millisecond // results of this long show together
	thrift   = 20                     // ordering the rows takes one part of so many of the time
	maxWords = 200                    // of a filter, in bytes
)

// tick is the message that a frame is over.
type tick struct{}

// model is the screen's state, in the manner of bubbletea.
type model struct {
	board   *board
	options Options
	style   report.Screen

	width, height int

	order   order
	reverse bool
	filter  string
	typing  bool // the filter

	shown   []*row // that match, in order
	ordered time.Time
	rest    time.Duration // before they are ordered again
	chosen  *row
	top     int // of shown, the first on the screen

	detail bool
	scroll int // lines of the detail pane that are above it

	inFlight int
	missed   uint64
	sum      check.Summary
	runs     uint64
}

func newModel(b *board, o Options) *model {
	m := &model{board: b, options: o, style: report.NewScreen(o.Color), width: 80, height: 24}
	m.refresh()
	return m
}

// Init starts the frames.
func (m *model) Init() tea.Cmd { return next() }

func next() tea.Cmd { return tea.Tick(frame, func(time.Time) tea.Msg { return tick{} }) }

// Update follows keys, the size of the terminal and time.
func (m *model) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tick:
		m.look()
		return m, next()
	case tea.WindowSizeMsg:
		m.width, m.height = msg.Width, msg.Height
		m.keepInView()
	case tea.PasteMsg:
		if m.typing {
			m.setFilter(m.filter + report.Clean(msg.Content))
		}
	case tea.KeyPressMsg:
		return m, m.key(msg)
	}
	return m, nil
}

// look takes in what happened since the last frame.
func (m *model) look() {
	if m.options.Engine != nil {
		m.inFlight, m.missed = m.options.Engine()
	}
	m.board.mu.Lock()
	m.sum, m.runs = m.board.sum, m.board.runs
	m.board.mu.Unlock()
	if m.options.Now().Sub(m.ordered) >= m.rest {
		m.refresh()
	}
}

// refresh orders the rows. The chosen one stays chosen, and where it is on the
// screen if it can. Whoever is at the top of an order stays there instead, to
// see what comes up, unless the detail pane is open.
func (m *model) refresh() {
	began := time.Now()
	line := m.position() - m.top
	if m.order != byFile && !m.detail && m.position() == 0 {
		m.chosen = nil
	}
	m.board.mu.Lock()
	m.shown = m.board.pick(m.filter, m.order, m.reverse)
	m.board.mu.Unlock()
	if m.position() < 0 {
		m.chosen = nil
		if len(m.shown) > 0 {
			m.chosen = m.shown[min(max(m.top+line, 0), len(m.shown)-1)]
		}
	}
	if m.order != byFile || m.filter != "" {
		m.top = m.position() - line
	}
	m.keepInView()
	m.ordered, m.rest = m.options.Now(), thrift*time.Since(began)
}

// sort orders the rows in another way and goes to the first of them.
func (m *model) sort(o order, reverse bool) {
	m.order, m.reverse = o, reverse
	m.refresh()
	m.move(-len(m.shown))
}

// position returns where in the list the chosen row is; -1 when it is not.
func (m *model) position() int {
	if m.chosen == nil {
		return -1
	}
	return slices.Index(m.shown, m.chosen)
}

// keepInView moves the list so that the chosen row is on the screen.
func (m *model) keepInView() {
	at, room := max(m.position(), 0), m.listHeight()
	m.top = min(m.top, at)
	m.top = max(m.top, at-room+1, 0)
	m.top = min(m.top, max(len(m.shown)-room, 0))
}

// move chooses the row so many places further down.
func (m *model) move(by int) {
	if len(m.shown) == 0 {
		return
	}
	at := min(max(m.position()+by, 0), len(m.shown)-1)
	m.chosen, m.scroll = m.shown[at], 0
	m.keepInView()
}

func (m *model) setFilter(text string) {
	if len(text) <= maxWords {
		m.filter = text
		m.refresh()
	}
}

// key does what a key asks for.
func (m *model) key(msg tea.KeyPressMsg) tea.Cmd {
	if msg.String() == "ctrl+c" {
		return tea.Quit
	}
	if m.typing {
		m.typed(msg)
		return nil
	}
	if m.wander(msg.String()) {
		return nil
	}
	switch msg.String() {
	case "q":
		return tea.Quit
	case "ctrl+z":
		return tea.Suspend
	case "s":
		m.sort((m.order+1)%orders, m.reverse)
	case "r":
		m.sort(m.order, !m.reverse)
	case "/":
		m.typing = true
	case "enter", "space", "d":
		m.detail, m.scroll = !m.detail, 0
		m.keepInView()
	case "esc":
		if m.detail {
			m.detail = false
			m.keepInView()
		} else {
			m.setFilter("")
		}
	case "J":
		m.scroll++ // the view bounds it
	case "K":
		m.scroll = max(m.scroll-1, 0)
	}
	return nil
}

// wander moves through the list and reports whether the key is one that does.
func (m *model) wander(key string) bool {
	page := max(m.listHeight()-1, 1)
	switch key {
	case "up", "k":
		m.move(-1)
	case "down", "j":
		m.move(1)
	case "pgup", "ctrl+b":
		m.move(-page)
	case "pgdown", "ctrl+f":
		m.move(page)
	case "home", "g":
		m.move(-len(m.shown))
	case "end", "G":
		m.move(len(m.shown))
	default:
		return false
	}
	return true
}

// typed edits the filter.
func (m *model) typed(msg tea.KeyPressMsg) {
	switch msg.String() {
	case "enter":
		m.typing = false
	case "esc":
		m.typing = false
		m.setFilter("")
	case "backspace":
		_, n := utf8.DecodeLastRuneInString(m.filter)
		m.setFilter(m.filter[:len(m.filter)-n])
	case "ctrl+u":
		m.setFilter("")
	case "up", "down":
		m.wander(msg.String())
	default:
		m.setFilter(m.filter + report.Clean(msg.Key().Text))
	}
}
