package main

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/keastream/keastream/services/inventory/cabinet"
)

// namesShown is how many names one log line shows: who needs all of them reads
// the file.
const namesShown = 20

// logChange logs that a file was written or removed, once for each time.
func (k *keeper) logChange(ctx context.Context, what, name string, v verdict, before []byte) {
	known, seen := k.digests[name]
	switch {
	case seen && before == nil:
		k.log.WarnContext(ctx, "somebody removed an inventory file: it is restored", "file", name)
	case seen && known != cabinet.Digest(before):
		k.log.WarnContext(ctx, "somebody changed an inventory file: it is restored", "file", name)
	}
	if v.have.UnusableCount > 0 {
		k.log.WarnContext(ctx, "dropped lines that no reservation can ask for", "file", name,
			"count", v.have.UnusableCount, "lines", v.have.Unusable)
	}
	k.log.InfoContext(ctx, what, "file", name, "hosts", len(v.want.Targets)+len(v.kept),
		"added", len(v.fresh), "removed", len(v.removed), "withheld", len(v.kept),
		"added_names", describe(v.fresh), "removed_names", describe(v.removed))
}

// describe names lines for people.
func describe(ts []cabinet.Target) []string {
	var names []string
	for _, t := range ts {
		if t == (cabinet.Target{}) {
			continue // it stands for the file
		}
		if len(names) == namesShown {
			return append(names, fmt.Sprintf("… and %d more", len(ts)-namesShown))
		}
		names = append(names, t.Hostname+" "+t.IP.String())
	}
	return names
}

// note remembers how a file stands, and logs when that is bad and new.
func (k *keeper) note(ctx context.Context, name string, now status) {
	before := k.status[name]
	if now.state == absent {
		delete(k.status, name)
	} else {
		k.status[name] = now
	}
	news := before.state != now.state || before.reason != now.reason || before.wanted != now.wanted
	switch {
	case now.state == withheld && before.withheld != now.withheld:
		k.log.DebugContext(ctx, "lines wait for the proof that they are gone", "file", name, "withheld", now.withheld)
	case now.state == foreign && news && now.wanted:
		k.log.WarnContext(ctx, "a file that is not ours is in the place of an inventory file: move it away",
			"file", name, "reason", now.reason)
	case now.state == foreign && news:
		k.log.InfoContext(ctx, "a file with the name of an inventory file is not ours and stays", "file", name, "reason", now.reason)
	case now.state == failed && news:
		k.log.ErrorContext(ctx, "inventory file is not up to date, trying on", "file", name, "err", now.reason, "every", retryAfter)
	}
}

// noteDirectory logs when the directory cannot be used, and when it can again.
func (k *keeper) noteDirectory(ctx context.Context, err error) {
	text := ""
	if err != nil {
		text = err.Error()
	}
	switch {
	case text == k.directErr:
	case err != nil:
		k.log.ErrorContext(ctx, "the directory of the inventory files cannot be used, trying on", "err", err, "every", retryAfter)
	default:
		k.log.InfoContext(ctx, "the directory of the inventory files can be used again", "directory", k.directory)
	}
	k.directErr = text
}

// noteUnplaced logs the names that have become names without a place.
func (k *keeper) noteUnplaced(ctx context.Context, now []cabinet.Unplaced) {
	news := make(map[cabinet.Reason][]string)
	count := make(map[cabinet.Reason]int)
	for _, u := range now {
		count[u.Reason]++
		if _, known := slices.BinarySearchFunc(k.unplaced, u, cabinet.Unplaced.Compare); !known {
			news[u.Reason] = append(news[u.Reason], cabinet.Shorten(u.Hostname))
		}
	}
	for _, reason := range slices.Sorted(maps.Keys(news)) {
		level := slog.LevelInfo // another kind of device
		if reason == cabinet.Template || reason == cabinet.NotAHostname || reason == cabinet.FileTaken {
			level = slog.LevelWarn
		}
		names := news[reason]
		k.log.Log(ctx, level, "reserved names stand in no inventory file", "reason", reason,
			"count", len(names), "names", names[:min(len(names), namesShown)])
	}
	for _, reason := range cabinet.Reasons() {
		k.metrics.unplaced.WithLabelValues(string(reason)).Set(float64(count[reason]))
	}
	k.unplaced = now
}

// noteWithheld logs, at every look at all files, why lines stay.
func (k *keeper) noteWithheld(ctx context.Context, r *report) {
	if sources := k.absences.waiting(); r.files[withheld] > 0 && len(sources) > 0 {
		k.log.WarnContext(ctx, "removals are withheld until these sources are complete", "sources", sources,
			"files", r.files[withheld], "lines", r.withheld)
	}
}

// publish sums up how everything stands. If the directory cannot be used, err
// is why and the rest is as it was before.
func (k *keeper) publish(err error) *report {
	r := &report{files: make(map[state]int), err: err}
	for name, s := range k.status {
		r.files[s.state]++
		r.hosts += s.hosts
		r.withheld += s.withheld
		switch {
		case s.state == failed:
			r.failures = append(r.failures, fmt.Sprintf("%s: %s", name, s.reason))
		case s.state == foreign && s.wanted:
			r.blocked = append(r.blocked, name)
		}
	}
	slices.Sort(r.failures)
	slices.Sort(r.blocked)
	unreadable := 0
	for _, s := range k.view.Sources() {
		unreadable += s.Unreadable
	}
	k.metrics.unreadable.Set(float64(unreadable))
	k.metrics.show(r, time.Now())
	k.last.Store(r)
	return r
}

// failure returns why not everything is as it should be for a reason that lies
// in the directory, nil if there is none.
func (r *report) failure() error {
	switch {
	case r.err != nil:
		return r.err
	case len(r.failures) > 0:
		return fmt.Errorf("%d inventory files could not be read or written, the first is %s", len(r.failures), r.failures[0])
	}
	return nil
}

// summary is one line for people.
func (r *report) summary() string {
	return fmt.Sprintf("%d files with %d hosts, %d withheld, %d not ours, %d failed",
		r.files[current]+r.files[withheld], r.hosts, r.withheld, r.files[foreign], r.files[failed])
}
