package pgtest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
)

// Schema is a version of Kea's database schema, as its table schema_version
// says it.
type Schema string

// The schemas that Kea's releases brought, of which Kea13 is Kea's own script.
// Its later scripts are in no package of Debian 12, so those schemas are the
// reservations' tables alone, written down here by what each release has of them.
// What Kea changed there:
//
//	18  ipv6_reservations.address becomes inet, from varchar(39) that takes any text
//	25  ipv6_reservations gets excluded_prefix and excluded_prefix_len
//	26  options get client_classes
//	30  client_classes of options must not be NULL and has no default
//
// Table hosts is the same in all of them.
const (
	Kea13 Schema = "13.0" // Kea 2.2
	Kea18 Schema = "18.0" // Kea 2.4
	Kea22 Schema = "22.2" // Kea 2.6
	Kea29 Schema = "29.0" // Kea 3.0
	Kea30 Schema = "30.0" // Kea 3.1, in development
	Kea34 Schema = "34.0" // Kea 3.2 and 3.3
)

// Schemas gives all of them, the oldest first.
func Schemas() []Schema { return []Schema{Kea13, Kea18, Kea22, Kea29, Kea30, Kea34} }

// SchemaDB is DB for a schema. For one after Kea13 it cannot copy a template and
// takes a little longer.
func SchemaDB(t testing.TB, schema Schema) (dsn string) {
	t.Helper()
	return newDatabase(t, func(s *Server, name string) error { return s.CreateSchemaDatabase(t.Context(), name, schema) })
}

// CreateSchemaDatabase is CreateDatabase for a schema.
func (s *Server) CreateSchemaDatabase(ctx context.Context, name string, schema Schema) error {
	if schema == Kea13 {
		return s.CreateDatabase(ctx, name)
	}
	quoted := pgx.Identifier{name}.Sanitize()
	err := s.admin(ctx, "CREATE DATABASE "+quoted+" TEMPLATE template0 OWNER "+Kea)
	if err == nil {
		err = s.createTables(ctx, name, schema)
	}
	if err != nil {
		return fmt.Errorf("create database %s with Kea's schema %s: %w", name, schema, err)
	}
	return nil
}

// createTables makes the tables as role kea.
func (s *Server) createTables(ctx context.Context, database string, schema Schema) (err error) {
	conn, err := pgx.Connect(ctx, s.DSN(database, Kea))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close(ctx)) }()
	_, err = conn.PgConn().Exec(ctx, schema.tables()).ReadAll()
	return err
}

// major is the number before the dot.
func (s Schema) major() (n int) {
	_, _ = fmt.Sscanf(string(s), "%d.", &n) // the constants begin with one
	return n
}

// tables gives the SQL that makes the tables of a schema after Kea13.
func (s Schema) tables() string {
	var excluded, classes string
	if s.major() >= 25 {
		excluded = ",\n\texcluded_prefix inet DEFAULT NULL, excluded_prefix_len smallint NOT NULL DEFAULT 0"
	}
	switch {
	case s.major() >= 30:
		classes = ", client_classes text NOT NULL"
	case s.major() >= 26:
		classes = ", client_classes text DEFAULT NULL"
	}
	version, minor, _ := strings.Cut(string(s), ".")
	return reservationTables +
		"CREATE TABLE ipv6_reservations (\n" +
		"\treservation_id serial PRIMARY KEY, address inet NOT NULL, prefix_len smallint NOT NULL DEFAULT '128',\n" +
		"\ttype smallint NOT NULL DEFAULT '0', dhcp6_iaid int DEFAULT NULL,\n" +
		"\thost_id int NOT NULL CONSTRAINT fk_ipv6_reservations_host REFERENCES hosts ON DELETE CASCADE" + excluded + ");\n" +
		"CREATE INDEX key_dhcp6_address_prefix_len ON ipv6_reservations (address, prefix_len);\n" +
		"CREATE INDEX fk_ipv6_reservations_host_idx ON ipv6_reservations (host_id);\n" +
		optionTable(4, "smallint", "fk_options_host1", classes) +
		optionTable(6, "int", "fk_options_host10", classes) +
		fmt.Sprintf("INSERT INTO schema_version VALUES (%s, %s);\n", version, minor)
}

// optionTable gives dhcp4_options or dhcp6_options, as far as options of a host
// (scope 3) use it.
func optionTable(family int, code, key, more string) string {
	return fmt.Sprintf(`
CREATE TABLE dhcp%[1]d_options (
	option_id serial PRIMARY KEY, code %[2]s NOT NULL, value bytea, formatted_value text, space varchar(128) DEFAULT NULL,
	persistent boolean NOT NULL DEFAULT false, cancelled boolean NOT NULL DEFAULT false,
	host_id int DEFAULT NULL CONSTRAINT %[3]s REFERENCES hosts ON DELETE CASCADE,
	scope_id smallint NOT NULL, user_context text%[4]s);
CREATE INDEX %[3]s_idx ON dhcp%[1]d_options (host_id);
`, family, code, key, more)
}

// reservationTables are the same since Kea13.
const reservationTables = `
CREATE TABLE schema_version (version int PRIMARY KEY, minor int);
CREATE TABLE host_identifier_type (type smallint PRIMARY KEY, name varchar(32) DEFAULT NULL);
INSERT INTO host_identifier_type VALUES (0, 'hw-address'), (1, 'duid'), (2, 'circuit-id'), (3, 'client-id'), (4, 'flex-id');
CREATE TABLE hosts (
	host_id serial PRIMARY KEY,
	dhcp_identifier bytea NOT NULL,
	dhcp_identifier_type smallint NOT NULL CONSTRAINT fk_host_identifier_type REFERENCES host_identifier_type ON DELETE CASCADE,
	dhcp4_subnet_id bigint DEFAULT NULL, dhcp6_subnet_id bigint DEFAULT NULL,
	ipv4_address bigint DEFAULT NULL, hostname varchar(255) DEFAULT NULL,
	dhcp4_client_classes varchar(255) DEFAULT NULL, dhcp6_client_classes varchar(255) DEFAULT NULL,
	dhcp4_next_server bigint DEFAULT NULL, dhcp4_server_hostname varchar(64) DEFAULT NULL, dhcp4_boot_file_name varchar(128) DEFAULT NULL,
	user_context text, auth_key varchar(32) DEFAULT NULL);
CREATE INDEX fk_host_identifier_type ON hosts (dhcp_identifier_type);
CREATE INDEX key_dhcp_identifier ON hosts (dhcp_identifier, dhcp_identifier_type);
CREATE UNIQUE INDEX key_dhcp4_identifier_subnet_id ON hosts (dhcp_identifier, dhcp_identifier_type, dhcp4_subnet_id) WHERE dhcp4_subnet_id IS NOT NULL;
CREATE UNIQUE INDEX key_dhcp6_identifier_subnet_id ON hosts (dhcp_identifier, dhcp_identifier_type, dhcp6_subnet_id) WHERE dhcp6_subnet_id IS NOT NULL;
CREATE INDEX key_dhcp4_ipv4_address_subnet_id ON hosts (ipv4_address, dhcp4_subnet_id);
CREATE INDEX hosts_by_hostname ON hosts (lower(hostname)) WHERE hostname IS NOT NULL;
`
