// Engine measures what one probe costs: the CPU time of the whole sonde process
// per probe, next to that of the programs that people would use instead, against
// the same servers on loopback, in interleaved rounds of one run on one machine.
// README.md of this folder's parent says how to read its tables.
//
//	go run ./bench/engine [-quick] [-o bench/RESULTS.md] [scenario]...
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := dispatch(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "engine:", err)
		os.Exit(1)
	}
}

// dispatch runs the program itself or one of the roles that it gives to
// children of its own.
func dispatch(ctx context.Context, args []string) error {
	role := ""
	if len(args) > 0 {
		role = args[0]
	}
	switch role {
	case "child":
		return child(ctx, args[1:], os.Stdout)
	case "baseline":
		return baseline(args[1:], os.Stdout)
	case "wait":
		return waitFor(ctx, args[1:])
	default:
		return run(ctx, args)
	}
}

// scenario is one question that the program answers.
type scenario struct {
	name  string
	doc   string
	full  extent
	quick extent
	run   func(*bench) error
}

// extent is how much is measured.
type extent struct {
	rounds int
	span   time.Duration
	rate   int // runs per second; 0 where the scenario sets its own
}

func scenarios() []scenario {
	return []scenario{
		{"cpu", "CPU per probe of HTTP, HTTPS, TCP and DNS at a fixed rate, next to the peers", extent{5, 8 * time.Second, 4000}, extent{1, 3 * time.Second, 3000}, runCPU},
		{"icmp", "10,000 hosts next to fping, and healthy hosts reported lost", extent{5, 20 * time.Second, 0}, extent{1, 5 * time.Second, 0}, runICMP},
		{"peak", "the mix at its peak: nothing missed", extent{1, 30 * time.Second, 36000}, extent{1, 10 * time.Second, 36000}, runMix},
		{"steady", "the mix at its average: flat over time", extent{1, 10 * time.Minute, 12000}, extent{1, 20 * time.Second, 12000}, runMix},
		{"resident", "1,000,000 checks: load time, memory, spread of the first runs", extent{1, 5 * time.Minute, 0}, extent{1, 10 * time.Second, 0}, runResident},
		{"outage", "a third of 3,000 targets black-holed: the lateness of the others", extent{1, 30 * time.Second, 0}, extent{1, 10 * time.Second, 0}, runOutage},
		{"linear", "CPU per probe with 1,000 to 1,000,000 checks", extent{3, 15 * time.Second, 1000}, extent{1, 5 * time.Second, 1000}, runLinear},
	}
}

// bench is one run of one scenario.
type bench struct {
	ctx     context.Context
	name    string
	dir     string // of everything that is written, removed at the end
	self    string // this program
	profile string // folder for CPU profiles of sonde; empty: none
	only    []string
	scrape  time.Duration // between two scrapes of sonde's metrics in peak and steady; 0: none
	quick   bool
	extent
	out io.Writer // Markdown
}

func run(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("engine", flag.ContinueOnError)
	quick := flags.Bool("quick", false, "measure little, to see that everything works")
	rounds := flags.Int("rounds", 0, "interleaved rounds; 0: the scenario's own number")
	span := flags.Duration("span", 0, "length of one measurement; 0: the scenario's own")
	rate := flags.Int("rate", 0, "runs per second; 0: the scenario's own")
	only := flags.String("only", "", "comma-separated words: only the tables of cpu and icmp whose title has one of them")
	scrape := flags.Duration("scrape", 0, "time between two scrapes of sonde's metrics in peak and steady; 0: none")
	profile := flags.String("profile", "", "folder for CPU profiles of sonde")
	file := flags.String("o", "", "file of results (RESULTS.md) in which to replace the sections of what ran")
	flags.Usage = func() { usage(flags) }
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		return nil
	} else if err != nil {
		return err
	}
	chosen, err := choose(flags.Args())
	if err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	b := &bench{ctx: ctx, self: self, quick: *quick, profile: *profile, scrape: *scrape}
	if *only != "" {
		b.only = strings.Split(*only, ",")
	}
	var failed []error
	for _, s := range chosen {
		b.name, b.extent = s.name, s.full
		if *quick {
			b.extent = s.quick
		}
		b.rounds, b.span, b.rate = cmp.Or(*rounds, b.rounds), cmp.Or(*span, b.span), cmp.Or(*rate, b.rate)
		if err := b.section(s, *file); err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", s.name, err))
		}
		if ctx.Err() != nil {
			break
		}
	}
	return errors.Join(failed...)
}

func usage(flags *flag.FlagSet) {
	w := flags.Output()
	fmt.Fprintln(w, "usage: engine [flags] [scenario]...")
	for _, s := range scenarios() {
		fmt.Fprintf(w, "  %-9s %s\n", s.name, s.doc)
	}
	fmt.Fprintln(w, "flags:")
	flags.PrintDefaults()
}

// choose returns the named scenarios, all when none is named.
func choose(names []string) ([]scenario, error) {
	all := scenarios()
	if len(names) == 0 {
		return all, nil
	}
	var chosen []scenario
	for _, name := range names {
		before := len(chosen)
		for _, s := range all {
			if s.name == name {
				chosen = append(chosen, s)
			}
		}
		if len(chosen) == before {
			return nil, fmt.Errorf("there is no scenario %q, see -help", name)
		}
	}
	return chosen, nil
}

// section runs one scenario and shows and keeps its results.
func (b *bench) section(s scenario, file string) (err error) {
	if b.dir, err = os.MkdirTemp("", "sonde-bench"); err != nil {
		return err
	}
	defer os.RemoveAll(b.dir)
	if b.profile != "" {
		if b.profile, err = filepath.Abs(b.profile); err != nil {
			return err
		}
		if err := os.MkdirAll(b.profile, 0o755); err != nil {
			return err
		}
	}
	var text strings.Builder
	b.out = io.MultiWriter(os.Stdout, &text)
	fmt.Fprintf(b.out, "## %s\n\n%s.\n\n", s.name, sentence(s.doc))
	fmt.Fprintf(b.out, "%s; %s\n\n", machine(), b.measured())
	if err := s.run(b); err != nil {
		fmt.Fprintf(b.out, "It failed: %s\n\n", oneLine(err))
		return err
	}
	if file == "" {
		return nil
	}
	return replaceSection(file, s.name, text.String())
}

// measured words how much was measured.
func (b *bench) measured() string {
	text := fmt.Sprintf("measured for %v", b.span)
	if b.rounds > 1 {
		text += fmt.Sprintf(", %d interleaved rounds, medians", b.rounds)
	}
	if b.rate > 0 {
		text += fmt.Sprintf(", %d runs/s", b.rate)
	}
	if b.quick {
		text += "; a quick run, which proves nothing"
	}
	return text
}

// wants reports whether -only lets a table with this title be made.
func (b *bench) wants(title string) bool {
	if len(b.only) == 0 {
		return true
	}
	for _, word := range b.only {
		if strings.Contains(strings.ToLower(title), strings.ToLower(word)) {
			return true
		}
	}
	return false
}

// progress tells on standard error what is being measured.
func (b *bench) progress(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "%s %s: %s\n", time.Now().Format(time.TimeOnly), b.name, fmt.Sprintf(format, args...))
}
