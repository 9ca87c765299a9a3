package daemon

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"strings"
)

// Settings are the flags that every service has. A service embeds them into its
// kong struct with the tag `embed:""`. The zero value is usable: level info,
// text, no HTTP server.
type Settings struct {
	// LogLevel is the lowest level that is logged.
	LogLevel LogLevel `name:"log-level" default:"info" placeholder:"LEVEL" help:"Lowest level to log: debug, info, warn or error."`

	// LogFormat is "text", for people, on standard error, or "json", for
	// machines, on standard output. Empty means text.
	LogFormat string `name:"log-format" default:"text" enum:"text,json" help:"Log as text to standard error, or as json to standard output."`

	// HTTPAddr is the host:port of the HTTP server. Empty or "off" means that
	// there is none; port 0 takes a free one. The default is the variable
	// http_addr given to [Main].
	HTTPAddr string `name:"http-addr" default:"${http_addr}" placeholder:"HOST:PORT" help:"Address of /metrics, /healthz, /readyz and, where there is one, /api/v1; off for none (default: ${default})."`

	// Version prints the version and ends.
	Version bool `name:"version" env:"-" help:"Print the version and end."`
}

// Validate refuses an HTTP address that cannot be listened on. It does no I/O.
func (s Settings) Validate() error {
	if !s.httpOn() {
		return nil
	}
	_, port, err := net.SplitHostPort(s.HTTPAddr)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil {
		return fmt.Errorf(`--http-addr=%s: %w: give host:port, as in 127.0.0.1:9641, or "off"`, s.HTTPAddr, err)
	}
	return nil
}

func (s Settings) httpOn() bool { return s.HTTPAddr != "" && s.HTTPAddr != "off" }

// LogLevel is a [slog.Level] that is read from debug, info, warn or error, in
// upper or lower case. WARNING is understood too: the replaced system called it
// so.
type LogLevel slog.Level

// Level makes LogLevel a [slog.Leveler].
func (l LogLevel) Level() slog.Level { return slog.Level(l) }

// UnmarshalText reads the name of a level. The error lists the names.
func (l *LogLevel) UnmarshalText(text []byte) error {
	switch strings.ToLower(string(text)) {
	case "debug":
		*l = LogLevel(slog.LevelDebug)
	case "info":
		*l = LogLevel(slog.LevelInfo)
	case "warn", "warning":
		*l = LogLevel(slog.LevelWarn)
	case "error":
		*l = LogLevel(slog.LevelError)
	default:
		return errors.New("not a log level: give debug, info, warn or error")
	}
	return nil
}
