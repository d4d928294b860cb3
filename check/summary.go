package check

// Summary counts the results of a run, by verdict.
type Summary struct {
	Total    int `json:"total"`
	Up       int `json:"up"`
	Degraded int `json:"degraded"`
	Down     int `json:"down"`
	Unknown  int `json:"unknown"`
	Flaky    int `json:"flaky"`
}

// Add counts one result.
func (s *Summary) Add(r Result) {
	s.Total++
	switch r.Verdict {
	case Up:
		s.Up++
	case Degraded:
		s.Degraded++
	case Down:
		s.Down++
	case Unknown:
		s.Unknown++
	}
	if r.Flaky {
		s.Flaky++
	}
}
