package cmd

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/sonde-cli/sonde/config"
	"github.com/sonde-cli/sonde/internal/memory"
)

// settle is how long files must be left alone before they are read again:
// editors write in several steps.
const settle = 500 * time.Millisecond

// reloader reads the files again, once at a time.
type reloader struct {
	mu      sync.Mutex
	watcher *fsnotify.Watcher // nil when files are not watched
	names   map[string]bool   // of files whose change counts, absolute
}

// tasks starts what a daemon does besides running checks. They end with ctx.
func (d *server) tasks(ctx context.Context) *sync.WaitGroup {
	var all sync.WaitGroup
	all.Go(func() {
		for {
			select {
			case <-d.hangups:
				_ = d.again("SIGHUP") // it is logged
			case <-ctx.Done():
				return
			}
		}
	})
	all.Go(func() { d.watchdog(ctx) })
	if !d.flags.noWatch {
		if err := d.watch(); err != nil {
			d.log.Warn("files are not watched, SIGHUP and /-/reload read them again", "error", err.Error())
		} else {
			all.Go(func() { d.follow(ctx) })
		}
	}
	return &all
}

// again reads the files, unless the daemon ends meanwhile. When they are wrong,
// everything stays as it was.
func (d *server) again(why string) error {
	d.reload.mu.Lock()
	defer d.reload.mu.Unlock()
	d.notify(reloading())
	defer d.notify("READY=1")
	// Whoever asked may go away; half a reload helps nobody.
	set, err := d.app.loadLoop(d.life, &d.flags.loopFlags, d.files, d.flags.probe)
	if ended := d.life.Err(); ended != nil {
		return ended // nobody needs it any more
	}
	d.web.Reloaded(err)
	if err != nil {
		d.logProblems(err, why)
		return err
	}
	d.apply(set)
	d.log.Info("configuration reloaded", "why", why, "checks", len(set.Checks))
	return nil
}

// logProblems says that a reload failed: one line for each problem.
func (d *server) logProblems(err error, why string) {
	var problems config.Errors
	if !errors.As(err, &problems) {
		d.log.Error("reload failed, the old configuration stays", "why", why, "error", err.Error())
		return
	}
	for _, p := range problems {
		text, hint := oneLine(p)
		d.log.Error("reload failed, the old configuration stays", "why", why, "problem", text, "hint", hint)
	}
}

// oneLine words a problem for a log, which has one line for each message.
func oneLine(p config.Problem) (text, hint string) {
	p.Excerpt = ""
	text, hint, _ = strings.Cut(p.String(), "\nhint: ")
	return text, hint
}

// apply puts a configuration into effect. The web knows a check before its
// first result comes.
func (d *server) apply(set *config.Set) {
	for _, p := range set.Warnings {
		text, hint := oneLine(p)
		d.log.Warn("doubtful configuration", "problem", text, "hint", hint)
	}
	if n := len(set.Checks) - d.flags.detail; n > 0 {
		d.log.Warn("some checks have no metrics and no latest result of their own", "checks", n, "hint", "--detail sets the limit")
	}
	if !set.Limits.Equal(d.limits) {
		d.log.Warn("the limits of the files changed, they take effect after a restart")
	}
	nameHosts(set.Checks, d.flags.limits(d.limits)) // which the loop still keeps
	d.web.SetChecks(set.Checks)
	d.loop.Replace(set.Checks)
	d.relax()
	if d.prober != nil {
		d.prober.set(set.Modules)
	}
	if err := d.reload.observe(d.files, set.Files); err != nil {
		d.log.Warn("some files are not watched", "error", err.Error())
	}
}

// relax lets the garbage collector take more memory and less time, unless the
// environment says what it may take.
func (d *server) relax() {
	for _, name := range []string{"GOGC", "GOMEMLIMIT"} {
		if _, ok := d.app.LookupEnv(name); ok {
			return
		}
	}
	undo := memory.Relax()
	if d.undo == nil {
		d.undo = undo
	}
}

// observe notes which files count.
func (r *reloader) observe(paths, files []string) error {
	names := make(map[string]bool, len(files)+len(paths))
	for _, file := range append(append([]string{}, paths...), files...) {
		if abs, err := filepath.Abs(file); err == nil {
			names[abs] = true
		}
	}
	r.names = names
	if r.watcher == nil {
		return nil
	}
	return r.addFolders()
}

// addFolders watches the folders of the files, and those that are named
// themselves. Watching files would lose them when an editor puts another in
// their place.
func (r *reloader) addFolders() error {
	var errs []error
	for name := range r.names {
		if info, err := os.Stat(name); err != nil || !info.IsDir() {
			name = filepath.Dir(name)
		}
		errs = append(errs, r.watcher.Add(name))
	}
	return errors.Join(errs...)
}

func (d *server) watch() (err error) {
	d.reload.mu.Lock()
	defer d.reload.mu.Unlock()
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		return err
	}
	d.reload.watcher = watcher
	if err := d.reload.addFolders(); err != nil {
		d.reload.watcher = nil
		return errors.Join(err, watcher.Close())
	}
	return nil
}

// follow reads the files again when they changed and then rested.
func (d *server) follow(ctx context.Context) {
	watcher := d.reload.watcher
	defer watcher.Close()
	rested := time.NewTimer(settle)
	rested.Stop()
	for {
		select {
		case event := <-watcher.Events:
			if d.reload.concerns(event) {
				rested.Reset(settle)
			}
		case err := <-watcher.Errors:
			d.log.Warn("watching files", "error", err.Error())
			rested.Reset(settle) // something may have been overlooked
		case <-rested.C:
			_ = d.again("file changed") // it is logged
		case <-ctx.Done():
			return
		}
	}
}

// concerns reports whether the event is about one of our files: itself, a file
// of checks in a folder of ours, or the link through which Kubernetes puts a
// whole folder in place.
func (r *reloader) concerns(event fsnotify.Event) bool {
	if event.Op == fsnotify.Chmod {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	name, err := filepath.Abs(event.Name)
	if err != nil {
		return false
	}
	ext := filepath.Ext(name)
	return r.names[name] || filepath.Base(name) == "..data" || r.names[filepath.Dir(name)] && (ext == ".yaml" || ext == ".yml")
}
