package relay_test

import (
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/keastream/keastream/internal/pgtest"
)

// identities is the number of identifiers that all writers share, so that they
// meet.
const identities = 12

// change makes one of all the changes that can be made to the tables. What it is
// depends on the generator alone, never on what the tables hold.
func (w *writer) change() {
	all := []func(){
		w.insertHost, w.insertHost, w.addLikeKea, w.addLikeKea, w.upsert, w.copyHosts,
		w.updateHost, w.updateHost, w.updateHost, w.changeNothingPublished, w.renumber, w.renumber,
		w.deleteLikeKea, w.deleteAndInsert,
		w.insertV6, w.insertV6, w.updateV6, w.moveV6, w.moveV6, w.deleteV6, w.changePrefix,
	}
	all[w.rng.IntN(len(all))]()
}

func (w *writer) one(of ...string) string { return of[w.rng.IntN(len(of))] }

// identifier is one of the shared ones, as SQL.
func (w *writer) identifier() string {
	return fmt.Sprintf(`'\x0200000000%02x'`, w.rng.IntN(identities))
}

// host is the WHERE of the rows of an identifier.
func (w *writer) host() string { return "dhcp_identifier = " + w.identifier() }

func (w *writer) hostname() string {
	return w.one("NULL", "''", "'us3-cab10-ru20-idrac'", "'Foo.Lab.'", `'"'';\ '`, "'ß'", fmt.Sprintf("'host-%d'", w.rng.IntN(1000)))
}

func (w *writer) ipv4() string {
	return w.one("NULL", "0", "99999999999", "-1", fmt.Sprint(167772160+w.rng.IntN(50)))
}

func (w *writer) address() string {
	n := w.rng.IntN(12)
	if w.h.schema == pgtest.Kea13 && n == 0 {
		return "'not-an-ip'"
	}
	return fmt.Sprintf(w.one("'2001:db8::%x'", "'2001:DB8:0:0::%x'"), n)
}

func (w *writer) values() string {
	return fmt.Sprintf("%s, 0, %s, %s, %s", w.identifier(), w.one("1", "2", "0", "NULL"), w.ipv4(), w.hostname())
}

const insertInto = "INSERT INTO hosts (dhcp_identifier, dhcp_identifier_type, dhcp4_subnet_id, ipv4_address, hostname) "

func (w *writer) insertHost() {
	if w.rng.IntN(4) == 0 { // a number that is in use, or was, or will be
		w.do("hosts inserted", fmt.Sprintf(`INSERT INTO hosts (host_id, dhcp_identifier, dhcp_identifier_type, dhcp4_subnet_id, ipv4_address, hostname) VALUES (%d, %s)`,
			1+w.rng.IntN(60), w.values()))
		return
	}
	w.do("hosts inserted", insertInto+"VALUES ("+w.values()+")")
}

// addLikeKea has a host, its options and its IPv6 rows in one transaction, and
// the look whether the address is taken in the INSERT.
func (w *writer) addLikeKea() {
	own := !w.open
	if own {
		w.begin("READ COMMITTED")
	}
	classes, class := "", ""
	if w.h.hasExcludedPrefix() {
		classes, class = ", client_classes", ", ''"
	}
	id, ip := w.identifier(), w.ipv4()
	added := " FROM hosts WHERE dhcp_identifier_type = 1 AND dhcp4_subnet_id = 1 AND dhcp_identifier = " + id
	for _, step := range [][2]string{
		{"hosts inserted", fmt.Sprintf(`%sSELECT %s, 1, 1, %s, %s WHERE NOT EXISTS (SELECT 1 FROM hosts WHERE ipv4_address = %[3]s AND dhcp4_subnet_id = 1 AND ipv4_address <> 0)`,
			insertInto, id, ip, w.hostname())},
		{"options inserted", `INSERT INTO dhcp4_options (code, value, host_id, scope_id` + classes + `) SELECT 6, '\x01', host_id, 3` + class + added},
		{"v6 inserted", `INSERT INTO ipv6_reservations (address, prefix_len, type, dhcp6_iaid, host_id) SELECT ` + w.address() + `, 128, 0, 1, host_id` + added},
		{"prefixes inserted", `INSERT INTO ipv6_reservations (address, prefix_len, type, dhcp6_iaid, host_id) SELECT '2001:db8:1::', 48, 2, 1, host_id` + added},
	} {
		if w.do(step[0], step[1]); !w.open {
			return
		}
	}
	if own {
		_ = w.commit()
	}
}

func (w *writer) upsert() {
	w.do("hosts upserted", insertInto+"VALUES ("+w.values()+"), ("+w.values()+`)
		ON CONFLICT (dhcp_identifier, dhcp_identifier_type, dhcp4_subnet_id) WHERE dhcp4_subnet_id IS NOT NULL DO `+
		w.one("NOTHING", "UPDATE SET hostname = excluded.hostname WHERE hosts.hostname IS DISTINCT FROM excluded.hostname"))
}

func (w *writer) copyHosts() {
	var rows [][]any
	for range 1 + w.rng.IntN(8) {
		rows = append(rows, []any{[]byte{3, byte(w.rng.IntN(200))}, int16(4), int64(3), "copied"})
	}
	n, err := w.conn.CopyFrom(w.h.t.Context(), pgx.Identifier{"hosts"}, []string{"dhcp_identifier", "dhcp_identifier_type", "dhcp4_subnet_id", "hostname"}, pgx.CopyFromRows(rows))
	w.done("hosts copied", int(n), "COPY", err)
}

func (w *writer) updateHost() {
	w.do("hosts updated", "UPDATE hosts SET "+w.one(
		"hostname = "+w.hostname(), "ipv4_address = "+w.ipv4(), "dhcp_identifier = "+w.identifier(), "dhcp_identifier_type = 0",
		"dhcp4_subnet_id = dhcp4_subnet_id + 1", "dhcp6_subnet_id = 1", "hostname = hostname || 'x', ipv4_address = 5",
	)+" WHERE "+w.host())
}

func (w *writer) changeNothingPublished() {
	w.do("hosts updated unseen", "UPDATE hosts SET "+w.one("auth_key = 'secret'", "user_context = '{}'", "hostname = hostname", "dhcp4_next_server = 1")+" WHERE "+w.host())
}

// renumber takes hosts without IPv6 rows: others cannot be renumbered.
func (w *writer) renumber() {
	w.do("hosts renumbered", fmt.Sprintf(`UPDATE hosts h SET host_id = %s WHERE %s AND NOT EXISTS (SELECT FROM ipv6_reservations r WHERE r.host_id = h.host_id)
		AND NOT EXISTS (SELECT FROM dhcp4_options o WHERE o.host_id = h.host_id)`, w.one("h.host_id + 100", "h.host_id + 7", "h.host_id - 13"), w.host()))
}

func (w *writer) deleteLikeKea() {
	w.do("hosts deleted", "DELETE FROM hosts WHERE "+w.one(
		"dhcp4_subnet_id = 1 AND ipv4_address = "+w.ipv4(),
		"dhcp4_subnet_id = 1 AND dhcp_identifier_type = 0 AND "+w.host(),
		"dhcp4_subnet_id = 2 AND "+w.host(),
		"host_id IN (SELECT host_id FROM ipv6_reservations WHERE address = "+w.address()+")"))
}

// deleteAndInsert is Kea's update, in one transaction or in two.
func (w *writer) deleteAndInsert() {
	id := w.identifier()
	w.do("hosts deleted", "DELETE FROM hosts WHERE dhcp4_subnet_id = 1 AND dhcp_identifier_type = 0 AND dhcp_identifier = "+id)
	w.do("hosts inserted again", insertInto+fmt.Sprintf("VALUES (%s, 0, 1, %s, %s)", id, w.ipv4(), w.hostname()))
}

func (w *writer) insertV6() {
	w.do("v6 inserted", fmt.Sprintf(`INSERT INTO ipv6_reservations (address, host_id) SELECT %s, host_id FROM hosts WHERE %s ORDER BY host_id %s`,
		w.address(), w.host(), w.one("LIMIT 1", "", "DESC")))
}

func (w *writer) updateV6() {
	w.do("v6 updated", "UPDATE ipv6_reservations SET "+w.one("address = "+w.address(), "type = 2", "type = 0", "dhcp6_iaid = 5", "prefix_len = 64", "reservation_id = reservation_id + 1000")+
		" WHERE "+w.one("address = "+w.address(), "host_id IN (SELECT host_id FROM hosts WHERE "+w.host()+")"))
}

func (w *writer) moveV6() {
	w.do("v6 moved", `UPDATE ipv6_reservations r SET host_id = h.host_id FROM (SELECT host_id FROM hosts WHERE `+w.host()+` LIMIT 1) h
		WHERE r.host_id <> h.host_id AND r.`+w.one("address = "+w.address(), "type = 0 AND r.host_id IN (SELECT host_id FROM hosts WHERE "+w.host()+")"))
}

func (w *writer) deleteV6() {
	w.do("v6 deleted", "DELETE FROM ipv6_reservations WHERE "+w.one("address = "+w.address(), "type = 2 AND host_id % 3 = 0"))
}

func (w *writer) changePrefix() {
	if !w.h.hasExcludedPrefix() {
		w.do("prefixes changed", `UPDATE ipv6_reservations SET address = '2001:db8:2::' WHERE type = 2`)
		return
	}
	w.do("prefixes excluded", `UPDATE ipv6_reservations SET excluded_prefix = '2001:db8:1:1::/64', excluded_prefix_len = 64 WHERE type = 2`)
}
