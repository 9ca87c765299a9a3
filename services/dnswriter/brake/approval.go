package brake

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// lifetime is how long an approval stands. Nobody remembers for longer what he
// looked at.
const lifetime = 24 * time.Hour

// approval is what a person has let go, and how far it has come. All of it needs
// Brake.mu.
type approval struct {
	hash string
	at   time.Time // with the hash, tells it from any other
	// taken is when it was taken in, by whatever process; before that was stored,
	// nothing of it may go.
	taken time.Time
	// names may go. Those who are wanted again, or are gone, are taken out.
	names map[string]bool
	// done are the names that went, and when.
	done map[string]time.Time
	// lost is for names of which nobody knows whether they went, because the
	// process ended: they count, from the time when that was found.
	lost   int
	lostAt time.Time
	// dirty is since when the store does not know something of it; urgent says that
	// it must not wait: a name is not covered any more.
	dirty                time.Time
	urgent               bool
	poked, pokedUrgently bool // Run knows of these
}

// drop ends the approval of a name.
func (a *approval) drop(name string) {
	if !a.names[name] {
		return
	}
	delete(a.names, name)
	if _, done := a.done[name]; !done {
		a.urgent = true
	}
	a.soil()
}

func (a *approval) soil() {
	if a.dirty.IsZero() {
		a.dirty = time.Now()
	}
}

// used is how many of its names went in the last hour or may go now.
func (a *approval) used(s *side, now time.Time) int {
	n := 0
	for name, at := range a.done {
		if at.After(now) {
			a.done[name] = now // the clock was set back
		}
		if now.Sub(at) >= window {
			delete(a.done, name)
			a.soil()
			continue
		}
		if _, twice := s.recent[name]; !twice {
			n++
		}
	}
	if !a.taken.IsZero() {
		for name := range a.names {
			if !s.went(name, now) {
				n++
			}
		}
	}
	a.lostAt = earlier(a.lostAt, now)
	if a.lost > 0 && now.Sub(a.lostAt) >= window {
		a.lost = 0
		a.soil()
	}
	return n + a.lost
}

// over tells whether nobody needs the approval any more.
func (a *approval) over(now time.Time) bool {
	return len(a.names)+len(a.done)+a.lost == 0 || !now.Before(a.ends().Add(window))
}

// ends is when it covers nothing any more. The clock of who approved may be ahead.
func (a *approval) ends() time.Time {
	if !a.taken.IsZero() && a.taken.Before(a.at) {
		return a.taken.Add(lifetime)
	}
	return a.at.Add(lifetime)
}

// settle drops what approvals name and nobody wants, now that everybody was
// asked: it was wanted again while no process looked, or went in a process that
// ended before it said so.
func (s *side) settle(now time.Time) {
	for _, a := range s.approvals {
		for name := range a.names {
			if _, ok := s.names[name]; ok {
				continue
			}
			if _, done := a.done[name]; !done && !a.taken.IsZero() {
				a.lost++
				a.lostAt = now
			}
			a.drop(name)
		}
	}
}

// Withheld returns the lists that stand in the store, of all targets: those of the
// last judgement of each, also of a process that has ended since. With an error it
// returns those that can be read.
func Withheld(ctx context.Context, store Store) ([]List, error) {
	keys, err := store.Keys(ctx, withheldWord)
	if err != nil {
		return nil, fmt.Errorf("look for what is withheld: %w", err)
	}
	var lists []List
	var errs []error
	for _, key := range keys {
		var doc withheldDoc
		if _, err := get(ctx, store, key, &doc); err != nil {
			errs = append(errs, fmt.Errorf("read what is withheld: %w", err))
		}
		for _, l := range doc.lists() {
			l.key = strings.TrimPrefix(key, withheldKey(""))
			lists = append(lists, l)
		}
	}
	return lists, errors.Join(errs...)
}

// Approve lets the names of one list go, by its hash, and returns the list. The
// approval stands in the store: a brake that runs takes it in at once, another
// one when it starts, for 24 hours. A hash that is not withheld now is refused.
func Approve(ctx context.Context, store Store, hash string) (List, error) {
	lists, err := Withheld(ctx, store)
	hash = strings.ToLower(strings.TrimSpace(hash))
	i := slices.IndexFunc(lists, func(l List) bool { return l.Hash == hash })
	switch {
	case i >= 0: // whatever is the matter with others
		return lists[i], addApproval(ctx, store, lists[i])
	case err != nil:
		return List{}, err
	}
	return List{}, outdated(hash, lists)
}

// outdated says which lists there are instead.
func outdated(hash string, lists []List) error {
	if len(lists) == 0 {
		return fmt.Errorf("%w: %q: nothing is withheld now", ErrOutdated, hash)
	}
	var now []string
	for _, l := range lists {
		now = append(now, fmt.Sprintf("%s (%s, names: %d; %s)", l.Hash, l.Kind, l.Names, l.Where()))
	}
	return fmt.Errorf("%w: %q; withheld now: %s. Look at `keastream-dnswriter plan` before you approve another one", ErrOutdated, hash, strings.Join(now, ", "))
}
