package embeddednats

import (
	"fmt"
	"log/slog"
	"sync"
)

// logger takes the log of nats-server, which is text only. Its notices, some
// twenty at each start, are debug to us. It keeps the first fatal error: the
// server's own logger ends the process there, ours lets start report it.
type logger struct {
	log *slog.Logger

	mu    sync.Mutex // guards fatal
	fatal error
}

func (l *logger) Fatalf(format string, v ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fatal == nil {
		l.fatal = fmt.Errorf(format, v...)
	}
}

func (l *logger) fatalError() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.fatal
}

func (l *logger) Errorf(format string, v ...any) {
	l.log.Error("nats server reports an error", "text", fmt.Sprintf(format, v...))
}

func (l *logger) Warnf(format string, v ...any) {
	l.log.Warn("nats server warns", "text", fmt.Sprintf(format, v...))
}

func (l *logger) Noticef(format string, v ...any) {
	l.log.Debug("nats server says", "text", fmt.Sprintf(format, v...))
}

// Debugf and Tracef are never called: both levels are off.
func (l *logger) Debugf(string, ...any) {}
func (l *logger) Tracef(string, ...any) {}
