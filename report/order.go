package report

import (
	"errors"
	"maps"
	"slices"

	"github.com/sonde-cli/sonde/check"
)

// inOrder hands results to a sink in the order of the run's checks, each as
// soon as those before it have come. What is missing at Close is passed over.
type inOrder struct {
	sink  check.Sink
	order map[string][]int // positions not taken yet, by the id that results carry
	held  map[int]check.Result
	next  int            // position that the sink waits for
	extra []check.Result // of no known check; they come last
}

// InOrder returns a sink that passes results on to sink in the order of checks
// (file order), holding back those that come early. Closing it passes on the
// rest and closes sink.
func InOrder(checks []*check.Check, sink check.Sink) check.Sink {
	s := &inOrder{sink: sink, order: make(map[string][]int, len(checks)), held: make(map[int]check.Result)}
	for i, c := range checks {
		id := c.Mask.String(c.ID) // masking can make two ids equal
		s.order[id] = append(s.order[id], i)
	}
	return s
}

func (s *inOrder) Put(r check.Result) error {
	at := s.order[r.ID]
	if len(at) == 0 {
		s.extra = append(s.extra, r)
		return nil
	}
	s.order[r.ID] = at[1:]
	s.held[at[0]] = r
	for {
		r, ok := s.held[s.next]
		if !ok {
			return nil
		}
		delete(s.held, s.next)
		s.next++
		if err := s.sink.Put(r); err != nil {
			return err
		}
	}
}

func (s *inOrder) Close() error {
	var errs []error
	for _, i := range slices.Sorted(maps.Keys(s.held)) {
		errs = append(errs, s.sink.Put(s.held[i]))
	}
	for _, r := range s.extra {
		errs = append(errs, s.sink.Put(r))
	}
	return errors.Join(append(errs, s.sink.Close())...)
}
