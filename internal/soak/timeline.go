package soak

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// timeline is what happened, in short. Its methods may be called from several
// goroutines.
type timeline struct {
	began time.Time

	mu      sync.Mutex
	entries []entry
}

type entry struct {
	at   time.Duration
	who  string // a writer, "FAULT", "observer", …
	text string
	host int64 // 0: of no single row
}

// history is how many entries are kept.
const history = 50_000

func newTimeline() *timeline { return &timeline{began: time.Now()} }

// note adds an entry.
func (t *timeline) note(who, format string, args ...any) { t.noteHost(0, who, format, args...) }

// noteHost adds an entry about one row.
func (t *timeline) noteHost(host int64, who, format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.entries) == history {
		t.entries = slices.Delete(t.entries, 0, history/2)
	}
	t.entries = append(t.entries, entry{time.Since(t.began), who, fmt.Sprintf(format, args...), host})
}

func (e entry) String() string {
	if e.host != 0 {
		return fmt.Sprintf("%8.3f %-8s host %d: %s", e.at.Seconds(), e.who, e.host, e.text)
	}
	return fmt.Sprintf("%8.3f %-8s %s", e.at.Seconds(), e.who, e.text)
}

var hostNumber = regexp.MustCompile(`host (\d+)`)

// about tells what bears on a failure: all of the first three rows that its
// text names, everything but single rows of the last two minutes, and the last
// 60 entries of any kind.
func (t *timeline) about(failure string) string {
	const rows, last, recent = 3, 60, 2 * time.Minute
	var hosts []int64
	for _, m := range hostNumber.FindAllStringSubmatch(failure, -1) {
		id, err := strconv.ParseInt(m[1], 10, 64)
		if err == nil && len(hosts) < rows && !slices.Contains(hosts, id) {
			hosts = append(hosts, id)
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Since(t.began)
	var b strings.Builder
	for i, e := range t.entries {
		if slices.Contains(hosts, e.host) || e.host == 0 && now-e.at < recent || len(t.entries)-i <= last {
			fmt.Fprintln(&b, e)
		}
	}
	return b.String()
}
