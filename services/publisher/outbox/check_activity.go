package outbox

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// queue looks at the queue of NOTIFY, which all databases of a cluster share.
func (c *checker) queue(ctx context.Context) error {
	var usage float64
	if err := c.tx.QueryRow(ctx, `SELECT pg_notification_queue_usage()`).Scan(&usage); err != nil {
		return err
	}
	if usage <= c.o.QueueUsage {
		return nil
	}
	// Which sessions listen is not to be seen, but one that holds the queue up is
	// in a transaction, and probably an old one.
	oldest, err := c.texts(ctx, `
		SELECT format('%s (pid %s, database %s, %s, since %s)', application_name, pid, datname, state, xact_start::timestamptz(0))
		  FROM pg_stat_activity
		 WHERE xact_start IS NOT NULL AND datname IS NOT NULL AND pid <> pg_backend_pid()
		 ORDER BY xact_start LIMIT 3`)
	if err != nil {
		return err
	}
	seen := "none that role " + c.user + " may see"
	if len(oldest) > 0 {
		seen = strings.Join(oldest, ", ")
	}
	c.find("notify_queue", Problem, "end the session that listens and stays in a transaction: SELECT pg_terminate_backend(PID); the log of PostgreSQL names it too",
		"the NOTIFY queue is full to %.2g %%, and at 100 %% whoever notifies fails, also Kea; the oldest transactions: %s", 100*usage, seen)
	return nil
}

// publisher looks who holds the lock of the publishers.
func (c *checker) publisher(ctx context.Context) error {
	var pid int
	var name string
	err := c.tx.QueryRow(ctx, `
		SELECT a.pid, coalesce(a.application_name, '')
		  FROM pg_locks l JOIN pg_stat_activity a USING (pid)
		 WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
		   AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
		   AND (l.classid::bigint << 32 | l.objid::bigint) = $1`, PublisherLock).Scan(&pid, &name)
	switch {
	case err == pgx.ErrNoRows:
		c.find("no_publisher", Problem, "start keastream-publisher; if it runs, its log and /readyz say what it waits for", "no publisher works on this database")
		return nil
	case err != nil:
		return err
	}
	c.Publisher = fmt.Sprintf("%s (pid %d)", name, pid)
	if !strings.HasPrefix(name, PublisherName) {
		c.find("lock_holder", Problem, fmt.Sprintf("SELECT pg_terminate_backend(%d)", pid),
			"session %q (pid %d), which is no publisher, holds the lock of the publishers, so none can work", name, pid)
	}
	return nil
}

// marks looks whether they are dealt with.
func (c *checker) marks(ctx context.Context) error {
	var oldest *time.Time
	var age time.Duration
	err := c.tx.QueryRow(ctx, `SELECT count(*), min(created_at), coalesce(clock_timestamp() - min(created_at), interval '0') FROM keastream.outbox`).
		Scan(&c.Marks, &oldest, &age)
	if err != nil || oldest == nil {
		return err
	}
	c.OldestMark = oldest.UTC()
	if age > c.o.Patience {
		c.find("marks", Problem, "look at the publisher: its log, and `curl -s http://127.0.0.1:9641/readyz`, say what it waits for",
			"%d changes are not published, the oldest for %s", c.Marks, age.Round(time.Second))
	}
	return nil
}

// timeouts looks for writers whose sessions do not notify (see may_wake in
// functions.sql).
func (c *checker) timeouts(ctx context.Context) error {
	where, err := c.texts(ctx, `
		SELECT format('role %s in database %s', coalesce(nullif(s.setrole, 0)::regrole::text, 'any'), coalesce(d.datname, 'any'))
		  FROM pg_db_role_setting s LEFT JOIN pg_database d ON d.oid = s.setdatabase
		 WHERE (s.setdatabase = 0 OR d.datname = current_database())
		   AND EXISTS (SELECT FROM unnest(s.setconfig) c(text) WHERE c.text LIKE 'lock_timeout=%' AND c.text !~ '^lock_timeout=0[a-z]*$')
		   AND (s.setrole = 0 OR has_table_privilege(s.setrole, (SELECT h.oid FROM pg_class h WHERE h.relnamespace = to_regnamespace('public') AND h.relname = 'hosts'), 'INSERT, UPDATE, DELETE'))
		 ORDER BY 1`)
	if err != nil {
		return err
	}
	if len(where) > 0 {
		c.find("lock_timeout", Warning, "ALTER ROLE or ALTER DATABASE … RESET lock_timeout, if Kea does not need it",
			"lock_timeout is set for %s: changes by such sessions are published, but only when the publisher looks by itself (--poll)", strings.Join(where, ", "))
	}
	return nil
}

// transactions looks for old ones that have written to Kea's tables or the
// outbox: until they end nobody sees what they did. Of sessions of other roles
// only pg_monitor sees the age.
func (c *checker) transactions(ctx context.Context) error {
	rows, err := c.tx.Query(ctx, `
		SELECT DISTINCT coalesce(a.pid, 0), coalesce(a.application_name, ''), coalesce(a.usename, p.owner, '')::text, coalesce(p.gid, ''),
		       clock_timestamp()::timestamptz(0) - coalesce(a.xact_start, p.prepared)::timestamptz(0)
		  FROM pg_locks l
		  JOIN pg_class c ON c.oid = l.relation
		  JOIN pg_namespace n ON n.oid = c.relnamespace
		  LEFT JOIN pg_stat_activity a ON a.pid = l.pid
		  LEFT JOIN pg_locks x ON l.pid IS NULL AND x.pid IS NULL AND x.locktype = 'transactionid' AND x.virtualtransaction = l.virtualtransaction
		  LEFT JOIN pg_prepared_xacts p ON p.transaction = x.transactionid
		 WHERE l.locktype = 'relation' AND l.granted AND l.mode NOT IN ('AccessShareLock', 'RowShareLock', 'ShareUpdateExclusiveLock')
		   AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
		   AND (n.nspname, c.relname) IN (('public', 'hosts'), ('public', 'ipv6_reservations'), ('keastream', 'outbox'))
		   AND coalesce(a.xact_start, p.prepared) < clock_timestamp() - $1::interval
		 ORDER BY 5 DESC`, c.o.Patience)
	if err != nil {
		return err
	}
	var pid int
	var name, user, gid string
	var age time.Duration
	_, err = pgx.ForEachRow(rows, []any{&pid, &name, &user, &gid, &age}, func() error {
		if gid != "" {
			c.find("prepared_transaction", Problem, "COMMIT PREPARED or ROLLBACK PREPARED '"+strings.ReplaceAll(gid, "'", "''")+"', in this database",
				"transaction %q of role %s was prepared %s ago and never ended: its changes are not to be seen until it is", gid, user, age)
			return nil
		}
		c.find("long_transaction", Warning, fmt.Sprintf("let it commit, or end it: SELECT pg_terminate_backend(%d)", pid),
			"session %q (pid %d) of role %s has had its transaction open for %s: its changes are not to be seen until it commits", name, pid, user, age)
		return nil
	})
	return err
}
