package cmd

import (
	"context"
	"io"
	"log/slog"
	"net"
	"os"
	"time"

	toolkit "github.com/prometheus/exporter-toolkit/web"
	"github.com/spf13/cobra"

	"github.com/sonde-cli/sonde/config"
	"github.com/sonde-cli/sonde/scheduler"
	"github.com/sonde-cli/sonde/web"
)

const serveLong = `Run the checks of the files at their intervals until told to stop, and show
what they find over HTTP:

  /metrics                    for Prometheus
  /api/v1/checks              the checks, as JSON
  /api/v1/results             their latest results, as JSON; with ?stream as they come
  /probe?module=&target=      probes on demand, with --probe-endpoint
  /-/healthy, /-/ready        for supervisors; POST /-/reload reads the files again

SIGHUP and a change of a file read the files again, too. Checks that stay the
same keep their rhythm; when a file is wrong, the old checks go on and the log
says why. SIGTERM and SIGINT begin no more runs and wait for those in flight, a
second one leaves at once.

A module of /probe is a template of the files that has a kind. Its targets are
those that --probe-allow names, and never the metadata services of clouds.

The log goes to standard error, a line for each change of a verdict.`

const serveExamples = `  sonde serve checks.yaml
  sonde serve checks.yaml --listen :9780 --web-config web.yaml
  sonde serve checks/ --probe-endpoint --probe-allow '*.example.com'
  sonde serve checks.yaml --report ndjson | your-collector`

// DefaultListen is where `sonde serve` listens: on loopback, unless told
// otherwise.
const DefaultListen = "127.0.0.1:9780"

// serveFlags are the flags of `sonde serve`.
type serveFlags struct {
	loopFlags
	listen, webConfig   string
	allowHosts          list
	probe               bool
	probeAllow          list
	noWatch             bool
	detail              int
	report              choice
	logFormat, logLevel choice
}

func newServe(a *App) *cobra.Command {
	f := serveFlags{
		report:    choice{of: []string{"ndjson"}},
		logFormat: choice{value: "text", of: []string{"text", "json"}},
		logLevel:  choice{value: "info", of: []string{"debug", "info", "warn", "error"}},
	}
	c := &cobra.Command{
		Use:               "serve [FILE|DIR]...",
		Short:             "Run the checks of files at their intervals",
		Long:              serveLong,
		Example:           serveExamples,
		ValidArgsFunction: yamlFiles,
		RunE:              func(c *cobra.Command, files []string) error { return a.serve(c.Context(), &f, files) },
	}
	flags := c.Flags()
	flags.SortFlags = false
	flags.StringVar(&f.listen, "listen", DefaultListen, "`ADDRESS` to serve HTTP on, HOST:PORT; :PORT for all addresses")
	f.allowHosts.arg = "HOST"
	flags.Var(&f.allowHosts, "allow-host", "another host that requests may name, such as a reverse proxy's; on loopback the others are localhost, addresses and the --listen host; repeatable")
	flags.StringVar(&f.webConfig, "web-config", "", "`FILE` with TLS and users of the HTTP server, as of Prometheus exporters")
	flags.BoolVar(&f.probe, "probe-endpoint", false, "make probes on demand at /probe, as blackbox_exporter does")
	f.probeAllow.arg = "GLOB"
	flags.Var(&f.probeAllow, "probe-allow", "hosts that /probe may be asked for (* and ?); repeatable")
	f.loopFlags.register(a, c)
	flags.Var(&f.grace, "grace", "how long runs in flight may take at the end; the longest timeout by default, at most 5s")
	flags.IntVar(&f.detail, "detail", web.DefaultDetail, "metrics and a latest result of their own for the first `N` checks; the others are summed up by kind")
	flags.BoolVar(&f.noWatch, "no-watch", false, "read the files again on SIGHUP and /-/reload only, not when they change")
	flags.Var(&f.report, "report", "write each result to standard output too: ndjson")
	flags.Var(&f.logFormat, "log-format", "of the log on standard error")
	flags.Var(&f.logLevel, "log-level", "least important lines of the log")
	complete(c, "report", fixed(f.report.of...))
	complete(c, "log-format", fixed(f.logFormat.of...))
	complete(c, "log-level", fixed(f.logLevel.of...))
	return c
}

// check finds the mistakes that the flags alone show.
func (f *serveFlags) check() error {
	if f.probe && len(f.probeAllow.values) == 0 {
		return usagef("for example: --probe-allow '*.example.com'; '*' allows all but the metadata services of clouds",
			"--probe-endpoint lets others choose targets, so it needs --probe-allow")
	}
	if !f.probe && len(f.probeAllow.values) > 0 {
		return usagef("add --probe-endpoint, or leave --probe-allow out", "--probe-allow without --probe-endpoint")
	}
	if f.detail < 1 {
		return usagef("", "--detail %d: it takes at least 1", f.detail)
	}
	if err := toolkit.Validate(f.webConfig); err != nil {
		return usagef("https://prometheus.io/docs/prometheus/latest/configuration/https/ describes the file", "--web-config %s: %v", f.webConfig, err)
	}
	return nil
}

// logger returns the daemon's log, and its writer, which is to be closed at the
// end.
func (f *serveFlags) logger(a *App) (*slog.Logger, *logWriter) {
	var level slog.Level
	_ = level.UnmarshalText([]byte(f.logLevel.value)) // it is one of the choices
	o := &slog.HandlerOptions{Level: level}
	handler := func(w io.Writer) slog.Handler {
		if f.logFormat.value == "json" {
			return slog.NewJSONHandler(w, o)
		}
		return slog.NewTextHandler(w, o)
	}
	w := newLogWriter(a.Stderr, handler)
	return slog.New(handler(w)), w
}

func (a *App) serve(ctx context.Context, f *serveFlags, files []string) error {
	if err := f.check(); err != nil {
		return err
	}
	files, err := loopFiles("serve", files)
	if err != nil {
		return err
	}
	var hangups <-chan os.Signal
	if a.Hangups != nil {
		hangups = a.Hangups()
	}
	set, err := a.loadLoop(ctx, &f.loopFlags, files, f.probe)
	if err != nil {
		return err
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", f.listen)
	if err != nil {
		return usagef("choose another address with --listen", "cannot listen: %v", err)
	}
	log, w := f.logger(a)
	defer w.Close()
	d := &server{app: a, flags: f, files: files, log: log, hangups: hangups}
	d.hosts = f.hosts(listener.Addr())
	d.build(set)
	return d.run(ctx, listener)
}

// server is a running `sonde serve`.
type server struct {
	app   *App
	flags *serveFlags
	files []string
	log   *slog.Logger

	hosts   []string         // that requests may name; nil: any
	hangups <-chan os.Signal // requests to reload
	life    context.Context  // of what runs beside the checks

	loop   *scheduler.Loop
	web    *web.Server
	lines  *lineWriter // nil without --report
	prober *prober     // nil without --probe-endpoint
	reload reloader
	grace  time.Duration // for runs in flight at the end
	limits config.Limits // of the files, at the start
	undo   func()        // what relax did to the garbage collector; nil: nothing
}

// build puts the parts together.
func (d *server) build(set *config.Set) {
	o := web.Options{
		Version: d.app.Build.Version, Commit: d.app.Build.Commit, Log: d.log, Now: d.app.Now, Detail: d.flags.detail, Hosts: d.hosts,
		Engine: func() scheduler.Stats { return d.loop.Stats() },
		Reload: func(context.Context) error { return d.again("request") },
	}
	if d.flags.probe {
		d.prober = &prober{allow: d.flags.probeAllow.values}
		o.Probe = d.prober.probe
	}
	d.web = web.New(o)
	sinks := fan{d.web}
	if d.flags.report.value != "" {
		d.lines = newLineWriter(d.app.Stdout, d.log, d.web.ReportDropped)
		sinks = append(sinks, d.lines)
	}
	d.grace = d.flags.graceOf(set.Checks)
	d.limits = set.Limits
	d.loop = d.flags.loop(d.flags.limits(set.Limits), d.grace, sinks, func(message, hint string) { d.log.Warn(message, "hint", hint) })
	d.apply(set)
	d.web.Reloaded(nil)
}

// run makes runs until ctx ends, and then ends in order.
func (d *server) run(ctx context.Context, listener net.Listener) error {
	d.app.measuring.Store(true) // the first signal ends it in order
	life, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	d.life = life
	front := d.serveHTTP(listener)
	tasks := d.tasks(life)

	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = d.loop.Run(context.WithoutCancel(ctx)) // the sinks log what they fail at
	}()
	d.web.SetReady(true)
	d.notify("READY=1")
	d.log.Info("serving", "address", listener.Addr().String(), "checks", d.loop.Stats().Checks, "version", d.app.Build.Version)

	var err error
	select {
	case <-ctx.Done():
		d.log.Info("stopping", "grace", d.grace.String(), "in_flight", d.loop.Stats().InFlight)
		d.web.SetReady(false)
		d.notify("STOPPING=1")
		d.loop.Stop()
		<-ended
	case err = <-front.failed:
		d.loop.Stop()
		<-ended
	}
	stop()
	tasks.Wait()
	d.finish(front)
	if d.undo != nil {
		d.undo()
	}
	d.log.Info("stopped")
	return err
}

// finish ends the outputs: the streams, what is still to be written, and the
// requests under way.
func (d *server) finish(front *httpServer) {
	_ = d.web.Close() // never fails
	if d.lines != nil {
		_ = d.lines.Close() // tells by itself
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if front.Shutdown(ctx) != nil {
		_ = front.Close() // whoever still reads has had a second
	}
}
