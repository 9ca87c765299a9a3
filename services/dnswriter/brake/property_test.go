package brake_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keastream/keastream/services/dnswriter/brake"
	"github.com/keastream/keastream/services/dnswriter/bucket"
	"pgregory.net/rapid"
)

// TestRandomSequences wants, judges, approves, restarts and has the store fail in
// any order, and compares with a model that knows no more than the rules:
//
//   - without approval no more names of a kind go in an hour than are allowed,
//     and none that is uncovered;
//   - an approval covers who stood in its list and was wanted ever since;
//   - in the end all goes that is within the limit.
func TestRandomSequences(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) { rapid.SyncTest(t, sequence) })
}

func sequence(t *rapid.T) {
	m := &model{
		T: t, store: newMemory(), want: make(map[subject]bool),
		went: make(map[subject]time.Time), covered: make(map[subject]time.Time),
	}
	m.limit = rapid.IntRange(0, 4).Draw(t, "limit")
	m.lab = m.start()
	t.Repeat(map[string]func(*rapid.T){
		"":          m.check,
		"want":      m.wantOne,
		"want many": m.wantMany,
		"want not":  m.wantNot,
		"time":      m.time,
		"go":        m.goOne,
		"go all":    m.goAll,
		"approve":   m.approve,
		"outdated":  m.approveOutdated,
		"restart":   m.restart,
		"fault":     m.fault,
	})
	m.end()
}

// subject is what the model counts.
type subject struct {
	kind brake.Kind
	name int
}

type model struct {
	*rapid.T
	lab   *lab
	store *memory
	limit int

	want    map[subject]bool
	covered map[subject]time.Time // since when by an approval
	went    map[subject]time.Time // when last, with or without approval
	free    []free                // what went without one
	lists   []string              // hashes seen
}

type free struct {
	subject
	at time.Time
}

const names = 8

func (m *model) start() *lab {
	l := start(m.T, m.store, func(c *brake.Config) { c.Limit = brake.Limit{Min: m.limit, Max: m.limit}; c.Log = nil })
	for _, s := range m.wanted() {
		m.tell(l, s.name)
	}
	return l
}

// wanted is in order, so that a sequence can be run again.
func (m *model) wanted() []subject {
	return slices.SortedFunc(maps.Keys(m.want), func(a, b subject) int {
		return cmp.Or(cmp.Compare(a.kind, b.kind), cmp.Compare(a.name, b.name))
	})
}

// tell tells the lanes of a name: its own, and that of its PTR record.
func (m *model) tell(l *lab, i int) {
	var forward, reverse []brake.Item
	for _, kind := range brake.Kinds() {
		if m.want[subject{kind, i}] {
			forward = append(forward, items(kind, i)...)
			reverse = append(reverse, brake.Item{Kind: kind, Name: name(i), Record: "PTR " + name(i)})
		}
	}
	l.Want(name(i), forward)
	l.Want("ptr of "+name(i), reverse)
}

func (m *model) set(s subject, wanted bool) {
	if wanted {
		m.want[s] = true
	} else {
		delete(m.want, s)
		delete(m.covered, s)
	}
	m.tell(m.lab, s.name)
}

func draw(t *rapid.T) subject {
	return subject{rapid.SampledFrom(brake.Kinds()).Draw(t, "kind"), rapid.IntRange(1, names).Draw(t, "name")}
}

func (m *model) wantOne(t *rapid.T) { m.set(draw(t), true) }

func (m *model) wantMany(t *rapid.T) {
	s := draw(t)
	for i := s.name; i <= names; i++ {
		m.set(subject{s.kind, i}, true)
	}
}

// wantNot lets time go by, so that it is known to the store before a crash.
func (m *model) wantNot(t *rapid.T) {
	m.set(draw(t), false)
	m.pass(2 * time.Second)
}

func (m *model) pass(d time.Duration) {
	pass(d)
	for s, at := range m.covered {
		if time.Since(at) >= 24*time.Hour {
			delete(m.covered, s)
		}
	}
}

func (m *model) time(t *rapid.T) {
	m.pass(rapid.SampledFrom([]time.Duration{
		time.Second, holdDown, holdDown, time.Minute, 20 * time.Minute, time.Hour, 5 * time.Hour,
	}).Draw(t, "time"))
}

// goOne counts a name and removes it, or crashes in between, or is refused by the
// server and tries again later.
func (m *model) goOne(t *rapid.T) {
	m.goNow(t, draw(t), rapid.Bool().Draw(t, "written"))
}

func (m *model) goAll(t *rapid.T) {
	for _, s := range m.wanted() {
		m.goNow(t, s, true)
	}
}

func (m *model) goNow(t *rapid.T, s subject, written bool) {
	if !m.lab.May(s.kind, name(s.name)) {
		return
	}
	if !m.want[s] {
		t.Fatalf("%v may go and is not wanted", s)
	}
	err := m.lab.Count(context.Background(), s.kind, name(s.name))
	if err != nil {
		if !errors.Is(err, errAway) && !errors.Is(err, bucket.ErrUnclear) {
			t.Fatalf("count %v: %v", s, err)
		}
		return
	}
	m.judge(t, s)
	m.went[s] = time.Now()
	if written {
		m.set(s, false)
	}
}

// judge finds whether a name may go by the rules.
func (m *model) judge(t *rapid.T, s subject) {
	at, again := m.went[s]
	if again && time.Since(at) < time.Hour+time.Minute { // an approval counts by the minute
		return
	}
	if _, ok := m.covered[s]; ok {
		return
	}
	m.free = append(m.free, free{s, time.Now()})
	m.free = slices.DeleteFunc(m.free, func(f free) bool { return time.Since(f.at) >= time.Hour })
	different := make(map[subject]bool)
	for _, f := range m.free {
		if f.kind == s.kind {
			different[f.subject] = true
		}
	}
	if s.kind == brake.Uncovered || len(different) > m.limit {
		t.Fatalf("%v goes without approval: it is one of %d within an hour, and %d are allowed", s, len(different), m.limit)
	}
}

func (m *model) approve(t *rapid.T) {
	lists, err := brake.Withheld(context.Background(), m.store)
	if err != nil || len(lists) == 0 {
		return
	}
	l := rapid.SampledFrom(lists).Draw(t, "list")
	m.lists = append(m.lists, l.Hash)
	if _, err := brake.Approve(context.Background(), m.store, l.Hash); err != nil {
		if !errors.Is(err, errAway) && !errors.Is(err, bucket.ErrUnclear) {
			t.Fatal(err)
		}
	}
	// It may have failed and happened.
	for _, item := range l.Items {
		var s subject
		if _, err := fmt.Sscanf(item.Name, "host-%03d", &s.name); err != nil {
			t.Fatal(err)
		}
		if s.kind = l.Kind; m.want[s] {
			m.covered[s] = time.Now()
		}
	}
	synctest.Wait()
}

func (m *model) approveOutdated(t *rapid.T) {
	if len(m.lists) == 0 {
		return
	}
	hash := rapid.SampledFrom(m.lists).Draw(t, "hash")
	lists, err := brake.Withheld(context.Background(), m.store)
	if err != nil || slices.ContainsFunc(lists, func(l brake.List) bool { return l.Hash == hash }) {
		return
	}
	if _, err := brake.Approve(context.Background(), m.store, hash); err == nil {
		t.Fatalf("%s was approved and is not withheld", hash)
	}
}

// restart ends the process, in peace or not, and has some names wanted again
// while none runs.
func (m *model) restart(t *rapid.T) {
	m.store.setFault(nil)
	m.pass(10 * time.Second)
	if rapid.Bool().Draw(t, "crash") {
		m.store.setFault(func(string, string) fault { return fails })
	}
	m.lab.stop()
	m.store.setFault(nil)
	for i := range rapid.IntRange(0, 3).Draw(t, "wanted again") {
		for _, kind := range brake.Kinds() {
			delete(m.want, subject{kind, i + 1})
			delete(m.covered, subject{kind, i + 1})
		}
	}
	m.lab = m.start()
	synctest.Wait()
	m.lab.Checked()
	synctest.Wait()
}

func (m *model) fault(t *rapid.T) {
	f := rapid.SampledFrom([]fault{fails, failsButHappens}).Draw(t, "fault")
	call := rapid.SampledFrom([]string{"get", "put"}).Draw(t, "call")
	key := rapid.SampledFrom([]string{"counts", "withheld"}).Draw(t, "key")
	m.store.setFault(on(call, key, rapid.IntRange(-1, 2).Draw(t, "n"), f))
}

// check looks at what always holds.
func (m *model) check(t *rapid.T) {
	for _, l := range m.lab.Lists() {
		if l.Names > names || len(l.Items) < l.Names || strings.TrimSpace(l.Hash) == "" {
			t.Fatalf("%+v", l)
		}
	}
}

// end has nothing fail and expects that all goes that is within the limit.
func (m *model) end() {
	m.store.setFault(nil)
	for i := m.limit + 1; i <= names; i++ {
		for _, kind := range brake.Kinds() {
			m.set(subject{kind, i}, false)
		}
	}
	m.pass(2*time.Hour + holdDown)
	for s := range m.want {
		if s.kind != brake.Uncovered && !m.lab.May(s.kind, name(s.name)) {
			m.Fatalf("%v does not go: %v", s, m.lab.Err())
		}
	}
	if !m.lab.Judged() {
		m.Fatal("not judged")
	}
}
