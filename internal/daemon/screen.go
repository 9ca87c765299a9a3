package daemon

import (
	"io"
	"os"
	"strings"
	"sync"
)

// screen is a terminal with a line for people below the log. It is safe for
// concurrent use.
type screen struct {
	mu   sync.Mutex
	out  io.Writer
	line string
}

// newScreen returns the screen that a program writes to, nil if that is none.
func newScreen(out io.Writer) *screen {
	file, ok := out.(*os.File)
	if !ok {
		return nil
	}
	if info, err := file.Stat(); err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return nil
	}
	return &screen{out: file}
}

// erase takes a line off: back to its beginning, and off with what follows
// (ECMA-48, EL).
const erase = "\r\x1b[K"

// Write writes what belongs above the line.
func (s *screen) Write(p []byte) (n int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.line == "" {
		return s.out.Write(p)
	}
	if _, err := io.WriteString(s.out, erase); err != nil {
		return 0, err
	}
	if n, err = s.out.Write(p); err == nil {
		_, err = io.WriteString(s.out, s.line)
	}
	return n, err
}

// widest is what fits into any terminal: a line that is wrapped cannot be erased.
const widest = 79

// show replaces the line; with "" it is gone.
func (s *screen) show(line string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if runes := []rune(line); len(runes) > widest {
		line = string(runes[:widest])
	}
	if line == s.line {
		return
	}
	s.line = line
	var text strings.Builder
	text.WriteString(erase)
	text.WriteString(line)
	_, _ = io.WriteString(s.out, text.String()) // it is for looking at: who looks sees that it fails
}

// Interactive tells whether somebody may be looking: the log is text and standard
// error is a terminal.
func (d *Daemon) Interactive() bool { return d.screen != nil }

// Line shows a line for people below the log, of up to 79 characters, in place of
// the last one; with "" there is none. It does nothing unless Interactive. What
// runs must take its line away before it ends.
func (d *Daemon) Line(text string) {
	if d.screen != nil {
		d.screen.show(text)
	}
}
