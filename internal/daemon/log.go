package daemon

import (
	"io"
	"log/slog"
)

// millis is RFC 3339 with milliseconds.
const millis = "2006-01-02T15:04:05.000Z07:00"

// newLogger writes text to stderr or JSON to stdout. Both print the time as
// RFC 3339 with milliseconds: the text handler of slog does so by itself.
func newLogger(s Settings, stdout, stderr io.Writer) *slog.Logger {
	if s.LogFormat != "json" {
		return slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: s.LogLevel}))
	}
	return slog.New(slog.NewJSONHandler(stdout, &slog.HandlerOptions{
		Level: s.LogLevel,
		ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
			if len(groups) == 0 && a.Key == slog.TimeKey && a.Value.Kind() == slog.KindTime {
				a.Value = slog.StringValue(a.Value.Time().Format(millis))
			}
			return a
		},
	}))
}
