package cmd

// color decides whether standard output gets colours.
func (a *App) color(flag string) bool {
	switch flag {
	case "always":
		return true
	case "never":
		return false
	}
	return a.StdoutWidth > 0 && !a.set("NO_COLOR") && !a.dumb()
}

// dumb reports whether the terminal, if there is one, understands no control
// sequences, or nobody sits in front of it.
func (a *App) dumb() bool {
	term, _ := a.LookupEnv("TERM")
	return term == "dumb" || a.set("CI")
}

// animate reports whether standard error can show progress.
func (a *App) animate() bool { return a.StderrWidth > 0 && !a.dumb() }
