package scheduler

import "sort"

// dueHeap orders entries by the time at which they come up, the earliest first.
// The times stand beside the pointers, so that sifting does not touch the
// entries.
type dueHeap []dueItem

type dueItem struct {
	at    int64
	entry *entry
}

func (h *dueHeap) push(at int64, e *entry) {
	*h = append(*h, dueItem{at, e})
	h.up(len(*h) - 1)
}

// pop takes the earliest entry. The heap must not be empty.
func (h *dueHeap) pop() *entry {
	old := *h
	e := old[0].entry
	last := len(old) - 1
	old[0] = old[last]
	old[last] = dueItem{}
	*h = old[:last]
	h.down(0)
	return e
}

// order makes a heap of items in any order.
func (h *dueHeap) order() {
	for i := len(*h)/2 - 1; i >= 0; i-- {
		h.down(i)
	}
}

func (h *dueHeap) up(i int) {
	s := *h
	item := s[i]
	for i > 0 {
		parent := (i - 1) / 2
		if s[parent].at <= item.at {
			break
		}
		s[i] = s[parent]
		i = parent
	}
	s[i] = item
}

func (h *dueHeap) down(i int) {
	s := *h
	if i >= len(s) {
		return
	}
	item := s[i]
	for {
		child := 2*i + 1
		if child >= len(s) {
			break
		}
		if child+1 < len(s) && s[child+1].at < s[child].at {
			child++
		}
		if item.at <= s[child].at {
			break
		}
		s[i] = s[child]
		i = child
	}
	s[i] = item
}

// fifo is a queue of entries in the order in which they were due.
type fifo struct {
	items []*entry
	head  int
}

func (q *fifo) len() int { return len(q.items) - q.head }

// push puts the entry behind all that were due before it or with it: at the end,
// unless it has waited elsewhere.
func (q *fifo) push(e *entry) {
	if q.head > 64 && q.head > len(q.items)/2 { // reuse the room at the front
		n := copy(q.items, q.items[q.head:])
		clear(q.items[n:])
		q.items, q.head = q.items[:n], 0
	}
	q.items = append(q.items, e)
	last := len(q.items) - 1
	if last == q.head || q.items[last-1].due <= e.due {
		return
	}
	waiting := q.items[q.head:last]
	i := sort.Search(len(waiting), func(i int) bool { return waiting[i].due > e.due })
	copy(q.items[q.head+i+1:], waiting[i:])
	q.items[q.head+i] = e
}

// first returns the oldest entry, or nil, and leaves it there.
func (q *fifo) first() *entry {
	if q.len() == 0 {
		return nil
	}
	return q.items[q.head]
}

// pop takes the oldest entry, or nil.
func (q *fifo) pop() *entry {
	if q.len() == 0 {
		return nil
	}
	e := q.items[q.head]
	q.items[q.head] = nil
	q.head++
	return e
}
