package pgtest_test

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/keastream/keastream/internal/pgtest"
)

// shape is what a writer of the reservations' tables meets there: columns,
// constraints, indexes, and the tables that refer to them.
func shape(t *testing.T, conn *pgx.Conn) []string {
	t.Helper()
	return query[[]string](t, conn, `
		WITH t(oid) AS (VALUES ('hosts'::regclass), ('ipv6_reservations'), ('host_identifier_type'))
		SELECT array_agg(line ORDER BY line COLLATE "C") FROM (
			SELECT concat_ws(' ', t.oid, attname, format_type(atttypid, atttypmod), CASE WHEN attnotnull THEN 'NOT NULL' END, pg_get_expr(adbin, adrelid)) AS line
			  FROM t JOIN pg_attribute ON attrelid = t.oid AND attnum > 0 AND NOT attisdropped
			       LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
			UNION ALL SELECT conrelid::regclass || ' ' || pg_get_constraintdef(c.oid) FROM t JOIN pg_constraint c ON t.oid IN (conrelid, confrelid)
			UNION ALL SELECT pg_get_indexdef(indexrelid) FROM t JOIN pg_index ON indrelid = t.oid) lines`)
}

// TestLaterSchemas compares the tables that this package writes down with those
// of Kea's own script: they differ in what Kea has changed since, and in nothing
// else.
func TestLaterSchemas(t *testing.T) {
	t.Parallel()
	const text, inet = "ipv6_reservations address character varying(39) NOT NULL", "ipv6_reservations address inet NOT NULL"
	excluded := []string{"ipv6_reservations excluded_prefix inet", "ipv6_reservations excluded_prefix_len smallint NOT NULL 0"}
	original := shape(t, connect(t, pgtest.SchemaDB(t, pgtest.Kea13)))
	for _, c := range []struct {
		schema      pgtest.Schema
		new         []string
		optionNeeds string // of whoever inserts an option
	}{
		{schema: pgtest.Kea18, new: []string{inet}},
		{schema: pgtest.Kea22, new: []string{inet}},
		{schema: pgtest.Kea29, new: append([]string{inet}, excluded...)},
		{schema: pgtest.Kea30, new: append([]string{inet}, excluded...), optionNeeds: "client_classes"},
		{schema: pgtest.Kea34, new: append([]string{inet}, excluded...), optionNeeds: "client_classes"},
	} {
		t.Run(string(c.schema), func(t *testing.T) {
			t.Parallel()
			conn := connect(t, pgtest.SchemaDB(t, c.schema))
			want := append(slices.DeleteFunc(slices.Clone(original), func(l string) bool { return l == text }), c.new...)
			slices.Sort(want)
			if d := cmp.Diff(want, shape(t, conn)); d != "" {
				t.Errorf("tables (-want +got)\n%s", d)
			}
			if got := query[string](t, conn, "SELECT version || '.' || minor FROM schema_version"); got != string(c.schema) {
				t.Errorf("the database says schema %s", got)
			}
			if got := query[string](t, conn, "SELECT pg_get_userbyid(relowner) FROM pg_class WHERE relname = 'hosts'"); got != pgtest.Kea {
				t.Errorf("hosts belongs to %s, want %s", got, pgtest.Kea)
			}
			for _, table := range []string{"dhcp4_options", "dhcp6_options"} {
				needs := query[string](t, conn, `SELECT coalesce(string_agg(attname, ' '), '') FROM pg_attribute
					WHERE attrelid = '`+table+`'::regclass AND attnum > 0 AND attnotnull AND NOT atthasdef AND attname NOT IN ('code', 'scope_id')`)
				if needs != c.optionNeeds {
					t.Errorf("%s needs %q beside what it always did, want %q", table, needs, c.optionNeeds)
				}
			}
		})
	}
}
