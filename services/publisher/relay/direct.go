package relay

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/keastream/keastream/pkg/events"
	"github.com/keastream/keastream/services/publisher/outbox"
)

// directPeriod is how long a change may lie unnoticed without the outbox, if
// nothing notified of it: the time between two comparisons.
const directPeriod = time.Minute

// ErrOutboxGone is why a relay refuses to publish: the stream was filled with the
// help of an outbox that this database does not have any more. Going on without
// it would make every change late, and nobody would know.
var ErrOutboxGone = errors.New("the outbox is gone")

// hasOutbox tells whether to work with the outbox. One that is there and cannot
// be used is an error.
func (r *Relay) hasOutbox(ctx context.Context, conn *pgx.Conn) (bool, error) {
	if r.WithoutOutbox {
		return false, nil
	}
	err := outbox.CheckInstalled(ctx, conn)
	if errors.Is(err, outbox.ErrNotInstalled) {
		return false, nil
	}
	return err == nil, err
}

// lookForOutbox goes over to the outbox if it was installed since this session
// began. It comes before the snapshot of a comparison. So nothing is lost in
// between: an installation waits for the writers of Kea's tables, therefore what
// was written before it has committed and is in the snapshot, and what is
// written after it leaves a mark.
func (l *leadership) lookForOutbox(ctx context.Context) (err error) {
	if l.session.outbox {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, quick)
	defer cancel()
	if l.session.outbox, err = l.hasOutbox(ctx, l.session.conn); l.session.outbox && l.complete {
		l.Log.InfoContext(ctx, "the outbox was installed: working with it from now on")
	}
	return err
}

// checkMode checks whether this relay may work without the outbox, and that it
// can. last is the last heartbeat in the stream.
func (l *leadership) checkMode(ctx context.Context, last events.Heartbeat) error {
	l.Metrics.mode(l.session.outbox)
	if l.session.outbox {
		return nil
	}
	if last.Outbox && !l.WithoutOutbox {
		return fmt.Errorf("%w: source %q was published with an outbox, and there is none in database %s; "+
			"run `keastream-publisher install` on it, or use --outbox none if it is to be done without",
			ErrOutboxGone, l.Source, l.session.conn.Config().Database)
	}
	ctx, cancel := context.WithTimeout(ctx, quick)
	defer cancel()
	if err := outbox.CheckTables(ctx, l.session.conn); err != nil {
		return fmt.Errorf("read Kea's tables without the outbox: %w", err)
	}
	if l.toldDirect {
		return nil
	}
	l.toldDirect = true
	remedy := "run `keastream-publisher install` on the database"
	if l.WithoutOutbox {
		remedy += ", and do without --outbox none"
		if err := outbox.CheckInstalled(ctx, l.session.conn); !errors.Is(err, outbox.ErrNotInstalled) {
			l.Log.WarnContext(ctx, "an outbox is installed, and --outbox none leaves its marks to pile up", "remedy", "take it out of the database, or do without --outbox none")
		}
	}
	l.Log.WarnContext(ctx, "working without the outbox: a change is found when something notifies of it, or within a minute", "remedy", remedy)
	return nil
}

// activePhase is what this relay does once it has compared.
func (l *leadership) activePhase() phase {
	if l.session.outbox {
		return phaseActive
	}
	return phaseDirect
}
