package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/keastream/keastream/services/dnswriter/reconcile"
)

const (
	// worthALine is how long a check runs until somebody may want to know how far
	// it is.
	worthALine = 2 * time.Second
	redraw     = 250 * time.Millisecond
)

// showProgress shows how far long checks are, until ctx ends.
func (all scopes) showProgress(ctx context.Context, show func(string)) error {
	defer show("")
	ticker := time.NewTicker(redraw)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			show(all.progress())
		case <-ctx.Done():
			return nil
		}
	}
}

// progress says how far long checks are, "" if there is none.
func (all scopes) progress() string {
	var parts []string
	for _, s := range all {
		if p, ok := s.Progress(); ok && p.Took > worthALine {
			parts = append(parts, s.name+": "+progressText(p))
		}
	}
	return strings.Join(parts, "; ")
}

func progressText(p reconcile.Progress) string {
	if p.All == 0 {
		return "reading the zones"
	}
	text := fmt.Sprintf("%d/%d names, %d changes, %.0f/s", p.Done, p.All, p.Changes, float64(p.Changes)/p.Took.Seconds())
	if p.Failing > 0 {
		text += fmt.Sprintf(", %d failing", p.Failing)
	}
	return text
}
