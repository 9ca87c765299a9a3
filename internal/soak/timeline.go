package soak

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/keastream/keastream/internal/e2e"
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
	host int64  // 0: of no single row
	name string // in DNS, "": of no single one
}

// history is how many entries are kept.
const history = 150_000

func newTimeline() *timeline { return &timeline{began: time.Now()} }

// note adds an entry.
func (t *timeline) note(who, format string, args ...any) { t.noteHost(0, who, format, args...) }

// noteHost adds an entry about one row.
func (t *timeline) noteHost(host int64, who, format string, args ...any) {
	t.add(entry{who: who, text: fmt.Sprintf(format, args...), host: host})
}

// noteName adds an entry about one name in DNS, "" for one that is not known.
func (t *timeline) noteName(name, who, format string, args ...any) {
	t.add(entry{who: who, text: fmt.Sprintf(format, args...), name: cmp.Or(name, unknownName)})
}

// unknownName keeps entries apart that are not about the whole system.
const unknownName = "?"

func (t *timeline) add(e entry) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.entries) == history {
		t.entries = slices.Delete(t.entries, 0, history/2)
	}
	e.at = time.Since(t.began)
	t.entries = append(t.entries, e)
}

func (e entry) String() string {
	if e.host != 0 {
		return fmt.Sprintf("%8.3f %-8s host %d: %s", e.at.Seconds(), e.who, e.host, e.text)
	}
	if e.name != "" {
		return fmt.Sprintf("%8.3f %-8s %s: %s", e.at.Seconds(), e.who, e.name, e.text)
	}
	return fmt.Sprintf("%8.3f %-8s %s", e.at.Seconds(), e.who, e.text)
}

var (
	hostNumber = regexp.MustCompile(`host (\d+)`)
	dnsName    = regexp.MustCompile(`[a-z0-9.-]+\.(` + regexp.QuoteMeta(e2e.Zone) + `|in-addr\.arpa|ip6\.arpa)`)
)

// about tells what bears on a failure: all of the first three rows and names in
// DNS that its text has and, with others, everything but single ones of the last
// two minutes, and the last 60 entries of any kind.
func (t *timeline) about(failure string, others bool) string {
	const rows, last, recent = 3, 60, 2 * time.Minute
	var hosts []int64
	for _, m := range hostNumber.FindAllStringSubmatch(failure, -1) {
		id, err := strconv.ParseInt(m[1], 10, 64)
		if err == nil && len(hosts) < rows && !slices.Contains(hosts, id) {
			hosts = append(hosts, id)
		}
	}
	names := namesIn(failure)
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Since(t.began)
	var b strings.Builder
	for i, e := range t.entries {
		single := e.host != 0 || e.name != ""
		if slices.Contains(hosts, e.host) || slices.Contains(names, e.name) ||
			others && (!single && now-e.at < recent || len(t.entries)-i <= last) {
			fmt.Fprintln(&b, e)
		}
	}
	return b.String()
}

// namesIn returns the first three names in DNS that a failure speaks of.
func namesIn(failure string) (names []string) {
	const most = 3
	for _, name := range dnsName.FindAllString(failure, -1) {
		if len(names) < most && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}
