package web

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/sonde-cli/sonde/check"
)

// TestIdsThatDifferInSecrets gives checks that look the same one place.
func TestIdsThatDifferInSecrets(t *testing.T) {
	var checks []*check.Check
	for _, secret := range []string{"s3cret-1", "s3cret-2"} {
		c := toy("api[" + secret + "]")
		c.Mask = check.NewMask(secret)
		checks = append(checks, c)
	}
	s := newServer(Options{}, checks...)
	s.SetChecks(checks)
	s.Put(result("api[***]", check.Up))
	s.Put(result("api[***]", check.Up))
	demand(t, s, "/metrics", 200, `sonde_results_total{check="api[***]",kind="toy",verdict="up"} 2`, `sonde_up{check="api[***]",kind="toy"} 1`, "!s3cret")
}

// TestLateResultOfAnotherKind sums up what a run finds whose check has become
// one of another kind.
func TestLateResultOfAnotherKind(t *testing.T) {
	s := newServer(Options{}, toy("a"))
	other := toy("a")
	other.Kind = "game"
	s.SetChecks([]*check.Check{other})
	s.Put(result("a", check.Down))
	demand(t, s, "/metrics", 200, `sonde_results_total{check="",kind="toy",verdict="down"} 1`, `!sonde_up{check="a"`)
	r := result("a", check.Up)
	r.Kind = "game"
	s.Put(r)
	demand(t, s, "/metrics", 200, `sonde_results_total{check="a",kind="game",verdict="up"} 1`, `!{check="a",kind="toy"`)
}

// TestManyChecks lists more checks than are copied and written at once.
func TestManyChecks(t *testing.T) {
	const n = 3 * pickAtOnce
	var checks []*check.Check
	for i := range n {
		checks = append(checks, toy(fmt.Sprintf("check-%d", i)))
	}
	s := newServer(Options{}, checks...)
	var document struct {
		Schema int
		Checks []struct{ ID string }
	}
	if err := json.Unmarshal([]byte(demand(t, s, "/api/v1/checks", 200)), &document); err != nil {
		t.Fatal(err)
	}
	if len(document.Checks) != n || document.Schema != check.Schema || document.Checks[n-1].ID != checks[n-1].ID {
		t.Errorf("%d checks", len(document.Checks))
	}
	if one := demand(t, s, "/api/v1/checks?check=check-700", 200, `"id":"check-700"`); !json.Valid([]byte(one)) || strings.Count(one, `"id"`) != 1 {
		t.Errorf("one: %s", one)
	}
	if none := demand(t, s, "/api/v1/checks?tag=x", 200, `"checks":[]`); !json.Valid([]byte(none)) {
		t.Errorf("none: %s", none)
	}
}
