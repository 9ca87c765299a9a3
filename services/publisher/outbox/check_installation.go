package outbox

import (
	"context"
	"fmt"
	"regexp"
	"strings"

	"github.com/jackc/pgx/v5"
)

const installRemedy = "run `keastream-publisher install` (with the rights that it names)"

// functionNames finds what functions.sql makes.
var functionNames = regexp.MustCompile(`(?m)^CREATE OR REPLACE FUNCTION keastream\.(\w+)`)

// notInstalled looks whether the publisher can work without the outbox.
func (c *checker) notInstalled(ctx context.Context) error {
	c.find("not_installed", Warning, installRemedy,
		"there is no outbox in this database: a publisher compares all reservations each minute, and when something notifies")
	missing, err := missingOnTables(ctx, c.tx.Query)
	if err != nil {
		return err
	}
	for _, text := range missing {
		what, grant, _ := strings.Cut(text, ": ")
		c.find("table_rights", Problem, grant+", or install the outbox", "%s", what)
	}
	return errEnough
}

// installation looks whether there is one, whether it is ours, whole, of this
// version, and whether this role may use it.
func (c *checker) installation(ctx context.Context) error {
	owner, err := c.texts(ctx, `SELECT pg_get_userbyid(nspowner)::text FROM pg_namespace WHERE nspname = 'keastream'`)
	switch {
	case err != nil:
		return err
	case len(owner) == 0:
		return c.notInstalled(ctx)
	case owner[0] != "keastream_owner":
		c.find("schema_owner", Problem, "if `keastream-publisher install` made it: ALTER SCHEMA keastream OWNER TO keastream_owner; else whoever made it has to rename or drop it",
			"schema keastream belongs to role %s and not to keastream_owner, so its functions may be anybody's", owner[0])
		return errEnough
	}

	wanted := []string{"table outbox", "table installation"}
	for _, m := range functionNames.FindAllStringSubmatch(functionsSQL, -1) {
		wanted = append(wanted, "function "+m[1])
	}
	absent, err := c.texts(ctx, `
		SELECT w.name FROM unnest($1::text[]) WITH ORDINALITY w(name, n)
		 WHERE w.name NOT IN (SELECT 'table ' || relname FROM pg_class WHERE relnamespace = to_regnamespace('keastream') AND relkind = 'r'
		                      UNION ALL SELECT 'function ' || proname FROM pg_proc WHERE pronamespace = to_regnamespace('keastream'))
		 ORDER BY w.n`, wanted)
	if err != nil {
		return err
	}
	if len(absent) > 0 {
		remedy := installRemedy + " at once: without a function every change of Kea's may fail"
		if absent[0] == "table installation" || len(absent) > 1 && absent[1] == "table installation" {
			remedy = "as superuser: DROP SCHEMA keastream CASCADE, then run `keastream-publisher install`"
		}
		c.find("objects", Problem, remedy, "schema keastream lacks %s", strings.Join(absent, ", "))
		return errEnough
	}

	lacks, err := c.texts(ctx, `
		SELECT r.name FROM (
		  SELECT 'USAGE on schema keastream', has_schema_privilege('keastream', 'USAGE')
		  UNION ALL
		  SELECT p.privilege || ' on table keastream.' || p.name, has_table_privilege(t.oid, p.privilege)
		    FROM (VALUES ('outbox', 'SELECT'), ('outbox', 'DELETE'), ('installation', 'SELECT')) p(name, privilege)
		    JOIN pg_class t ON t.relname = p.name AND t.relnamespace = to_regnamespace('keastream')
		  UNION ALL
		  SELECT 'EXECUTE on function keastream.' || f.proname, has_function_privilege(f.oid, 'EXECUTE')
		    FROM pg_proc f WHERE f.pronamespace = to_regnamespace('keastream') AND f.proname IN ('position', 'snapshot')
		) r(name, has) WHERE NOT r.has`)
	if err != nil {
		return err
	}
	if len(lacks) > 0 {
		c.find("rights", Problem, fmt.Sprintf("run `keastream-publisher install --grant-to %s`, or check as the role that the publisher logs in as", c.user),
			"role %s lacks %s; the rest was not looked at", c.user, strings.Join(lacks, ", "))
		return errEnough
	}

	var channel string
	err = c.tx.QueryRow(ctx, `SELECT coalesce(max(version), 0), coalesce(max(channel), $1) FROM keastream.installation`, DefaultChannel).Scan(&c.Version, &channel)
	switch {
	case err != nil:
		return err
	case c.Version < Version:
		c.find("version", Problem, installRemedy, "the installation has version %d, and this program needs %d", c.Version, Version)
		return errEnough
	case c.Version > Version:
		c.find("version", Problem, "use the program that installed it, or a newer one",
			"the installation has version %d, and this program knows %d", c.Version, Version)
		return errEnough
	}
	_, err = c.tx.Exec(ctx, `SELECT set_config('keastream.channel', $1, true)`, channel) // for wantedSQL
	return err
}

// triggers compares those of Kea's tables with what Install makes, and looks
// for settings that keep them from firing.
func (c *checker) triggers(ctx context.Context) error {
	rows, err := c.tx.Query(ctx, `
		SELECT w.tab, w.name, coalesce(t.tgenabled::text, ''), coalesce(pg_get_triggerdef(t.oid) = w.definition, false)
		  FROM (`+wantedSQL+`) w
		  JOIN pg_class c ON c.relnamespace = to_regnamespace('public') AND c.relname = w.tab
		  LEFT JOIN pg_trigger t ON t.tgrelid = c.oid AND t.tgname = w.name
		 ORDER BY w.tab, w.name`)
	if err != nil {
		return err
	}
	var table, name, enabled string
	var same, replica bool
	_, err = pgx.ForEachRow(rows, []any{&table, &name, &enabled, &same}, func() error {
		replica = replica || enabled == "O"
		switch {
		case enabled == "":
			c.find("trigger_missing", Problem, installRemedy, "there is no trigger %s on %s: changes come with the next comparison only", name, table)
		case !same:
			c.find("trigger_changed", Problem, installRemedy, "trigger %s on %s is not the one that was installed", name, table)
		case enabled == "D":
			c.find("trigger_disabled", Problem, fmt.Sprintf("ALTER TABLE %s ENABLE TRIGGER %s, or %s", table, name, installRemedy),
				"trigger %s on %s is switched off", name, table)
		case enabled == "R":
			c.find("trigger_disabled", Problem, fmt.Sprintf("ALTER TABLE %s ENABLE TRIGGER %s, or %s", table, name, installRemedy),
				"trigger %s on %s fires for replication only, and not for Kea", name, table)
		}
		return nil
	})
	if err != nil || !replica {
		return err
	}
	where, err := c.texts(ctx, `
		SELECT format('role %s in database %s', coalesce(nullif(s.setrole, 0)::regrole::text, 'any'), coalesce(d.datname, 'any'))
		  FROM pg_db_role_setting s LEFT JOIN pg_database d ON d.oid = s.setdatabase
		 WHERE (s.setdatabase = 0 OR d.datname = current_database()) AND 'session_replication_role=replica' = ANY (s.setconfig)
		UNION ALL
		SELECT 'this session' WHERE current_setting('session_replication_role') = 'replica'`)
	if err != nil {
		return err
	}
	if len(where) > 0 {
		c.find("replication_role", Problem, "ALTER ROLE or ALTER DATABASE … RESET session_replication_role, or take it out of postgresql.conf",
			"session_replication_role is replica for %s: what is written so fires no trigger", strings.Join(where, ", "))
	}
	return nil
}

// replaced looks for what is left of the replaced system.
func (c *checker) replaced(ctx context.Context) error {
	beside, err := c.texts(ctx, `SELECT r.tgname || ' on ' || r.relname FROM (`+replacedSQL+`) r WHERE r.tgenabled <> 'D' ORDER BY 1`)
	if err != nil {
		return err
	}
	for _, trigger := range beside {
		c.find("foreign_trigger", Warning, "run `keastream-publisher install` again: it takes the trigger off and keeps it on record",
			"trigger %s of the replaced system works beside ours, and each of its notifications leads to a comparison of everything", trigger)
	}
	var lease bool
	err = c.tx.QueryRow(ctx, `
		SELECT EXISTS (SELECT FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
		                WHERE c.relnamespace = to_regnamespace('public') AND c.relname = 'lease4'
		                  AND t.tgname = 'kea_lease_notify_trigger' AND t.tgenabled <> 'D')`).Scan(&lease)
	if lease {
		c.find("foreign_trigger", Warning, "DROP TRIGGER kea_lease_notify_trigger ON lease4",
			"trigger kea_lease_notify_trigger on lease4 of the replaced system notifies of every lease, and each of its notifications leads to a comparison of everything")
	}
	return err
}

// ownership looks whether the owner and the rights of what we installed are
// still those that Install gave.
func (c *checker) ownership(ctx context.Context) error {
	const objects = `
		SELECT 'schema keastream' AS name, nspowner AS owner, coalesce(nspacl, acldefault('n', nspowner)) AS acl
		  FROM pg_namespace WHERE nspname = 'keastream'
		UNION ALL
		SELECT 'table keastream.' || relname, relowner, coalesce(relacl, acldefault('r', relowner))
		  FROM pg_class WHERE relnamespace = to_regnamespace('keastream') AND relkind NOT IN ('i', 'S')
		UNION ALL
		SELECT 'function keastream.' || proname, proowner, coalesce(proacl, acldefault('f', proowner))
		  FROM pg_proc WHERE pronamespace = to_regnamespace('keastream')`
	foreign, err := c.texts(ctx, `SELECT o.name || ' to ' || pg_get_userbyid(o.owner) FROM (`+objects+`) o
		WHERE pg_get_userbyid(o.owner) <> 'keastream_owner' ORDER BY 1`)
	if err != nil {
		return err
	}
	if len(foreign) > 0 {
		c.find("owner", Problem, "ALTER … OWNER TO keastream_owner, or drop what is not of keastream",
			"in schema keastream not all belongs to keastream_owner: %s; the rest was not looked at", strings.Join(foreign, ", "))
		return errEnough // what others own is not run with the rights of this session
	}
	// Somebody may let a role of his look at it. Nobody else is to write.
	granted, err := c.texts(ctx, `
		SELECT a.privilege_type || ' on ' || o.name || ' to ' || CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(a.grantee)::text END
		  FROM (`+objects+`) o CROSS JOIN LATERAL aclexplode(o.acl) a
		 WHERE a.grantee = 0
		    OR pg_get_userbyid(a.grantee) NOT IN ('keastream_owner', 'keastream_relay') AND a.privilege_type NOT IN ('USAGE', 'SELECT', 'EXECUTE')
		 ORDER BY 1`)
	if err != nil {
		return err
	}
	if len(granted) > 0 {
		c.find("grants", Problem, "REVOKE these rights; those of PUBLIC `keastream-publisher install` takes away too",
			"others have rights that the installation does not give: %s", strings.Join(granted, ", "))
	}
	dump, err := c.texts(ctx, `
		SELECT DISTINCT pg_get_userbyid(k.relowner)::text
		  FROM pg_class k JOIN pg_class o ON o.relnamespace = to_regnamespace('keastream') AND o.relkind IN ('r', 'S')
		 WHERE k.relnamespace = to_regnamespace('public') AND k.relname IN ('hosts', 'ipv6_reservations')
		   AND NOT (has_schema_privilege(k.relowner, 'keastream', 'USAGE')
		            AND CASE o.relkind WHEN 'S' THEN has_sequence_privilege(k.relowner, o.oid, 'SELECT') ELSE has_table_privilege(k.relowner, o.oid, 'SELECT') END)
		 ORDER BY 1`)
	if err != nil {
		return err
	}
	if len(dump) > 0 {
		c.find("dump_rights", Warning, installRemedy,
			"role %s, which owns Kea's tables, may not read schema keastream: its pg_dump fails", strings.Join(dump, ", "))
	}
	return nil
}
