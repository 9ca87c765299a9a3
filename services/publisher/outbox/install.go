package outbox

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

const (
	// Version is the version of the database objects that Install makes. It is
	// not that of the program: it grows when an installation must be run again.
	Version = 1

	// DefaultChannel is the channel of NOTIFY, the one of the replaced system.
	DefaultChannel = "kea_lease_events"

	// minServer is the first PostgreSQL with type xid8.
	minServer = 130000

	// An attempt waits half a second for a lock (triggers.sql), so all of them
	// take about half a minute.
	lockAttempts = 30
	lockPause    = 500 * time.Millisecond
)

// The first part of the script; functions.sql and triggers.sql are the others.
//
//go:embed schema.sql
var schemaSQL string

// InstallOptions are for Install and Script. The zero value works.
type InstallOptions struct {
	// GrantTo names the roles that may read and empty the outbox: the one that
	// the publisher logs in as, or one that it is a member of. They must exist.
	GrantTo []string
	// Channel is the channel of NOTIFY, an identifier. Empty means DefaultChannel.
	Channel string
}

// Report says what Install found and did.
type Report struct {
	// Version is the installed version.
	Version int `json:"version"`
	// Previous is the version that was installed before, 0 if there was none.
	Previous int `json:"previous"`
	// KeaSchema is the version of Kea's schema, such as "13.0".
	KeaSchema string `json:"kea_schema"`
	// Channel is the channel of NOTIFY.
	Channel string `json:"channel"`
	// Replaced names the triggers of others that this run took off Kea's
	// tables. Table keastream.installation keeps their definitions.
	Replaced []string `json:"replaced"`
}

// Install makes schema keastream, its roles and the triggers on Kea's tables, or
// brings them up to date, in one transaction. Run again it changes nothing.
//
// conn needs to lead to Kea's database, outside of a transaction, as a superuser
// or as a role that the error tells what it lacks. While another session keeps
// Kea's tables locked, Install tries again for about half a minute; Kea itself
// waits half a second at most.
//
// It refuses, with an error that says what to do: a server before PostgreSQL 13,
// a standby, a database without Kea's tables, a role without the rights, an
// unknown role in GrantTo, a channel that is no identifier, an installation that
// is newer than Version, and a schema keastream that it did not make.
func Install(ctx context.Context, conn *pgx.Conn, o InstallOptions) (Report, error) {
	var report Report
	if err := apply(ctx, conn, o.transaction(), &report); err != nil {
		return Report{}, fmt.Errorf("install keastream in database %q: %w", conn.Config().Database, err)
	}
	return report, nil
}

// apply runs a script that changes Kea's database, again and again while
// somebody keeps the tables locked, and reads its report.
func apply(ctx context.Context, conn *pgx.Conn, script string, report any) error {
	if conn.PgConn().TxStatus() != 'I' {
		return errors.New("the session is in a transaction")
	}
	if err := checkServer(ctx, conn); err != nil {
		return err
	}
	for attempt := 1; ; attempt++ {
		err := runScript(ctx, conn, script, report)
		if !isLocked(err) {
			return err
		}
		err = fmt.Errorf("another session holds a lock on Kea's tables, end it (pg_locks names it) and try again: %w", err)
		if attempt == lockAttempts {
			return err
		}
		select {
		case <-ctx.Done():
			return errors.Join(context.Cause(ctx), err)
		case <-time.After(lockPause):
		}
	}
}

// checkServer checks what the script cannot: an old server does not understand
// it, a standby does not begin its transaction.
func checkServer(ctx context.Context, conn *pgx.Conn) error {
	var number int
	var version string
	var standby bool
	err := conn.QueryRow(ctx, `SELECT current_setting('server_version_num')::int, current_setting('server_version'), pg_is_in_recovery()`).
		Scan(&number, &version, &standby)
	switch {
	case err != nil:
		return fmt.Errorf("ask for the server's version: %w", err)
	case number < minServer:
		return fmt.Errorf("PostgreSQL %s is too old, keastream needs 13 or newer", version)
	case standby:
		return errors.New("this server is a standby, connect to the primary")
	}
	return nil
}

// runScript leaves the session outside of a transaction, whatever happens.
func runScript(ctx context.Context, conn *pgx.Conn, script string, report any) error {
	results, err := conn.PgConn().Exec(ctx, script).ReadAll()
	if err != nil {
		err = withHint(err)
		if !conn.IsClosed() {
			_, rollback := conn.Exec(ctx, "ROLLBACK")
			err = errors.Join(err, rollback)
		}
		return err
	}
	at := slices.IndexFunc(results, func(r *pgconn.Result) bool { return len(r.Rows) == 1 })
	if at < 0 {
		return errors.New("the script gave no report")
	}
	if err := json.Unmarshal(results[at].Rows[0][0], report); err != nil {
		return fmt.Errorf("read the script's report: %w", err)
	}
	return nil
}

// withHint adds the remedy, which PgError.Error leaves out.
func withHint(err error) error {
	if refusal, ok := errors.AsType[*pgconn.PgError](err); ok && refusal.Hint != "" {
		return fmt.Errorf("%w; %s", err, refusal.Hint)
	}
	return err
}

// isLocked says whether a statement gave up waiting for a lock, or was chosen
// to end a deadlock.
func isLocked(err error) bool {
	refusal, ok := errors.AsType[*pgconn.PgError](err)
	return ok && (refusal.Code == "55P03" || refusal.Code == "40P01")
}

// Script gives what Install runs, for psql, to be read and run by whoever has
// the rights. It refuses the same things.
func Script(o InstallOptions) string {
	return `-- Installs keastream, version ` + strconv.Itoa(Version) + `, in Kea's database: psql -X -d kea -f FILE
-- as superuser, or as a role that the script tells what it lacks. It creates schema
-- keastream, the roles keastream_owner and keastream_relay, and triggers on the tables
-- hosts and ipv6_reservations. It is one transaction and may be run again at any time.
\set ON_ERROR_STOP on

` + o.transaction()
}

// transaction is the script without what only psql understands.
func (o InstallOptions) transaction() string {
	channel := o.Channel
	if channel == "" {
		channel = DefaultChannel
	}
	return strings.Join([]string{
		"BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE;",
		"SET LOCAL keastream.version = " + quote(strconv.Itoa(Version)) + ";",
		"SET LOCAL keastream.channel = " + quote(channel) + ";",
		"SET LOCAL keastream.grant_to = " + quote(jsonArray(o.GrantTo)) + ";\n",
		schemaSQL, expand(script, "functions.sql"), expand(script, "triggers.sql"),
		"COMMIT;\n",
	}, "\n")
}

// jsonArray is in ASCII, like the rest of the script: the encoding of the
// database and that of the client may be any.
func jsonArray(values []string) string {
	text, _ := json.Marshal(append([]string{}, values...)) // strings always have a JSON form
	var ascii strings.Builder
	for _, r := range string(text) {
		if r < utf8.RuneSelf {
			ascii.WriteRune(r)
			continue
		}
		for _, unit := range utf16.AppendRune(nil, r) {
			fmt.Fprintf(&ascii, `\u%04x`, unit)
		}
	}
	return ascii.String()
}

// quote makes an SQL string that means the same with and without
// standard_conforming_strings. A byte 0 would end the script.
func quote(s string) string {
	return "E'" + strings.NewReplacer(`\`, `\\`, `'`, `''`, "\x00", "\uFFFD").Replace(s) + "'"
}

// Installed tells which version is installed in the database that conn leads to;
// ok is false if there is none. It returns an error if the role of the
// connection may not know.
func Installed(ctx context.Context, conn *pgx.Conn) (version int, ok bool, err error) {
	var readable bool
	err = conn.QueryRow(ctx, `
		SELECT has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT')
		  FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
		 WHERE n.nspname = 'keastream' AND c.relname = 'installation'
		   -- and not a view of a stranger, which would run with the rights of whoever asks
		   AND c.relkind = 'r' AND pg_get_userbyid(c.relowner) = 'keastream_owner'`).Scan(&readable)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return 0, false, nil
	case err != nil:
		return 0, false, fmt.Errorf("look for keastream in the database: %w", err)
	case !readable:
		user := conn.Config().User
		return 0, false, fmt.Errorf("role %q may not use schema keastream: run the installation with --grant-to %s", user, user)
	}
	if err := conn.QueryRow(ctx, `SELECT version FROM keastream.installation`).Scan(&version); err != nil {
		return 0, false, fmt.Errorf("read the installed version: %w", err)
	}
	return version, true, nil
}
