package relay

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/keastream/keastream/services/publisher/outbox"
)

// quick bounds every statement that touches few rows.
const quick = 5 * time.Second

// dialTimeout bounds the way to a session, with all hosts that are tried.
const dialTimeout = 30 * time.Second

// session is the one connection to PostgreSQL that does everything: it listens,
// holds the lock, reads and deletes. So the lock ends with the connection that
// does the work.
type session struct {
	conn   *pgx.Conn
	name   string // application_name, of this process alone
	outbox bool   // the outbox is there and is what this session works with
	log    *slog.Logger
}

// settings of the session. They make the server notice within seconds that this
// end is gone: until then it keeps the lock. A lost deletion of a mark does no
// harm, so nothing waits for the disk.
var settings = [][2]string{
	{"idle_session_timeout", "12s"}, // PostgreSQL 14
	{"idle_in_transaction_session_timeout", "12s"},
	{"tcp_keepalives_idle", "3"},
	{"tcp_keepalives_interval", "1"},
	{"tcp_keepalives_count", "3"},
	{"tcp_user_timeout", "6s"},
	{"statement_timeout", "5min"},
	{"lock_timeout", "10s"}, // somebody who alters Kea's tables is waited for outside of a statement
	{"synchronous_commit", "off"},
	// A policy that hides rows must fail the reading: hidden ones would count as
	// deleted.
	{"row_security", "off"},
	// For the reading without the outbox what its functions have for themselves:
	// nobody's functions but PostgreSQL's, and no compiling of a query that runs
	// for less long than that takes.
	{"search_path", "pg_catalog, pg_temp"},
	{"jit", "off"},
}

// open connects, listens and looks for the outbox.
func (r *Relay) open(ctx context.Context) (*session, error) {
	dial, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	conn, err := r.Connect(dial, r.instance)
	if err != nil {
		return nil, fmt.Errorf("connect to PostgreSQL: %w", err)
	}
	s := &session{conn: conn, name: r.instance, log: r.Log}
	if s.outbox, err = r.hasOutbox(dial, conn); err != nil {
		s.close()
		return nil, err
	}
	if err := s.prepare(dial, r.channel()); err != nil {
		s.close()
		return nil, err
	}
	r.Log.InfoContext(ctx, fmt.Sprintf("Listening for database lease events on channel '%s'", r.channel()))
	return s, nil
}

func (s *session) prepare(ctx context.Context, channel string) error {
	for _, setting := range settings {
		// By statement and not at start-up, which a connection pooler may refuse,
		// and only what this version of PostgreSQL knows.
		_, err := s.conn.Exec(ctx, `SELECT set_config(name, $2, false) FROM pg_settings WHERE name = $1`, setting[0], setting[1])
		if err != nil {
			return fmt.Errorf("set %s of the session: %w", setting[0], err)
		}
	}
	// Before anything is read: what commits after the reading, wakes.
	if _, err := s.conn.Exec(ctx, "LISTEN "+pgx.Identifier{channel}.Sanitize()); err != nil {
		return fmt.Errorf("listen on channel %s: %w", channel, err)
	}
	return nil
}

func (s *session) close() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = s.conn.Close(ctx) // the connection is given up, whatever it says
}

// tryLock takes the lock if it is free. If the holder is a dead connection of
// this very process, it is ended, so that a network fault costs seconds and not
// the server's time-outs.
func (s *session) tryLock(ctx context.Context) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, quick)
	defer cancel()
	var mine bool
	if err := s.conn.QueryRow(ctx, `SELECT pg_try_advisory_lock($1)`, outbox.PublisherLock).Scan(&mine); err != nil {
		return false, fmt.Errorf("take the advisory lock: %w", err)
	}
	if mine {
		return true, nil
	}
	tag, err := s.conn.Exec(ctx, `SELECT pg_terminate_backend(pid) FROM (`+holders+`) h
		WHERE application_name = $2 AND pid <> pg_backend_pid()`, outbox.PublisherLock, s.name)
	if err != nil {
		return false, fmt.Errorf("look for a dead connection of this process: %w", err)
	}
	if tag.RowsAffected() > 0 {
		s.log.WarnContext(ctx, "ended a dead connection of this process that held the lock")
	}
	return false, nil
}

// holders selects the sessions that hold the lock $1.
const holders = `
	SELECT a.pid, a.application_name
	  FROM pg_locks l JOIN pg_stat_activity a USING (pid)
	 WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
	   AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
	   AND (l.classid::bigint << 32 | l.objid::bigint) = $1`

// lockHolder returns the application_name and process id of the session that
// holds the lock, or "" if nobody does any more.
func (s *session) lockHolder(ctx context.Context) (holder string, err error) {
	ctx, cancel := context.WithTimeout(ctx, quick)
	defer cancel()
	err = s.conn.QueryRow(ctx, `SELECT coalesce(max(application_name || ' (pid ' || pid || ')'), '') FROM (`+holders+`) h`, outbox.PublisherLock).
		Scan(&holder)
	if err != nil {
		return "", fmt.Errorf("look who holds the lock: %w", err)
	}
	return holder, nil
}

// wait returns the payload of the next notification, or ok = false when there
// was none for d. The connection stays usable then.
func (s *session) wait(ctx context.Context, d time.Duration) (payload string, ok bool, err error) {
	waiting, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	n, err := s.conn.WaitForNotification(waiting)
	switch {
	case err == nil:
		return n.Payload, true, nil
	case ctx.Err() != nil:
		return "", false, ctx.Err()
	case errors.Is(err, context.DeadlineExceeded) && !s.conn.IsClosed():
		return "", false, nil
	}
	return "", false, fmt.Errorf("wait for a notification: %w", err)
}

// arrived returns a notification that was received with the answer to a
// statement, without waiting for one.
func (s *session) arrived() (payload string, ok bool) {
	over, cancel := context.WithCancel(context.Background())
	cancel()
	n, err := s.conn.WaitForNotification(over)
	if err != nil {
		return "", false
	}
	return n.Payload, true
}

// notifyQueue returns which part of the queue of NOTIFY is full, 0 to 1.
func (s *session) notifyQueue(ctx context.Context) (usage float64, err error) {
	ctx, cancel := context.WithTimeout(ctx, quick)
	defer cancel()
	if err := s.conn.QueryRow(ctx, `SELECT pg_notification_queue_usage()`).Scan(&usage); err != nil {
		return 0, fmt.Errorf("look at the NOTIFY queue: %w", err)
	}
	return usage, nil
}

// ping finds out whether the server is still there.
func (s *session) ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	if err := s.conn.Ping(ctx); err != nil {
		return fmt.Errorf("ping PostgreSQL: %w", err)
	}
	return nil
}
