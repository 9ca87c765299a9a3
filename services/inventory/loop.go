package main

import (
	"context"
	"time"
)

// pulse is how often the loop shows that it goes on.
const pulse = time.Second

// loop runs rounds when there is work.
type loop struct {
	pending *pending
	// round does the work and returns what could not be done.
	round func(context.Context, work) work
	// ended is asked between the rounds; a loop ends with the error that it
	// returns. nil: never.
	ended func() error
	alive func()
}

// Run returns nil when ctx ends, else the error of ended.
func (l loop) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		l.alive()
		if l.ended != nil {
			if err := l.ended(); err != nil {
				return err
			}
		}
		todo, wait := l.pending.take(time.Now())
		if !todo.empty() {
			l.pending.again(l.round(ctx, todo), time.Now())
		}
		select {
		case <-ctx.Done():
		case <-l.pending.wake:
		case <-time.After(min(wait, pulse)):
		}
	}
	return nil
}
