package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"github.com/keastream/keastream/pkg/events"
	"github.com/keastream/keastream/services/inventory/cabinet"
	"github.com/keastream/keastream/services/inventory/files"
)

// keeper makes the files of a directory equal to a view.
type keeper struct {
	// These are set by whoever makes it and not changed any more. The goroutine
	// that fills the view uses them too.

	directory string
	mode      fs.FileMode // of files; 0 means 0640
	layout    cabinet.Layout
	patterns  cabinet.Patterns
	// sources must be complete, besides those that a file names, before anything
	// is removed from it.
	sources  []string
	view     *events.View
	absences *absences
	metrics  *metrics
	log      *slog.Logger
	alive    func()

	// These belong to the goroutine that calls round.
	wanted    map[string]cabinet.Cabinet // by file, of the last round
	heard     map[string]bool            // sources of which the last round saw everything
	unplaced  []cabinet.Unplaced         // of the last round
	status    map[string]status          // by file: what is there or should be
	digests   map[string][32]byte        // by file: what we wrote or found in order
	cleaned   bool                       // the leftovers of a crash are gone
	directErr string                     // what is wrong with the directory, as last logged

	last atomic.Pointer[report] // nil before the first round
}

// status is how a file stands after it was looked at.
type status struct {
	state    state
	hosts    int    // lines in the file
	withheld int    // lines that only wait for the proof that they are gone
	reason   string // of foreign and failed
	wanted   bool   // reservations ask for the file
}

// state is the value of a metric's label.
type state string

const (
	current  state = "current"  // equal to the reservations
	withheld state = "withheld" // it holds lines, or is there, only for want of proof
	foreign  state = "foreign"  // not ours, and so not touched
	failed   state = "failed"   // it could not be read or written
	absent   state = ""         // it is not there and need not be
)

// report sums up a round. It is read by other goroutines and never changed.
type report struct {
	files    map[state]int
	hosts    int
	withheld int      // lines
	blocked  []string // names of wanted files in whose place is one that is not ours
	failures []string // file: reason
	err      error    // the directory cannot be used: the rest is as it was before
}

// round looks at the files that todo names and at those of every cabinet that
// changed since the round before. It returns what has to be tried again.
func (k *keeper) round(ctx context.Context, todo work) (again work) {
	k.absences.begin()
	before := k.view.Sources()
	grouping := k.patterns.Group(k.view.Reservations())
	k.heard = complete(before, k.view.Sources())
	k.noteUnplaced(ctx, grouping.Unplaced)

	dir, names, err := k.open(ctx, todo, grouping.Cabinets)
	if err != nil {
		k.publish(err)
		k.noteDirectory(ctx, err)
		return work{all: true}
	}
	defer dir.Close()
	k.noteDirectory(ctx, nil)
	k.wanted = grouping.Cabinets

	again = work{files: make(map[string]bool)}
	for _, name := range names {
		if ctx.Err() != nil {
			break // the next start finds what is left to do
		}
		k.alive()
		now := k.file(ctx, dir, name, k.wanted[name])
		k.note(ctx, name, now)
		if now.state == failed || now.state == foreign && now.wanted {
			again.files[name] = true
		}
	}
	if r := k.publish(nil); todo.all {
		k.noteWithheld(ctx, r)
	}
	k.log.DebugContext(ctx, "looked at inventory files", "files", len(names), "all", todo.all)
	return again
}

// complete returns the sources that were complete before the view was read and
// are it after that: what was read has all of their reservations.
func complete(before, after []events.SourceState) map[string]bool {
	names := make(map[string]bool)
	for _, s := range before {
		if s.Complete && slices.ContainsFunc(after, func(now events.SourceState) bool { return now.Source == s.Source && now.Complete }) {
			names[s.Source] = true
		}
	}
	return names
}

// open opens the directory and lists the files to look at.
func (k *keeper) open(ctx context.Context, todo work, wanted map[string]cabinet.Cabinet) (*files.Directory, []string, error) {
	dir, err := files.Open(k.directory, files.Config{
		Mode: k.mode,
		Ours: func(data []byte) error { _, err := cabinet.Parse(data); return err },
		Same: cabinet.Same,
	})
	if err != nil {
		return nil, nil, err
	}
	names := make(map[string]bool)
	maps.Copy(names, todo.files)
	for name, c := range wanted {
		if before, ok := k.wanted[name]; todo.all || !ok || !before.Equal(c) {
			names[name] = true
		}
	}
	for name := range k.wanted {
		if _, ok := wanted[name]; !ok {
			names[name] = true
		}
	}
	err = dir.Writable()
	if err == nil && todo.all {
		var there []string
		there, err = dir.Names()
		for _, name := range there {
			names[name] = true
		}
		for name := range k.status {
			names[name] = true
		}
	}
	if err == nil && !k.cleaned {
		err = k.clean(ctx, dir)
	}
	if err != nil {
		return nil, nil, errors.Join(err, dir.Close())
	}
	return dir, slices.Sorted(maps.Keys(names)), nil
}

// clean removes what a crash left in the middle of a write.
func (k *keeper) clean(ctx context.Context, dir *files.Directory) error {
	removed, err := dir.RemoveLeftovers()
	if len(removed) > 0 {
		k.log.WarnContext(ctx, "removed hidden files that a crash left behind", "files", removed)
	}
	k.cleaned = err == nil
	return err
}

// file makes one file equal to what is wanted in it, as far as that is allowed,
// and tells how it stands.
func (k *keeper) file(ctx context.Context, dir *files.Directory, name string, want cabinet.Cabinet) status {
	data, err := dir.Read(name)
	exists := !errors.Is(err, fs.ErrNotExist)
	if err != nil && exists {
		return refused(err, want)
	}
	if !exists && len(want.Targets) == 0 {
		k.absences.forget(name)
		delete(k.digests, name)
		return status{}
	}
	if exists && len(want.Targets) > 0 {
		rendered, err := k.layout.Render(want, time.Now())
		if err == nil && cabinet.Same(data, rendered) {
			k.absences.forget(name)
			k.digests[name] = cabinet.Digest(data)
			return status{state: current, hosts: len(want.Targets), wanted: true}
		}
	}
	var have cabinet.Content
	if exists {
		if have, err = cabinet.Parse(data); err != nil {
			return refused(fmt.Errorf("%w: %w", files.ErrForeign, err), want)
		}
		// A source that asks for nothing here may only be missing from the stream.
		// The file has to go on telling that its word is needed.
		want = want.With(nil, slices.DeleteFunc(slices.Clone(have.Sources), func(s string) bool { return k.heard[s] }))
		want = want.WithSources(have.Targets, func(s string) bool { return !k.heard[s] })
	}
	return k.settle(ctx, dir, name, k.compare(name, want, have, exists), data)
}

func refused(err error, want cabinet.Cabinet) status {
	s := status{state: failed, reason: err.Error(), wanted: len(want.Targets) > 0}
	if errors.Is(err, files.ErrForeign) {
		s.state = foreign
	}
	return s
}

// verdict is what shall become of a file.
type verdict struct {
	want      cabinet.Cabinet
	have      cabinet.Content
	witnesses []string         // by whose word a line may go
	fresh     []cabinet.Target // new lines
	removed   []cabinet.Target // old lines that were replaced or are proven to be gone
	kept      []cabinet.Target // old lines that nobody asks for, without a proof
	keptIP6   []cabinet.Target // stand-ins of IPv6 addresses in the same case
}

// compare compares what is wanted in a file with what is there. A new line
// replaces an old one at once, but only if all witnesses are complete: while a
// stream is filled again the old line may belong to somebody who has not come
// back yet.
func (k *keeper) compare(name string, want cabinet.Cabinet, have cabinet.Content, exists bool) verdict {
	v := verdict{want: want, have: have, witnesses: k.witnesses(have.Sources)}
	v.fresh = cabinet.Without(want.Targets, have.Targets)
	stale := cabinet.Without(have.Targets, want.Targets)
	unreplaced := stale
	if !slices.ContainsFunc(v.witnesses, func(s string) bool { return !k.heard[s] }) {
		unreplaced = cabinet.Unreplaced(stale, v.fresh)
	}
	v.removed = cabinet.Without(stale, unreplaced)
	if exists && len(want.Targets)+len(have.Targets) == 0 {
		// An empty file that nobody asks for needs a proof like a line: the zero
		// one stands for it.
		unreplaced = []cabinet.Target{{}}
	}
	kept, gone := k.absences.judge(name, append(unreplaced, cabinet.LostIP6(want.Targets, have.Targets)...), v.witnesses)
	for _, t := range kept {
		if t.IP.Is6() {
			v.keptIP6 = append(v.keptIP6, t)
		} else {
			v.kept = append(v.kept, t)
		}
	}
	v.want, v.removed = want.WithIP6(v.keptIP6), append(v.removed, gone...)
	return v
}

// witnesses returns the sources that must be complete before a line of a file
// counts as gone. A file of the replaced system names none: then it takes all
// that there are.
func (k *keeper) witnesses(named []string) []string {
	all := slices.Concat(named, k.sources)
	if len(named) == 0 {
		for _, s := range k.view.Sources() {
			all = append(all, s.Source)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// settle carries out a verdict. A crash in it leaves the old file or the new
// one; the next round finds what is left to do.
func (k *keeper) settle(ctx context.Context, dir *files.Directory, name string, v verdict, data []byte) status {
	wanted := len(v.want.Targets) > 0
	switch {
	case !wanted && len(v.kept) > 0:
		// While one line may still be wanted the whole file stays as it is.
		k.digests[name] = cabinet.Digest(data)
		return status{state: withheld, hosts: len(v.have.Targets), withheld: len(v.have.Targets)}
	case !wanted:
		if err := dir.Remove(name); err != nil {
			k.metrics.write(err)
			return refused(err, v.want)
		}
		k.metrics.removed.Inc()
		k.logChange(ctx, "removed inventory file", name, v, data)
		k.absences.forget(name)
		delete(k.digests, name)
		return status{}
	}

	next := v.want
	if len(v.kept) > 0 {
		// After a restart the file has to tell by whose word these lines may go.
		next = next.With(v.kept, v.witnesses)
	}
	rendered, err := k.layout.Render(next, time.Now())
	if err != nil {
		return refused(err, v.want)
	}
	changed, err := dir.Write(name, rendered)
	if changed || err != nil {
		k.metrics.write(err)
	}
	if err != nil {
		return refused(err, v.want)
	}
	if changed {
		k.logChange(ctx, "wrote inventory file", name, v, data)
	}
	k.absences.settle(name, v.removed)
	k.digests[name] = cabinet.Digest(rendered)
	s := status{state: current, hosts: len(next.Targets), withheld: len(v.kept) + len(v.keptIP6), wanted: true}
	if s.withheld > 0 {
		s.state = withheld
	}
	return s
}
