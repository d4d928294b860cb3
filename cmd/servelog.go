package cmd

import (
	"context"
	"log/slog"
)

// belowWarn passes on warnings and errors, and the rest as debug lines: what a
// library finds worth saying at its start is not news to an operator.
type belowWarn struct{ slog.Handler }

// Handle lowers the level of what is no warning.
func (h belowWarn) Handle(ctx context.Context, r slog.Record) error {
	if r.Level < slog.LevelWarn {
		if r.Level = slog.LevelDebug; !h.Handler.Enabled(ctx, slog.LevelDebug) {
			return nil
		}
	}
	return h.Handler.Handle(ctx, r)
}

// WithAttrs keeps the wrapping.
func (h belowWarn) WithAttrs(attrs []slog.Attr) slog.Handler {
	return belowWarn{h.Handler.WithAttrs(attrs)}
}

// WithGroup keeps the wrapping.
func (h belowWarn) WithGroup(name string) slog.Handler { return belowWarn{h.Handler.WithGroup(name)} }
