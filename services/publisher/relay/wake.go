package relay

import (
	"context"
	"encoding/json"
	"time"
)

const (
	// lookAgain is the first pause after activity. A transaction that commits
	// while another one holds the notification lock does not notify, so the
	// relay looks by itself, soon at first and then ever more rarely.
	lookAgain = 10 * time.Millisecond
	// pingEvery bounds how long a dead connection looks like a quiet one.
	pingEvery = time.Second
	// gather is how long after a notification without a mark everything is
	// compared, so that the many of one transaction cost one comparison.
	gather = 100 * time.Millisecond
	// Notifications take at most one part in restFactor+1 of the relay's time,
	// and no more than one comparison per minRest.
	minRest    = time.Second
	restFactor = 10
)

// await returns at a notification, but not later than after d or when something
// is due. active says that there was a notification.
func (l *leadership) await(ctx context.Context, d time.Duration) (active bool, err error) {
	// What arrived while a statement ran may have committed after the reading.
	for {
		payload, ok := l.session.arrived()
		if !ok {
			break
		}
		l.notified(ctx, payload)
		active = true
	}
	until := earlier(earlier(time.Now().Add(d), l.heartbeatAt), l.compareAt)
	for !active && time.Now().Before(until) && !l.disturbed() {
		l.Alive()
		select {
		case <-l.CompareNow:
			l.compareAt = time.Now()
			return true, nil
		default:
		}
		payload, ok, err := l.session.wait(ctx, min(time.Until(until), pingEvery))
		switch {
		case err != nil:
			return false, err
		case ok:
			l.notified(ctx, payload)
			active = true
		case time.Now().Before(until):
			if err := l.session.ping(ctx); err != nil {
				return false, err
			}
		}
	}
	return active, nil
}

// notified logs a notification and has everything compared soon if no mark
// belongs to it: if it is not one of ours, because the triggers may be those of
// the system that is replaced, or if this relay works without marks.
func (l *leadership) notified(ctx context.Context, payload string) {
	text := payload
	if len(text) > 512 {
		text = text[:512] + "…"
	}
	l.Log.InfoContext(ctx, "Received database notification: "+text)
	if l.session.outbox && ours(payload) {
		return
	}
	due := later(time.Now().Add(gather), l.comparedAt.Add(l.rest()))
	if due.Before(l.compareAt) {
		l.compareAt = due
		l.Log.InfoContext(ctx, "no mark belongs to the notification: comparing every reservation soon", "in", time.Until(due).Round(time.Millisecond))
	}
}

// rest returns how long after a comparison no notification leads to another one.
// Anybody who can connect can notify, so it grows with what comparing costs.
func (l *leadership) rest() time.Duration { return max(minRest, restFactor*l.comparing) }

// ours tells whether a payload has the form that the triggers of this product
// send: JSON with an operation, and a host_id or nothing else.
func ours(payload string) bool {
	var p map[string]json.RawMessage
	if json.Unmarshal([]byte(payload), &p) != nil || p["operation"] == nil {
		return false
	}
	return p["host_id"] != nil || len(p) == 1
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
