package outbox_test

import (
	"fmt"
	"slices"
	"strings"
)

func addV6(host int) string {
	return fmt.Sprintf(`INSERT INTO ipv6_reservations (address, host_id) VALUES ('2001:db8::a', %d)`, host)
}

func rename(host int) string {
	return fmt.Sprintf(`UPDATE hosts SET hostname = hostname || 'x' WHERE host_id = %d`, host)
}

const (
	readAll = `SELECT count(*) FROM hosts JOIN ipv6_reservations USING (host_id)`
	insert4 = insertHost + `VALUES ('\x04', 0, 1, 'four')`
)

// meetings are sessions in each other's way, or not.
func meetings() []scene {
	all := []scene{
		{"IPv6 rows of the same hosts in opposite order", slices.Concat(
			in('a', `BEGIN`), in('b', `BEGIN`), in('a', addV6(1)), in('b', addV6(2)), in('a', addV6(2)), in('b', addV6(1)),
			in('a', `COMMIT`), in('b', `COMMIT`)), []int{1, 1, 2, 2}},
		{"names in opposite order", slices.Concat(
			in('a', `BEGIN`, rename(1)), in('b', `BEGIN`, rename(2)), in('a', rename(2), `ROLLBACK`), in('b', rename(1), `COMMIT`)), []int{1, 2}},
		{"IPv6 rows of a host that is renamed", slices.Concat(
			in('a', `BEGIN`, rename(1)), in('b', addV6(1)), in('a', addV6(1), `COMMIT`)), []int{1, 1}},
		{"IPv6 row of a host that is deleted", slices.Concat(
			in('a', `BEGIN`, `DELETE FROM hosts WHERE host_id = 1`), in('b', addV6(1)), in('a', `COMMIT`), in('b', addV6(1))), []int{1}},
		{"deletion of a host that gets IPv6 rows", slices.Concat(
			in('a', `BEGIN`, addV6(1)), in('b', `DELETE FROM hosts WHERE host_id = 1`), in('a', `COMMIT`), in('b', `DELETE FROM hosts WHERE host_id = 1`)), []int{1, 1}},
		{"the same identifier twice", slices.Concat(
			in('a', `BEGIN`, insert4), in('b', insert4), in('a', `COMMIT`), in('b', insert4)), []int{4}},
		{"the same identifier, rolled back", slices.Concat(
			in('a', `BEGIN`, insert4), in('b', insert4), in('a', `ROLLBACK`), in('b', insert4)), []int{6}}, // 4 and 5 were burned
		{"several writers at once", slices.Concat(
			in('a', `BEGIN`, insert4), in('b', `BEGIN`, rename(1)), in('c', `BEGIN`, addV6(3)), in('b', addV6(3)), in('c', addV6(1)), in('a', addV6(1)),
			in('c', `COMMIT`), in('b', `COMMIT`), in('a', `COMMIT`)), []int{1, 1, 1, 3, 3, 4}},
		{"beside somebody who holds the lock of the wake-ups", slices.Concat(
			in('b', `BEGIN`, `SELECT pg_advisory_xact_lock(1801806195, 1)`), in('a', insert4, rename(1), addV6(1), `DELETE FROM hosts`), in('b', `COMMIT`)), nil},
		{"truncation beside a writer", slices.Concat(
			in('a', `BEGIN`, rename(1)), in('b', `TRUNCATE hosts CASCADE`), in('a', `COMMIT`), in('b', `TRUNCATE hosts CASCADE`)), nil},
		{"a failure that is gone back before", in('a', `BEGIN`, insert4, `SAVEPOINT s`, insert4, `ROLLBACK TO s`, addV6(4), `SAVEPOINT s`, rename(4), `ROLLBACK TO s`, rename(4), `COMMIT`), []int{4}},
		{"a failure that ends the transaction", in('a', `BEGIN`, rename(1), insert4, insert4, rename(2), `COMMIT`), []int{}},
		{"a table that is dropped", in('a', `BEGIN`, rename(1), `DROP TABLE ipv6_reservations`, rename(2), `ROLLBACK`), []int{}},
		{"Kea's upgrades", in('a', `BEGIN`, `ALTER TABLE ipv6_reservations ALTER COLUMN address TYPE INET USING address::INET`, addV6(1),
			`UPDATE ipv6_reservations SET address = '2001:db8::b' WHERE host_id = 1`, `DELETE FROM ipv6_reservations`, `ROLLBACK`), []int{}},
	}
	for _, level := range []string{"REPEATABLE READ", "SERIALIZABLE"} {
		begin := `BEGIN ISOLATION LEVEL ` + level
		all = append(all,
			scene{level + " beside a writer of IPv6 rows", slices.Concat(
				in('a', begin, `SELECT`), in('b', begin, `SELECT`), // takes the snapshot
				in('b', addV6(1), addV6(3)), in('a', addV6(1), addV6(3)), in('b', `COMMIT`),
				in('a', addV6(1), `SAVEPOINT s`, rename(2), `ROLLBACK TO s`, rename(2), `DELETE FROM ipv6_reservations WHERE host_id = 2`, `COMMIT`)),
				[]int{1, 1, 2, 3, 3}},
			scene{level + " after a change of the same row", slices.Concat(
				in('a', begin, `SELECT`), in('b', rename(1)), in('a', rename(1), `ROLLBACK`)), []int{1}},
			scene{level + " after a deletion of the row", slices.Concat(
				in('a', begin, `SELECT`), in('b', `DELETE FROM hosts WHERE host_id = 1`), in('a', addV6(1), `ROLLBACK`)), []int{1}},
			scene{level + " writers of rows that they did not read", slices.Concat(
				in('a', begin, rename(1)), in('b', begin, rename(2), addV6(3)), in('a', addV6(3), `COMMIT`), in('b', `COMMIT`)), []int{1, 2, 3, 3}},
			// The second COMMIT of these two fails if SERIALIZABLE.
			scene{level + " writers of what the other one read", slices.Concat(
				in('a', begin, readAll), in('b', begin, readAll), in('a', addV6(1)), in('b', addV6(3)), in('a', `COMMIT`), in('b', `COMMIT`)), nil},
			scene{level + " reader between two writers", slices.Concat(
				in('a', begin, readAll), in('b', begin, addV6(1), `COMMIT`), in('c', begin, readAll, `COMMIT`), in('a', addV6(3), `COMMIT`)), nil},
			scene{level + " and the same identifier twice", slices.Concat(
				in('a', begin, `SELECT`), in('b', insert4), in('a', insert4, `ROLLBACK`)), []int{4}},
		)
	}
	return all
}

// oddRows are rows that no documentation shows and that Kea's tables take.
func oddRows() (all []scene) {
	const insert = `INSERT INTO hosts (dhcp_identifier, dhcp_identifier_type, ipv4_address, hostname) VALUES ($1, 4, $2, $3)`
	for _, r := range hostileRows() {
		all = append(all, scene{"row: " + r.name, slices.Concat(
			[]step{{'a', insert, []any{r.identifier, r.ipv4, r.hostname}}, {'a', `UPDATE hosts SET dhcp_identifier = $1, ipv4_address = $2, hostname = $3 WHERE host_id = 1`, []any{r.identifier, r.ipv4, r.hostname}}},
			in('a', `UPDATE hosts SET dhcp_identifier_type = 3 WHERE host_id = 4`, addV6(4), `DELETE FROM hosts WHERE host_id = 4`)), []int{1, 4, 4, 4, 4}})
	}
	for _, address := range append(slices.Clone(hostileAddresses), "2001:DB8:0:0::18", "192.0.2.1", "fe80::1%eth0", "::", "2001:db8::/32") {
		// With inet some of them are refused.
		all = append(all, scene{fmt.Sprintf("IPv6 address %q", address), slices.Concat(
			[]step{{'a', `INSERT INTO ipv6_reservations (address, host_id) VALUES ($1, 1)`, []any{address}}, {'a', `UPDATE ipv6_reservations SET address = $1 WHERE host_id = 2 AND type = 0`, []any{address}}},
			in('a', `UPDATE ipv6_reservations SET prefix_len = 64`, `UPDATE ipv6_reservations SET host_id = 3`, `DELETE FROM ipv6_reservations`)), nil})
	}
	return append(all,
		scene{"one row with IPv4 and IPv6", in('a', `BEGIN`, `INSERT INTO hosts (dhcp_identifier, dhcp_identifier_type, dhcp4_subnet_id, dhcp6_subnet_id, ipv4_address, hostname) VALUES ('\x04', 0, 1, 1, 1, 'four')`, addV6(4), `COMMIT`), []int{4}},
		scene{"one device as two rows, names in any case", in('a', insertHost+`VALUES ('\x04', 0, 1, 'Four')`, insertHost+`VALUES ('\x0003000104', 1, NULL, 'fOUR')`), []int{4, 5}},
		scene{"one MAC in several subnets and globally", in('a', insertHost+`SELECT '\x04', 0, n, 'four' FROM generate_series(0, 3) n`), []int{4, 5, 6, 7}},
		scene{"one MAC without subnets, many times", in('a', insertHost+`SELECT '\x04', 0, NULL, 'four' FROM generate_series(1, 3) n`), []int{4, 5, 6}},
		scene{"one MAC twice in a subnet", in('a', insert4, insert4, insertHost+`SELECT '\x05', 0, 1, 'five' FROM generate_series(1, 3)`), []int{4}},
		scene{"one address in several rows of a subnet", in('a', `INSERT INTO hosts (dhcp_identifier, dhcp_identifier_type, dhcp4_subnet_id, ipv4_address) SELECT int4send(n), 0, 1, 3232235777 FROM generate_series(1, 3) n`, addV6(1), addV6(1), addV6(2)), []int{1, 1, 2, 4, 5, 6}},
	)
}

// everyByte has each byte in identifiers and names, one row in a statement:
// those of many rows do not make every payload.
func everyByte() []scene {
	each := func(what string) []step {
		return in('a', `DO $$ BEGIN FOR n IN 0..255 LOOP `+what+`; END LOOP; END $$`)
	}
	const insert, name = `INSERT INTO hosts (dhcp_identifier, dhcp_identifier_type, hostname) `, `INSERT INTO hosts (dhcp_identifier, dhcp_identifier_type, hostname) VALUES ('\x04', 0, $1)`
	var names []step
	for n := range 256 {
		names = append(names,
			step{'a', name, []any{"a" + string([]byte{byte(n)}) + "b"}}, // from 128 on no UTF-8, refused by PostgreSQL
			step{'a', name, []any{"a" + string(rune(n)) + "b"}})
	}
	return []scene{
		{"each byte in a MAC", each(insert + `VALUES (set_byte('\x000000000000', n % 6, n), 0, NULL)`), nil},
		{"each byte six times", each(insert + `VALUES (decode(repeat(lpad(to_hex(n), 2, '0'), 6), 'hex'), 1, NULL)`), nil},
		{"each byte alone", each(insert + `VALUES (set_byte('\x00', 0, n), 4, NULL)`), nil},
		{"each byte in a DUID", each(insert + `VALUES (set_byte(set_byte('\x0003000100000000abcd', 4 + n % 6, n), n % 4, n), 1, NULL)`), nil},
		{"each byte in a name", append(names, in('a', `UPDATE hosts SET hostname = upper(hostname)`, `DELETE FROM hosts`)...), nil},
	}
}

// refusedWrites fail in Kea's tables, and must fail in the same way.
func refusedWrites() []scene {
	return []scene{
		{"name too long", []step{{'a', insertHost + `VALUES ('\x04', 0, 1, $1)`, []any{strings.Repeat("x", 256)}}}, []int{}},
		{"values of no column", in('a', insertHost+`VALUES (NULL, 0, 1, 'x')`, insertHost+`VALUES ('\x04', 9, 1, 'x')`, insertHost+`VALUES ('\x04', 40000, 1, 'x')`,
			`UPDATE hosts SET ipv4_address = 9223372036854775808`, `UPDATE hosts SET ipv4_address = ipv4_address + 9223372036854775807`), []int{}},
		{"host of IPv6 rows", in('a', addV6(99), `UPDATE ipv6_reservations SET host_id = 99`, `UPDATE hosts SET host_id = 20 WHERE host_id = 2`, `TRUNCATE hosts`), []int{}},
		{"host_id that is taken", in('a', `UPDATE hosts SET host_id = 1 WHERE host_id = 3`, `INSERT INTO hosts (host_id, dhcp_identifier, dhcp_identifier_type) VALUES (1, '\x04', 0)`, `UPDATE hosts SET host_id = 4 WHERE host_id = 3`), []int{3, 4}},
		{"read only", in('a', `BEGIN READ ONLY`, insert4, `ROLLBACK`, `BEGIN READ ONLY`, `DELETE FROM hosts`, `ROLLBACK`), []int{}},
		{"nothing to do", in('a', insertHost+`SELECT '\x04', 0, 1, 'x' WHERE EXISTS (SELECT FROM hosts WHERE hostname = 'nobody')`, `UPDATE hosts SET hostname = 'x' WHERE false`, `DELETE FROM hosts WHERE false`, `DELETE FROM ipv6_reservations WHERE false`,
			insertHost+`VALUES ('\x020000000001', 0, 1, 'x') ON CONFLICT DO NOTHING`), []int{}},
		{"rights of Kea's role", in('a', `SET session_replication_role = replica`, `DELETE FROM host_identifier_type WHERE type = 1`, `INSERT INTO host_identifier_type VALUES (1, 'duid')`), []int{2}},
		{"other statements that write", in('a', `WITH gone AS (DELETE FROM hosts WHERE host_id = 1 RETURNING *) INSERT INTO hosts SELECT * FROM gone`,
			`MERGE INTO hosts h USING (VALUES ('\x04'::bytea), ('\x020000000003')) v(id) ON h.dhcp_identifier = v.id WHEN MATCHED THEN UPDATE SET hostname = 'merged' WHEN NOT MATCHED THEN INSERT (dhcp_identifier, dhcp_identifier_type) VALUES (v.id, 0)`,
			`MERGE INTO hosts h USING (VALUES (1), (2)) v(id) ON h.host_id = v.id WHEN MATCHED AND v.id = 1 THEN DELETE WHEN MATCHED THEN DO NOTHING`,
			`COPY hosts TO STDOUT`, `BEGIN`, `DECLARE c CURSOR FOR SELECT * FROM hosts WHERE host_id = 2 FOR UPDATE`, `FETCH c`, `UPDATE hosts SET hostname = 'here' WHERE CURRENT OF c`, `COMMIT`), nil},
	}
}
