package playground

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/sonde-cli/sonde/internal/testnet"
)

// Fault is a hostile or broken target that can be started by name.
type Fault = testnet.Fault

// Faults returns all faults in the order of docs/hostile.md.
func Faults() []Fault { return testnet.Faults() }

// Faulty is a set of running targets that have faults.
type Faulty struct {
	running []*testnet.Faulty
	dir     string // holds what the checks refer to; removed by Close
}

// StartFaults starts the targets of the names, in the order of [Faults]; a name
// that is none of theirs has no effect. It stops when the context ends. The caller
// closes them.
func StartFaults(ctx context.Context, names []string) (*Faulty, error) {
	f := &Faulty{}
	if err := f.start(ctx, names); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

func (f *Faulty) start(ctx context.Context, names []string) error {
	ca, err := testnet.NewCA()
	if err != nil {
		return fmt.Errorf("making the authority: %w", err)
	}
	if f.dir, err = os.MkdirTemp("", "sonde-playground-"); err != nil {
		return fmt.Errorf("making a folder: %w", err)
	}
	if err := testnet.WriteFaultFiles(f.dir, ca); err != nil {
		return fmt.Errorf("writing the files of the checks: %w", err)
	}
	for _, fault := range Faults() {
		if !slices.Contains(names, fault.Name) {
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		running, err := fault.Start(ca)
		if err != nil {
			return err
		}
		f.running = append(f.running, running)
	}
	return nil
}

// Checks returns the targets as a file of checks, with what they do as comments.
func (f *Faulty) Checks() string {
	text := "version: 1\nchecks:\n"
	for _, r := range f.running {
		text += fmt.Sprintf("  # %s: %s\n  %s\n", r.Case, r.Doc, r.Check(f.dir, "2s"))
	}
	return text
}

// Close stops the targets, waits for them and removes the files.
func (f *Faulty) Close() error {
	var errs []error
	for _, r := range f.running {
		errs = append(errs, r.Close())
	}
	if f.dir != "" {
		errs = append(errs, os.RemoveAll(f.dir))
	}
	return errors.Join(errs...)
}
