package outbox

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// Versions of Kea's schema that this program knows: Kea 2.2 to 3.2.
const (
	minKeaSchema = 13
	maxKeaSchema = 34
)

// Severity says how bad a finding is.
type Severity string

const (
	// Warning is for what works and will not always, or is not as it should be.
	Warning Severity = "warning"
	// Problem is for what keeps changes from being published, or lets others in.
	Problem Severity = "error"
)

// Finding is one thing that is not as it should be.
type Finding struct {
	// Key names the kind of the finding. It stays the same from version to
	// version, for whoever filters by it. There may be several with one key.
	Key string `json:"key"`
	// Severity is Warning or Problem.
	Severity Severity `json:"severity"`
	// Text says what was found, with names and values.
	Text string `json:"text"`
	// Remedy says what to do, with the command if there is one.
	Remedy string `json:"remedy"`
}

// Checkup is what Check saw in a database.
type Checkup struct {
	// Database is its name, Server the version of PostgreSQL.
	Database string `json:"database"`
	Server   string `json:"server"`
	// KeaSchema is the version of Kea's schema, such as "13.0", or "" if it could not be read.
	KeaSchema string `json:"kea_schema,omitzero"`
	// Version is that of the installation, 0 if there is none.
	Version int `json:"version"`
	// Publisher is the application_name and process id of the active publisher.
	Publisher string `json:"publisher,omitzero"`
	// Marks is the number of changes that wait to be published, OldestMark the
	// time of the first of them.
	Marks      int64     `json:"marks"`
	OldestMark time.Time `json:"oldest_mark,omitzero"`
	// Findings are in the order in which they are best dealt with.
	Findings []Finding `json:"findings"`
}

// CheckOptions are for Check. The zero value works.
type CheckOptions struct {
	// Patience is how long a mark may lie and a transaction that writes may last
	// before that is a finding. 0 means a minute.
	Patience time.Duration
	// QueueUsage is the part of the NOTIFY queue that may be full before that is a
	// finding. 0 means a tenth; the triggers stop to notify at a half.
	QueueUsage float64
	// Examples is how many host_ids a finding about rows names. 0 means 10.
	Examples int
}

// Check looks whether everything is as the publisher needs it, as far as the
// role of the connection may see: best the one that the publisher logs in as. It
// only reads, in one snapshot. What makes further looking pointless, such as no
// installation or missing rights, is the last finding.
//
// conn may lead to a standby, which is a finding. An error means that Check
// could not look.
func Check(ctx context.Context, conn *pgx.Conn, o CheckOptions) (Checkup, error) {
	o.Patience, o.QueueUsage, o.Examples = cmp.Or(o.Patience, time.Minute), cmp.Or(o.QueueUsage, 0.1), cmp.Or(o.Examples, 10)
	c := checker{o: o, Checkup: Checkup{Database: conn.Config().Database, Findings: []Finding{}}}
	options := pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}
	err := pgx.BeginTxFunc(ctx, conn, options, func(tx pgx.Tx) error {
		c.tx = tx
		if _, err := tx.Exec(ctx, `SET LOCAL search_path = pg_catalog, pg_temp; SET LOCAL lock_timeout = '2s'; SET LOCAL row_security = off`); err != nil {
			return err
		}
		err := c.look(ctx)
		if errors.Is(err, errEnough) {
			return nil
		}
		return err
	})
	if err != nil {
		return Checkup{}, fmt.Errorf("look at database %q: %w", c.Database, err)
	}
	return c.Checkup, nil
}

// errEnough ends a Check after a finding that hides the rest.
var errEnough = errors.New("nothing more to see")

// checker gathers the findings of one Check.
type checker struct {
	o  CheckOptions
	tx pgx.Tx
	Checkup

	user     string // the role of the session
	encoding string // of the database
	hasHosts bool   // rows can be read by snapshot
}

func (c *checker) look(ctx context.Context) error {
	for _, step := range []struct {
		what string
		look func(context.Context) error
	}{
		{"the server", c.server},
		{"Kea's schema", c.kea},
		{"the NOTIFY queue", c.queue},
		{"the installation", c.installation},
		{"the triggers", c.triggers},
		{"triggers of the replaced system", c.replaced},
		{"time-outs", c.timeouts},
		{"owners and rights", c.ownership},
		{"the publisher", c.publisher},
		{"the marks", c.marks},
		{"open transactions", c.transactions},
		{"the snapshot function", c.snapshot},
		{"the rows", c.rows},
	} {
		if err := step.look(ctx); err != nil {
			return fmt.Errorf("%s: %w", step.what, err)
		}
	}
	return nil
}

func (c *checker) find(key string, severity Severity, remedy, format string, args ...any) {
	c.Findings = append(c.Findings, Finding{Key: key, Severity: severity, Text: fmt.Sprintf(format, args...), Remedy: remedy})
}

// texts gives the only column of a result.
func (c *checker) texts(ctx context.Context, sql string, args ...any) ([]string, error) {
	rows, err := c.tx.Query(ctx, sql, args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}

func (c *checker) server(ctx context.Context) error {
	var number int
	var standby, readOnly bool
	err := c.tx.QueryRow(ctx, `SELECT current_setting('server_version_num')::int, current_setting('server_version'), pg_is_in_recovery(),
			current_setting('default_transaction_read_only')::boolean, getdatabaseencoding(), current_user::text`).
		Scan(&number, &c.Server, &standby, &readOnly, &c.encoding, &c.user)
	if err != nil {
		return err
	}
	c.Findings = append(c.Findings, judgeServer(number, c.Server, standby)...)
	if len(c.Findings) > 0 {
		return errEnough
	}
	if readOnly {
		c.find("read_only", Problem, "ALTER ROLE or ALTER DATABASE … RESET default_transaction_read_only, or take it out of postgresql.conf",
			"sessions of role %s are read-only, and the publisher has to delete marks", c.user)
	}
	return nil
}

// judgeServer says what to think of a server; number is server_version_num.
func judgeServer(number int, version string, standby bool) []Finding {
	switch {
	case number < minServer:
		return []Finding{{"server_version", Problem, fmt.Sprintf("PostgreSQL %s is too old, keastream needs 13 or newer", version), "upgrade PostgreSQL"}}
	case standby:
		return []Finding{{"standby", Problem, "this server is a standby: nothing can be published from it",
			"give the address of the primary, or several addresses in --db-url"}}
	}
	return nil
}

func (c *checker) kea(ctx context.Context) error {
	absent, err := c.texts(ctx, `
		SELECT w.name FROM unnest(ARRAY['hosts', 'ipv6_reservations', 'schema_version']) w(name)
		 WHERE NOT EXISTS (SELECT FROM pg_class WHERE relnamespace = to_regnamespace('public') AND relname = w.name AND relkind = 'r')`)
	if err != nil {
		return err
	}
	if len(absent) > 0 {
		c.find("kea_tables", Problem, "give the database that Kea keeps its reservations in (--db-name); kea-admin db-init makes its tables",
			"the database is not that of Kea, it lacks %s", strings.Join(absent, ", "))
		return errEnough
	}
	// The publisher's role may not read Kea's table, but may ask our function.
	for _, source := range []struct{ may, read string }{
		{`SELECT has_function_privilege(p.oid, 'EXECUTE') AND has_schema_privilege(n.oid, 'USAGE')
		    FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
		   WHERE n.nspname = 'keastream' AND p.proname = 'position' AND pg_get_userbyid(p.proowner) = 'keastream_owner'`,
			`SELECT coalesce(kea_schema, '') FROM keastream.position()`},
		{`SELECT has_table_privilege(c.oid, 'SELECT') AND has_schema_privilege(n.oid, 'USAGE')
		    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
		   WHERE n.nspname = 'public' AND c.relname = 'schema_version'`,
			`SELECT coalesce((SELECT version || '.' || minor FROM public.schema_version LIMIT 1), '')`},
	} {
		var may bool
		if err := c.tx.QueryRow(ctx, source.may).Scan(&may); err != nil && !errors.Is(err, pgx.ErrNoRows) {
			return err
		}
		if !may {
			continue
		}
		refused, err := c.attempt(ctx, func(tx pgx.Tx) error { return tx.QueryRow(ctx, source.read).Scan(&c.KeaSchema) })
		if err != nil {
			return err
		}
		if refused == nil {
			c.Findings = append(c.Findings, judgeKeaSchema(c.KeaSchema)...)
			return nil
		}
	}
	return nil // missing rights are a finding of their own
}

// judgeKeaSchema says what to think of a version such as "13.0"; "" is unknown.
func judgeKeaSchema(version string) []Finding {
	number, _, _ := strings.Cut(version, ".")
	major, err := strconv.Atoi(number)
	f := Finding{Key: "kea_schema", Severity: Warning}
	switch {
	case err != nil:
		f.Text = fmt.Sprintf("Kea's table schema_version holds no version (%q)", version)
		f.Remedy = "see what `kea-admin db-version pgsql` says of this database"
	case major < minKeaSchema:
		f.Severity = Problem
		f.Text = fmt.Sprintf("Kea's schema %s is too old, this program knows %d to %d", version, minKeaSchema, maxKeaSchema)
		f.Remedy = "run `kea-admin db-upgrade pgsql` of Kea 2.2 or newer"
	case major > maxKeaSchema:
		f.Text = fmt.Sprintf("Kea's schema %s is newer than those that this program was tried with, %d to %d", version, minKeaSchema, maxKeaSchema)
		f.Remedy = "look for a newer keastream, which may know it"
	default:
		return nil
	}
	return []Finding{f}
}

// attempt runs what may be refused, without losing the transaction. refused is
// the error of the server; err is for a connection that broke.
func (c *checker) attempt(ctx context.Context, do func(pgx.Tx) error) (refused, err error) {
	savepoint, err := c.tx.Begin(ctx)
	if err != nil {
		return nil, err
	}
	refused = do(savepoint)
	if refused == nil {
		return nil, savepoint.Commit(ctx)
	}
	if err := savepoint.Rollback(ctx); err != nil {
		return nil, errors.Join(refused, err)
	}
	return refused, nil
}
