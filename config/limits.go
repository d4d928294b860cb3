package config

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"reflect"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"
)

// Limits bound what a loop has in flight. Zero means that the files say
// nothing.
type Limits struct {
	InFlight    int            // runs in all
	PerHost     int            // runs to one host
	PerHostRate float64        // runs that begin to one host, a second
	Kinds       map[string]int // runs of one kind; nil when there are none
}

// Equal reports whether both say the same.
func (l Limits) Equal(o Limits) bool {
	return l.InFlight == o.InFlight && l.PerHost == o.PerHost && l.PerHostRate == o.PerHostRate && maps.Equal(l.Kinds, o.Kinds)
}

// limitsSpec are the keys of limits at the top level.
type limitsSpec struct {
	InFlight    int            `yaml:"in_flight" doc:"probes that may be under way at once; 1024 by default"`
	PerHost     int            `yaml:"per_host" doc:"how many of them to one host; no limit by default"`
	PerHostRate rate           `yaml:"per_host_rate" doc:"how many probes may begin to one host, such as 10/s or 30/m; no limit by default"`
	Kinds       map[string]int `yaml:"kinds" doc:"how many probes of one kind may be under way at once, such as {icmp: 100}; no limit by default"`
}

// rate is a number per second, written as 10/s, 30/m or 100/h.
type rate float64

var rateType = reflect.TypeFor[rate]()

// ratePattern describes what parseRate reads.
const ratePattern = `^[0-9]+(\.[0-9]+)?/[smh]$`

func parseRate(text string) (rate, error) {
	number, unit, _ := strings.Cut(text, "/")
	seconds, known := map[string]float64{"s": 1, "m": 60, "h": 3600}[unit]
	n, err := strconv.ParseFloat(number, 64)
	if err != nil || !known || !plainNumber(number) || n < 0 || math.IsInf(n, 0) {
		return 0, errors.New("not a rate")
	}
	return rate(n / seconds), nil
}

// rateHint helps with a number that has no unit.
func rateHint(text string) string {
	if plainNumber(text) {
		return fmt.Sprintf("a rate needs its unit: %s/s or %s/m", text, text)
	}
	return ""
}

// loadLimits reads the limits of a file. They are those of the whole process,
// so files that disagree are an error.
func (f *file) loadLimits(n *yaml.Node) {
	if n == nil || isNull(n) {
		return
	}
	var spec limitsSpec
	d := f.decoder(f.scope())
	d.value(n, reflect.ValueOf(&spec).Elem(), &field{name: "limits"})
	for key, value := range pairs(n) {
		switch {
		case key.Value == "in_flight" && spec.InFlight < 1 && !d.failed, key.Value == "per_host" && spec.PerHost < 1 && !d.failed:
			d.errorf(value, "for no limit leave it out", "limits.%s must be at least 1", key.Value)
		case key.Value == "kinds":
			f.checkKindLimits(d, value, spec.Kinds)
		case key.Value == "per_host_rate" && spec.PerHostRate <= 0 && !d.failed:
			d.errorf(value, "for no limit leave it out", "limits.%s must be more than 0", key.Value)
		}
	}
	if d.failed {
		return
	}
	limits := Limits{InFlight: spec.InFlight, PerHost: spec.PerHost, PerHostRate: float64(spec.PerHostRate), Kinds: spec.Kinds}
	if first := f.in.limitsAt; first.line > 0 && !limits.Equal(f.in.set.Limits) {
		f.problem(n, "limits stand here again, with other values than at "+first.String(), "they are those of the whole process: write them into one file")
		return
	}
	f.in.set.Limits, f.in.limitsAt = limits, place{f.src.name, int32(n.Line), int32(n.Column)}
}

// checkKindLimits finds the kinds that there are not, and limits that let
// nothing run.
func (f *file) checkKindLimits(d *decoder, n *yaml.Node, limits map[string]int) {
	for key, value := range pairs(n) {
		switch limit, decoded := limits[key.Value]; {
		case f.in.kind(key.Value) == nil:
			d.errorf(key, suggest(key.Value, f.in.kindNames()), "unknown kind %q in limits.kinds", key.Value)
		case decoded && limit < 1 && !d.failed:
			d.errorf(value, "for no limit leave it out", "limits.kinds.%s must be at least 1", key.Value)
		}
	}
}
