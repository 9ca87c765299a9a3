package modeltest

import (
	"strings"
	"sync"
)

const checkComplete = "DNS consistency check complete"

// journal is the log of a process. What is told there tells of hard cases.
type journal struct {
	w      *world
	p      *process
	before map[record]bool

	mu    sync.Mutex
	lines []string
}

func newJournal(w *world, p *process) *journal {
	j := &journal{w: w, p: p, before: make(map[record]bool)}
	for _, r := range w.ours() {
		j.before[recordOf(r)] = true
	}
	return j
}

// Write takes one line.
func (j *journal) Write(p []byte) (int, error) {
	line := string(p)
	for text, name := range map[string]string{
		`msg="Withdrawn `:                    caseWithdrawn,
		`msg="conflict: the name is left`:    caseRaised,
		`msg="conflict is over"`:             caseOver,
		`msg="the dns server answers again"`: caseAway,
		`msg="lease lost"`:                   caseLost,
	} {
		if strings.Contains(line, text) {
			j.w.reached.add(name)
		}
	}
	if strings.Contains(line, `msg="lease taken"`) {
		if last := j.w.lastLeader.Swap(j.p); last != nil && last.place != j.p.place {
			j.w.reached.add(caseTakeover)
		}
	}
	if _, rest, found := strings.Cut(line, `msg="Removed `); found && j.p.number > j.w.options.form.instances() {
		fields := strings.Fields(rest) // A record: NAME -> VALUE (scope: …
		if len(fields) > 4 && j.before[record{set{fields[2], fields[0]}, fields[4]}] {
			j.w.reached.add(caseLateRemoval)
		}
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines = append(j.lines, line)
	return len(p), nil
}

func (j *journal) count(text string) (n int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, line := range j.lines {
		if strings.Contains(line, text) {
			n++
		}
	}
	return n
}

func (j *journal) tail() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return strings.Join(j.lines[max(0, len(j.lines)-300):], "")
}
