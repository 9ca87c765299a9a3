package daemon

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

func TestScreenKeepsItsLineBelowTheLog(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	s := &screen{out: &out}
	fmt.Fprintln(s, "first")
	s.show("1 of 9")
	s.show("1 of 9") // nothing new
	fmt.Fprintln(s, "second")
	s.show("2 of 9")
	s.show("")
	fmt.Fprintln(s, "third")
	want := "first\n" + erase + "1 of 9" + erase + "second\n1 of 9" + erase + "2 of 9" + erase + "third\n"
	if out.String() != want {
		t.Errorf("the terminal got\n%q, want\n%q", out.String(), want)
	}
	s.show(strings.Repeat("é", 100))
	if !strings.HasSuffix(out.String(), erase+strings.Repeat("é", widest)) {
		t.Error("a line that is too long for a terminal is not cut")
	}
}

// A file, a pipe and a journal get no control characters.
func TestOnlyATerminalIsAScreen(t *testing.T) {
	t.Parallel()
	file, err := os.CreateTemp(t.TempDir(), "log")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	if newScreen(file) != nil || newScreen(w) != nil || newScreen(&strings.Builder{}) != nil {
		t.Error("something that is no terminal counts as one")
	}
	terminal, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer terminal.Close()
	if newScreen(terminal) == nil {
		t.Error("a terminal does not count as one")
	}
}
